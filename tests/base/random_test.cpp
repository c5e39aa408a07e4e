#include "base/random.h"

#include <doctest/doctest.h>

using namespace templar;

TEST_CASE("CounterRng is the ChaCha20 key stream of RFC 8439") {
    // RFC 8439 A.1, test vectors 1 and 2: key 0, nonce 0, counters 0 and 1.
    CounterRng rng(Digest{});
    CHECK(rng.next_u32() == 0xade0b876u);
    CHECK(rng.next_u32() == 0x903df1a0u);
    for (int i = 2; i < 16; ++i) rng.next_u32();
    CHECK(rng.next_u32() == 0xbee7079fu);
}

TEST_CASE("CounterRng resumes from its position") {
    const Digest key = sha256(as_bytes("key"));
    CounterRng all(key);
    for (int i = 0; i < 21; ++i) all.next_u32();
    CounterRng resumed(key, all.position());
    for (int i = 0; i < 40; ++i) CHECK(resumed.next_u32() == all.next_u32());
}

TEST_CASE("CounterRng::below is in range and refuses 0") {
    CounterRng rng(sha256(as_bytes("below")));
    std::array<int, 3> seen{};
    for (int i = 0; i < 3000; ++i) ++seen[rng.below(3)];
    for (int count : seen) CHECK(count > 850);
    CHECK_THROWS_AS(rng.below(0), std::invalid_argument);
}
