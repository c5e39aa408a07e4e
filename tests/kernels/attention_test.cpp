#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

namespace {

struct Shape {
    int64_t batch, seq, heads, groups, size;
    int64_t rows() const { return heads + 2 * groups; }
    int64_t qkv() const { return batch * seq * rows() * size; }
    int64_t out() const { return batch * seq * heads * size; }
    int64_t lse() const { return batch * heads * seq; }
};

struct Result {
    Doubles out, lse;
};

// Softmax of the scores of one query over the keys up to it.
Result attention(const Doubles& qkv, const Shape& s) {
    Result result{Doubles(s.out(), 0.0), Doubles(s.lse())};
    const auto at = [&](int64_t b, int64_t t, int64_t row) {
        return qkv.data() + ((b * s.seq + t) * s.rows() + row) * s.size;
    };
    for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t h = 0; h < s.heads; ++h)
            for (int64_t t = 0; t < s.seq; ++t) {
                const int64_t g = h / (s.heads / s.groups);
                const double* q = at(b, t, h);
                Doubles score(t + 1);
                double max = -INFINITY, sum = 0;
                for (int64_t u = 0; u <= t; ++u) {
                    const double* k = at(b, u, s.heads + g);
                    for (int64_t d = 0; d < s.size; ++d) score[u] += q[d] * k[d];
                    score[u] /= std::sqrt(static_cast<double>(s.size));
                    max = std::max(max, score[u]);
                }
                for (double& value : score) sum += value = std::exp(value - max);
                result.lse[(b * s.heads + h) * s.seq + t] = max + std::log(sum);
                double* out = result.out.data() + ((b * s.seq + t) * s.heads + h) * s.size;
                for (int64_t u = 0; u <= t; ++u) {
                    const double* v = at(b, u, s.heads + s.groups + g);
                    for (int64_t d = 0; d < s.size; ++d) out[d] += score[u] / sum * v[d];
                }
            }
    return result;
}

// dqkv by the formulas dS = P∘(dP - <dout, out>), in double.
Doubles attention_gradient(const Doubles& qkv, const Doubles& dout, const Shape& s) {
    const Result forward = attention(qkv, s);
    Doubles gradient(s.qkv(), 0.0);
    const double scale = 1 / std::sqrt(static_cast<double>(s.size));
    const auto at = [&](int64_t b, int64_t t, int64_t row) {
        return ((b * s.seq + t) * s.rows() + row) * s.size;
    };
    for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t h = 0; h < s.heads; ++h)
            for (int64_t t = 0; t < s.seq; ++t) {
                const int64_t g = h / (s.heads / s.groups), q = at(b, t, h),
                              out = ((b * s.seq + t) * s.heads + h) * s.size;
                double delta = 0;
                for (int64_t d = 0; d < s.size; ++d) delta += dout[out + d] * forward.out[out + d];
                for (int64_t u = 0; u <= t; ++u) {
                    const int64_t k = at(b, u, s.heads + g), v = at(b, u, s.heads + s.groups + g);
                    double score = 0, dp = 0;
                    for (int64_t d = 0; d < s.size; ++d) {
                        score += qkv[q + d] * qkv[k + d] * scale;
                        dp += dout[out + d] * qkv[v + d];
                    }
                    const double p = std::exp(score - forward.lse[(b * s.heads + h) * s.seq + t]),
                                 ds = p * (dp - delta) * scale;
                    for (int64_t d = 0; d < s.size; ++d) {
                        gradient[q + d] += ds * qkv[k + d];
                        gradient[k + d] += ds * qkv[q + d];
                        gradient[v + d] += p * dout[out + d];
                    }
                }
            }
    return gradient;
}

Values run_forward(const Ops& ops, const Shape& s, const Values& qkv) {
    return on_all_threads([&](Stream& stream) {
        Values out(s.out(), 1e30f), lse(s.lse(), 1e30f);
        ops.attention_forward(stream, Tensor(out.data(), {s.batch, s.seq, s.heads, s.size}),
                              Tensor(lse.data(), {s.batch, s.heads, s.seq}),
                              Tensor(qkv.data(), {s.batch, s.seq, s.rows(), s.size}));
        out.insert(out.end(), lse.begin(), lse.end());
        return out;
    });
}

Values run_backward(const Ops& ops, const Shape& s, const Values& qkv, const Values& dout) {
    const Values forward = run_forward(ops, s, qkv);
    return on_all_threads([&](Stream& stream) {
        Values dqkv(s.qkv(), 1e30f), delta(s.lse(), 1e30f);
        const float* const lse = forward.data() + s.out();
        ops.attention_backward(stream, Tensor(dqkv.data(), {s.batch, s.seq, s.rows(), s.size}),
                               Tensor(delta.data(), {s.batch, s.heads, s.seq}),
                               Tensor(dout.data(), {s.batch, s.seq, s.heads, s.size}),
                               Tensor(forward.data(), {s.batch, s.seq, s.heads, s.size}),
                               Tensor(lse, {s.batch, s.heads, s.seq}),
                               Tensor(qkv.data(), {s.batch, s.seq, s.rows(), s.size}));
        return dqkv;
    });
}

constexpr Shape shapes[] = {
    {1, 1, 1, 1, 2},    {2, 5, 2, 1, 16},   {1, 64, 2, 2, 64},  {2, 65, 6, 2, 18}, {1, 63, 4, 1, 50},
    {1, 130, 3, 3, 64}, {1, 200, 4, 2, 32}, {1, 70, 2, 1, 256}, {3, 1, 4, 2, 128},
};

}  // namespace

