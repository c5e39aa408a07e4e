#include "engine/replica/replica.h"

#include "base/error.h"
#include "tests/random_payload.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace templar;
using test::cpu, test::flat, test::values;

namespace {

// Square, oblong, odd and 1-D tensors, and a codec of 8, 4, 2 or 1 bits.
Layout small_layout(int32_t code_bits) {
    const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
        {"embedding", {150, 64}}, {"q", {64, 128}}, {"norm", {96}}, {"odd", {21, 61}}, {"tiny", {1}}};
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    for (const auto& [name, shape] : shapes) {
        int64_t numel = 1;
        for (int64_t extent : shape) numel *= extent;
        parameters.push_back({name, shape, offset, numel});
        offset += numel;
    }
    return make_layout(parameters, {16, 64, code_bits});
}

// Weights from integers alone: the same on every machine.
std::vector<float> integer_weights(int64_t count, CounterRng& rng) {
    std::vector<float> theta(count);
    for (float& v : theta) v = static_cast<float>(static_cast<int32_t>(rng.next_u32()) >> 8) * 0x1p-27f;
    return theta;
}

Bytes random_payload(const Layout& layout, CounterRng& rng, bool silent = false) {
    Bytes payload(layout.payload_bytes);
    for (const TensorLayout& tensor : layout.tensors)
        fill_sections(sparse_out(tensor, payload), tensor.grid, rng, silent ? 1 : 7);
    REQUIRE(payload_fault(layout, payload) == "");
    return payload;
}

using Views = std::vector<std::span<const uint8_t>>;
Views views_of(const std::vector<Bytes>& payloads) {
    return {payloads.begin(), payloads.end()};
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

struct Start {
    explicit Start(int32_t code_bits, int peers = 4) : layout(small_layout(code_bits)) {
        CounterRng rng(sha256(as_bytes("replica " + std::to_string(code_bits))));
        theta = integer_weights(layout.parameters, rng);
        for (int p = 0; p < peers; ++p) payloads.push_back(random_payload(layout, rng));
    }
    Replica replica(const char* isa = "auto", int threads = 2) const {
        return Replica(cpu(threads, isa), layout, theta);
    }
    Layout layout;
    std::vector<float> theta;
    std::vector<Bytes> payloads;
};

bool runs_here(const std::string& isa) {
    try {
        return cpu_ops(isa.c_str()).name != nullptr;
    } catch (const Error&) {
        return false;
    }
}

constexpr OuterStep step{3e-4f, 0.9999f};

}  // namespace

TEST_CASE("golden roots: three steps from integer weights and integer payloads") {
    struct Golden {
        int32_t code_bits;
        std::string roots[3];
    };
    const Golden goldens[] = {{8,
                               {"9b2e903ca8bde6a88559448b50a1cd8b358a8c705c3d8cbf7a2feba1cd836c72",
                                "ddd0734f216600450f90e9cf59525879824cf67b4a798e5779cd18230bb1fb39",
                                "2375fd7401a56f8d3c41563005ad7e0f6aabcab08054f09d8ad3967318b5b8b3"}},
                              {1,
                               {"a993aec3cf918e400df1f0e4f1faf74f821b267903a56c47ed7079bf91a9a2c9",
                                "56cf879ade1c1ce5bcfc2cad6e669fb3c15168a2f2d46a3c28fd1d4e8356e1e5",
                                "f0e785ccbd64972c39ea188c8d9a0acf124c6bd32a5bf87883d77ccf0cb05dff"}}};
    for (const Golden& golden : goldens)
        for (const std::string isa : {"portable", "avx2", "avx512"}) {
            if (!runs_here(isa)) {
                MESSAGE("skipped: no " << isa << " here");
                continue;
            }
            const Start start(golden.code_bits, 5);
            Replica replica = start.replica(isa.c_str(), isa[0] == 'p' ? 1 : 3);
            for (int i = 0; i < 3; ++i) {
                const Views all = views_of(start.payloads);
                // A rotating part of the peers, so that the steps differ.
                const Views accepted(all.begin() + i, all.begin() + i + 3);
                replica.apply({3e-4f / static_cast<float>(1 << i), 0.9999f}, accepted);
                CHECK_MESSAGE(to_hex(replica.root()) == golden.roots[i],
                              isa << ", " << golden.code_bits << " bits, step " << i);
            }
        }
}

