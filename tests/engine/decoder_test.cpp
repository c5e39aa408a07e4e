#include "engine/model/decoder.h"

#include "base/error.h"
#include "base/random.h"
#include "engine/model/llama.h"
#include "tests/cpu.h"
#include "tests/distance.h"
#include "tests/engine/allocation_count.h"
#include "tests/engine/small_model.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using test::cpu, test::distance, test::flat, test::random_weights, test::small_config;

namespace {

std::vector<int32_t> random_tokens(const LlamaConfig& config, int64_t count, const char* key = "tokens") {
    CounterRng rng(sha256(as_bytes(key)));
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i)
        tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size))));
    return tokens;
}

// What Llama says after each of the tokens.
std::vector<float> all_logits(const LlamaConfig& config, const std::vector<float>& params,
                              const std::vector<int32_t>& tokens) {
    Llama model(cpu(2), config, 1, std::ssize(tokens), Pass::inference);
    std::vector<float> logits(tokens.size() * static_cast<size_t>(config.vocab_size));
    model.logits(flat(params), tokens, logits);
    return logits;
}

std::span<const float> row(const std::vector<float>& logits, size_t i) {
    return std::span(logits).subspan(i * 61, 61);
}

}  // namespace

// Both compute in fp32 and add in another order, and each processor in its own: between 1e-6 and 3e-6 was seen.
// A position or a head mixed up shows at 1e-2 and more.
TEST_CASE("a decoder's logits are the model's, fed token by token, in parts or at once") {
    for (const bool tied : {false, true}) {
        const LlamaConfig config = small_config(tied);
        const std::vector<float> params = random_weights(config, "weights");
        const std::vector<int32_t> tokens = random_tokens(config, 300);  // more than go through the layers at once
        const std::vector<float> want = all_logits(config, params, tokens);
        for (const size_t at_a_time : {size_t{1}, size_t{7}, size_t{256}, tokens.size()}) {
            CAPTURE(at_a_time);
            Decoder decoder(cpu(2), config, 300);
            for (size_t i = 0; i < tokens.size(); i += at_a_time) {
                const auto part = std::span(tokens).subspan(i, std::min(at_a_time, tokens.size() - i));
                const std::span<const float> logits = decoder.feed(flat(params), part);
                REQUIRE(logits.size() == 61);
                CHECK(distance(logits, row(want, i + part.size() - 1)) < 2e-5);
                CHECK(decoder.length() == static_cast<int64_t>(i + part.size()));
            }
        }
    }
}

TEST_CASE("any number of threads decodes the same bits") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    const std::vector<int32_t> tokens = random_tokens(config, 20);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
        Decoder decoder(cpu(threads), config, 20);
        decoder.feed(flat(params), std::span(tokens).first(15));
        std::vector<float> all;
        for (size_t i = 15; i < 20; ++i) {
            const auto logits = decoder.feed(flat(params), std::span(tokens).subspan(i, 1));
            all.insert(all.end(), logits.begin(), logits.end());
        }
        results.push_back(all);
    }
    CHECK(results[1] == results[0]);
    CHECK(results[2] == results[0]);
}

TEST_CASE("a decoder rewound goes on as if the rest had never been") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    const std::vector<int32_t> tokens = random_tokens(config, 12), others = random_tokens(config, 12, "others");
    Decoder decoder(cpu(), config, 12), straight(cpu(), config, 12);
    const auto copy = [](std::span<const float> logits) { return std::vector(logits.begin(), logits.end()); };
    straight.feed(flat(params), std::span(tokens).first(5));
    const std::vector<float> want = copy(straight.feed(flat(params), std::span(tokens).subspan(5, 1)));
    decoder.feed(flat(params), std::span(tokens).first(5));
    for (int again = 0; again < 2; ++again) {
        decoder.feed(flat(params), std::span(others).first(7));
        CHECK(decoder.length() == 12);
        decoder.rewind(5);
        CHECK(decoder.length() == 5);
        CHECK(copy(decoder.feed(flat(params), std::span(tokens).subspan(5, 1))) == want);
        decoder.rewind(5);
    }
    decoder.rewind(0);
    decoder.feed(flat(params), std::span(tokens).first(5));
    CHECK(copy(decoder.feed(flat(params), std::span(tokens).subspan(5, 1))) == want);
    CHECK_THROWS_AS(decoder.rewind(7), Error);
    CHECK_THROWS_AS(decoder.rewind(-1), Error);
}

TEST_CASE("a decoder refuses what does not fit, and has appended nothing") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights"), few(params.size() - 1);
    Decoder decoder(cpu(), config, 4);
    CHECK(decoder.capacity() == 4);
    const std::vector<int32_t> tokens = {1, 2, 3};
    const auto first = decoder.feed(flat(params), tokens);
    const std::vector<float> want(first.begin(), first.end());
    const auto refused = [&](std::vector<int32_t> more, const std::vector<float>& weights) {
        CHECK_THROWS_AS(decoder.feed(flat(weights), more), Error);
        CHECK(decoder.length() == 3);
    };
    refused({}, params);
    refused({4, 5}, params);
    refused({61}, params);
    refused({-1}, params);
    refused({4}, few);
    CHECK_NOTHROW(decoder.feed(flat(params), std::vector<int32_t>{60}));
}

TEST_CASE("impossible decoders are refused") {
    CHECK_THROWS_AS(Decoder(cpu(), small_config(), 0), Error);
    CHECK_THROWS_AS(Decoder(cpu(), small_config(), int64_t{1} << 40), Error);
    LlamaConfig config = small_config();
    config.kv_heads = 3;
    CHECK_THROWS_AS(Decoder(cpu(), config, 8), Error);
    config = small_config();
    config.layers = 1000;
    config.heads = config.kv_heads = 1 << 10;
    try {
        Decoder decoder(cpu(), config, 1 << 20);
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::storage);
    }
}

TEST_CASE("decoding allocates nothing") {
    const LlamaConfig config = small_config();
    const std::vector<float> params = random_weights(config, "weights");
    const std::vector<int32_t> tokens = random_tokens(config, 20);
    Decoder decoder(cpu(2), config, 20);
    const auto all = [&] {
        decoder.rewind(0);
        decoder.feed(flat(params), std::span(tokens).first(10));
        for (size_t i = 10; i < 20; ++i) decoder.feed(flat(params), std::span(tokens).subspan(i, 1));
    };
    decoder.feed(flat(params), tokens);
    all();
    const int64_t before = allocation_count();
    all();
    CHECK(allocation_count() == before);
}