TEST_CASE("causal attention with grouped queries agrees with its formula") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const Shape& s : shapes) {
            CAPTURE(s.seq);
            CAPTURE(s.size);
            const Values qkv = normal(s.qkv(), 1, 1.5);
            const Result want = attention(to_double(qkv), s);
            Doubles both = want.out;
            both.insert(both.end(), want.lse.begin(), want.lse.end());
            check_close(run_forward(*ops, s, qkv), both, 1e-5, 5e-6);
        }
    }
}

TEST_CASE("the backward of attention agrees with its formula") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const Shape& s : shapes) {
            CAPTURE(s.seq);
            CAPTURE(s.size);
            const Values qkv = normal(s.qkv(), 1), dout = normal(s.out(), 2);
            check_close(run_backward(*ops, s, qkv, dout),
                        attention_gradient(to_double(qkv), to_double(dout), s), 2e-5, 2e-5);
        }
    }
}

TEST_CASE("the formula of the backward agrees with finite differences") {
    const Shape s{1, 7, 4, 2, 6};
    const Doubles qkv = to_double(normal(s.qkv(), 1)), dout = to_double(normal(s.out(), 2));
    const Doubles want =
        numeric_gradient([&](const Doubles& at) { return dot(attention(at, s).out, dout); }, qkv);
    const Doubles got = attention_gradient(qkv, dout, s);
    for (size_t i = 0; i < want.size(); ++i) CHECK(std::abs(got[i] - want[i]) < 1e-7);
}

TEST_CASE("attention with scores far apart is finite, and no later key matters") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        const Shape s{1, 150, 2, 1, 16};
        Values qkv = normal(s.qkv(), 1, 30.0);
        const Values before = run_forward(*ops, s, qkv);
        for (float value : before) REQUIRE(std::isfinite(value));
        for (float value : run_backward(*ops, s, qkv, normal(s.out(), 2))) REQUIRE(std::isfinite(value));

        const int64_t kept = 70;  // positions from here on change
        for (int64_t i = kept * s.rows() * s.size; i < s.qkv(); ++i) qkv[i] = -2 * qkv[i] + 1;
        const Values after = run_forward(*ops, s, qkv);
        CHECK(Values(before.begin(), before.begin() + kept * s.heads * s.size) ==
              Values(after.begin(), after.begin() + kept * s.heads * s.size));
        CHECK(before[kept * s.heads * s.size] != after[kept * s.heads * s.size]);
    }
}

TEST_CASE("attention over kept keys and values is attention over the whole sequence, however it is cut") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        // The last with more keys than one thread takes of a group.
        for (const Shape& s :
             {Shape{2, 7, 2, 1, 8}, {1, 70, 3, 3, 6}, {1, 150, 6, 2, 64}, {1, 9, 70, 1, 16}, {1, 600, 4, 1, 16}}) {
            const Values qkv = normal(s.qkv(), 1);
            Values out(s.out()), lse(s.lse());
            Stream stream{2};
            ops->attention_forward(stream, Tensor(out.data(), {s.batch, s.seq, s.heads, s.size}),
                                   Tensor(lse.data(), {s.batch, s.heads, s.seq}),
                                   Tensor(qkv.data(), {s.batch, s.seq, s.rows(), s.size}));
            const int64_t capacity = s.seq + 3;
            for (const int64_t at_a_time : {int64_t{1}, int64_t{4}, s.seq}) {
                CAPTURE(at_a_time);
                const auto decode = [&](Stream& on) {
                    const int64_t kept = s.batch * s.groups * capacity * s.size;
                    // What no token has written may not be read, what lies past the end not be written.
                    Values keys(kept, NAN), values(kept, NAN), all(s.out());
                    for (int64_t past = 0; past < s.seq; past += at_a_time) {
                        const int64_t tokens = std::min(at_a_time, s.seq - past), row = s.rows() * s.size,
                                      out_row = s.heads * s.size;
                        Values some(s.batch * tokens * row), result(s.batch * tokens * out_row, NAN);
                        for (int64_t b = 0; b < s.batch; ++b)
                            std::copy_n(qkv.begin() + (b * s.seq + past) * row, tokens * row,
                                        some.begin() + b * tokens * row);
                        ops->attention_decode(on, Tensor(result.data(), {s.batch, tokens, s.heads, s.size}),
                                              Tensor(keys.data(), {s.batch, s.groups, capacity, s.size}),
                                              Tensor(values.data(), {s.batch, s.groups, capacity, s.size}),
                                              Tensor(some.data(), {s.batch, tokens, s.rows(), s.size}), past);
                        for (int64_t b = 0; b < s.batch; ++b)
                            std::copy_n(result.begin() + b * tokens * out_row, tokens * out_row,
                                        all.begin() + (b * s.seq + past) * out_row);
                    }
                    for (int64_t bg = 0; bg < s.batch * s.groups; ++bg)
                        for (int64_t i = s.seq * s.size; i < capacity * s.size; ++i) {
                            CHECK(std::isnan(keys[bg * capacity * s.size + i]));
                            CHECK(std::isnan(values[bg * capacity * s.size + i]));
                        }
                    return all;
                };
                check_close(on_all_threads(decode), to_double(out), 1e-5, 2e-6);
            }
        }
    }
}