TEST_CASE("the order of the payloads does not matter") {
    const Start start(8);
    std::vector<Bytes> payloads = start.payloads;
    Replica first = start.replica();
    first.apply(step, views_of(payloads));
    CHECK(first.root() != start.replica().root());
    for (int turn = 0; turn < 4; ++turn) {
        std::rotate(payloads.begin(), payloads.begin() + 1, payloads.end());
        if (turn == 2) std::swap(payloads[0], payloads[3]);
        Replica other = start.replica("auto", 1 + turn % 3);
        other.apply(step, views_of(payloads));
        CHECK(other.root() == first.root());
    }
}

TEST_CASE("an empty record moves nothing") {
    const Start start(8);
    Replica replica = start.replica();
    const Digest before = replica.root();
    replica.apply(step, {});
    CHECK(replica.root() == before);
    CHECK(same_bits(values(replica.theta()), start.theta));
}

TEST_CASE("a peer that sends only zeros counts as no sender") {
    const Start start(4);
    CounterRng rng(sha256(as_bytes("silent")));
    std::vector<Bytes> payloads = start.payloads;
    Replica without = start.replica(), with = start.replica(), alone = start.replica();
    without.apply(step, views_of(payloads));
    payloads.push_back(random_payload(start.layout, rng, true));
    with.apply(step, views_of(payloads));
    CHECK(with.root() == without.root());
    // Alone in a record it leaves only the decay.
    alone.apply(step, Views{payloads.back()});
    for (size_t i = 0; i < start.theta.size(); ++i) REQUIRE(values(alone.theta())[i] == start.theta[i] * step.keep);
}

TEST_CASE("each tensor of a peer counts with norm 1, whatever its base exponent and scale") {
    const Start start(8);
    std::vector<Bytes> louder = start.payloads;
    for (const TensorLayout& tensor : start.layout.tensors) louder[1][tensor.base_exponent] = 90;
    REQUIRE(payload_fault(start.layout, louder[1]) == "");
    Replica a = start.replica(), b = start.replica();
    a.apply(step, views_of(start.payloads));
    b.apply(step, views_of(louder));
    CHECK(a.root() == b.root());
}

TEST_CASE("one payload moves the weights as its candidate says, and the root follows the weights") {
    const Start start(2);
    Replica replica = start.replica();
    std::vector<float> candidate(start.theta.size());
    replica.candidate(flat(candidate), start.payloads[0], 3e-4f);
    CHECK(same_bits(values(replica.theta()), start.theta));
    CHECK(!same_bits(candidate, start.theta));
    replica.apply({3e-4f, 1.0f}, Views{start.payloads[0]});
    // A mean of one peer is its values times 1/N, rounded to 2^-40: the same signs but where the transform
    // nearly cancels.
    int64_t different = 0;
    for (size_t i = 0; i < candidate.size(); ++i) different += candidate[i] != values(replica.theta())[i];
    CHECK(different <= static_cast<int64_t>(candidate.size() / 1000));
    CHECK(replica.root() == state_tree(start.layout, values(replica.theta()), 1).root);
    CHECK(replica.tree().tensors.size() == start.layout.tensors.size());
}

TEST_CASE("Replica refuses what does not fit, before a weight moves") {
    const Start start(8, 2);
    Replica replica = start.replica();
    const Digest before = replica.root();
    Bytes brief = start.payloads[0];
    brief.pop_back();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(replica.apply(step, Views{start.payloads[0], brief}), Error);
    CHECK_THROWS_AS(replica.apply(step, Views(257, start.payloads[0])), Error);
    CHECK_THROWS_AS(replica.apply({nan, 1.0f}, views_of(start.payloads)), Error);
    CHECK_THROWS_AS(replica.apply({1.0f, HUGE_VALF}, views_of(start.payloads)), Error);
    std::vector<float> room(start.theta.size());
    CHECK_THROWS_AS(replica.candidate(flat(room), brief, 1.0f), Error);
    CHECK_THROWS_AS(replica.candidate(flat(room).view(0, {5}), start.payloads[0], 1.0f), Error);
    CHECK(same_bits(values(replica.theta()), start.theta));
    CHECK(replica.root() == before);
    CHECK_THROWS_AS(Replica(cpu(), start.layout, std::vector<float>(7)), Error);
}
