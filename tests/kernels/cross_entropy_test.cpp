#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <span>

using namespace templar;
using namespace templar::test;

namespace {

Doubles losses_of(const Doubles& logits, const std::vector<int32_t>& labels) {
    const size_t vocab = logits.size() / labels.size();
    Doubles losses;
    for (size_t i = 0; i < labels.size(); ++i) {
        double max = -INFINITY, sum = 0;
        for (size_t v = 0; v < vocab; ++v) max = std::max(max, logits[i * vocab + v]);
        for (size_t v = 0; v < vocab; ++v) sum += std::exp(logits[i * vocab + v] - max);
        losses.push_back(labels[i] < 0 ? 0.0 : std::log(sum) + max - logits[i * vocab + labels[i]]);
    }
    return losses;
}

}  // namespace

TEST_CASE("cross-entropy and its gradient agree with the formula; negative labels are ignored") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const int64_t vocab : {1, 2, 37, 1024, 5003}) {
            CAPTURE(vocab);
            const std::vector<int32_t> labels{0, -100, static_cast<int32_t>(vocab - 1), -1,
                                              static_cast<int32_t>(vocab / 2)};
            const int64_t rows = std::ssize(labels);
            const Tensor label(labels.data(), {rows});
            Values logits = normal(rows * vocab, 1, 3.0);
            for (int64_t v = 0; v < vocab; ++v) logits[2 * vocab + v] += 300.0f;  // e^300 is no float
            constexpr float scale = 0.25f;

            const Values losses = on_all_threads([&](Stream& stream) {
                Values result(rows, 1e30f);
                ops->cross_entropy_forward(stream, Tensor(result.data(), {rows}),
                                           Tensor(logits.data(), {rows, vocab}), label);
                return result;
            });
            const Values fused = on_all_threads([&](Stream& stream) {
                Values both(rows, 1e30f), gradient = logits;
                ops->cross_entropy_fused(stream, Tensor(both.data(), {rows}),
                                         Tensor(gradient.data(), {rows, vocab}), label, scale);
                both.insert(both.end(), gradient.begin(), gradient.end());
                return both;
            });

            Doubles want = losses_of(to_double(logits), labels);
            check_close(losses, want, 1e-6, 1e-6);
            for (int64_t i = 0; i < rows; ++i) {
                const Doubles row(logits.begin() + i * vocab, logits.begin() + (i + 1) * vocab);
                for (int64_t v = 0; v < vocab; ++v) {
                    const double probability = std::exp(-losses_of(row, {static_cast<int32_t>(v)})[0]);
                    want.push_back(labels[i] < 0 ? 0.0 : scale * (probability - (v == labels[i] ? 1 : 0)));
                    if (vocab > 64 && v >= 40) break;  // one softmax per element: look at some
                }
            }
            if (vocab <= 64) {
                check_close(fused, want, 1e-6, 1e-6);
                continue;
            }
            for (int64_t i = 0; i < rows; ++i) {
                CHECK(static_cast<double>(fused[i]) == doctest::Approx(want[i]).epsilon(1e-6));
                double sum = 0;
                for (int64_t v = 0; v < vocab; ++v) {
                    sum += fused[rows + i * vocab + v];
                    if (v <= 40)
                        CHECK(std::abs(fused[rows + i * vocab + v] - want[rows + i * 41 + v]) < 1e-6);
                }
                CHECK(std::abs(sum) < 1e-5);
            }
        }
    }
}

TEST_CASE("loss_eval is the product and its cross-entropy, whatever the scratch holds") {
    constexpr int64_t rows = 13, hidden_size = 24, vocab = 37;
    const Values hidden = normal(rows * hidden_size, 1), head = normal(vocab * hidden_size, 2);
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < rows; ++i) labels.push_back(static_cast<int32_t>(i * 5 % vocab));
    const Tensor x(hidden.data(), {rows, hidden_size}), w(head.data(), {vocab, hidden_size}), y(labels.data(), {rows});
    for (const auto& [isa, ops] : tables()) {
        Stream stream{2};
        Values logits(rows * vocab), want(rows);
        ops->matmul(stream, Tensor(logits.data(), {rows, vocab}), x, false, w, true, false);
        for (size_t i : {1, 6, 11}) {  // labels that are the most likely
            const auto row = std::span(logits).subspan(i * vocab, vocab);
            labels[i] = static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
        }
        labels[4] = -100;
        ops->cross_entropy_forward(stream, Tensor(want.data(), {rows}), Tensor(logits.data(), {rows, vocab}), y);
        for (const int64_t at_a_time : {1, 5, 13, 64}) {
            Values scratch(at_a_time * vocab), got(rows, 7.0f);
            const Tensor room(scratch.data(), {at_a_time, vocab});
            std::vector<uint8_t> greedy(rows, 7);
            ops->loss_eval(stream, Tensor(got.data(), {rows}), Tensor(greedy.data(), DType::u8, {rows}), x, w, y, room);
            check_close(got, to_double(want), 1e-5, 1e-6);
            CHECK(got[4] == 0);
            for (size_t i = 0; i < rows; ++i) {
                const auto row = std::span(logits).subspan(i * vocab, vocab);
                CHECK(greedy[i] == (labels[i] == std::ranges::max_element(row) - row.begin()));
            }
            Values without(rows, 7.0f);
            ops->loss_eval(stream, Tensor(without.data(), {rows}), {}, x, w, y, room);
            CHECK(without == got);
        }
    }
}

TEST_CASE("of equal logits each is the most likely, of a NaN none") {
    for (const auto& [isa, ops] : tables()) {
        Stream stream;
        const Values hidden{1.0f};
        for (const float second : {2.0f, NAN}) {
            const Values head{1.0f, second, 2.0f};
            Values losses(3), scratch(3);
            std::vector<uint8_t> greedy(3, 7);
            for (int32_t label = 0; label < 3; ++label)
                ops->loss_eval(stream, Tensor(&losses[label], {1}), Tensor(&greedy[label], DType::u8, {1}),
                               Tensor(hidden.data(), {1, 1}), Tensor(head.data(), {3, 1}), Tensor(&label, {1}),
                               Tensor(scratch.data(), {1, 3}));
            CHECK(greedy[0] == 0);
            CHECK(greedy[1] == !std::isnan(second));
            if (!std::isnan(second)) CHECK(greedy[2] == 1);
        }
    }
}

TEST_CASE("cross-entropy does not hide a NaN") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const float bad : {NAN, INFINITY}) {
            Values logits = normal(37, 1), loss(1);
            logits[20] = bad;
            const int32_t label = 3;
            Stream stream;
            ops->cross_entropy_forward(stream, Tensor(loss.data(), {1}), Tensor(logits.data(), {1, 37}),
                                       Tensor(&label, {1}));
            CHECK_FALSE(std::isfinite(loss[0]));
        }
    }
}
