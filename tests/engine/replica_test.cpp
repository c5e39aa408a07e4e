#include "engine/replica/replica.h"

#include "base/error.h"
#include "tests/cpu.h"
#include "tests/golden_roots.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace templar;
using test::cpu, test::flat, test::random_payload, test::values, test::Views, test::views_of;

namespace {

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

struct Start : test::ReplicaStart {
    using ReplicaStart::ReplicaStart;
    Replica replica(const char* isa = "auto", int threads = 2) const {
        return Replica(cpu(threads, isa), layout, theta);
    }
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
    for (const std::string isa : {"portable", "avx2", "avx512"}) {
        if (!runs_here(isa)) {
            MESSAGE("skipped: no " << isa << " here");
            continue;
        }
        test::check_golden_roots(cpu(isa == "portable" ? 1 : 3, isa.c_str()));
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
