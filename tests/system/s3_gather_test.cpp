// A window's gather: every peer's payload from its own bucket, by a deadline, whatever some of them do.
// $TEMPLAR_GATHER_BYTES sets the payload's length (24000000: the real one's).
#include "tests/system/s3_client_fixture.h"

#include "net/wire/payload.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

using namespace templar;
using namespace templar::s3test;

namespace {

int64_t gathered_bytes() {
    const char* chosen = std::getenv("TEMPLAR_GATHER_BYTES");
    return chosen && *chosen ? std::atoll(chosen) : 1'000'000;
}

std::string bucket_name(size_t peer) {
    return fmt::format("peer-{:03}", peer);
}

S3Policy gather_policy(int64_t bytes) {
    S3Policy policy = hasty(20'000);
    policy.get_part_bytes = std::max<int64_t>(256 << 10, bytes / 4);
    policy.min_bytes_per_s = 20'000;
    return policy;
}

struct Arrival {
    bool intact = false;
    std::string error;
    double seconds = 0;
};

// Objects that differ but share their memory: windows into one run of bytes.
struct Swarm {
    Swarm(size_t peers, int64_t bytes)
        : bytes(bytes),
          sea(std::make_shared<const Bytes>(sample_bytes(bytes + static_cast<int64_t>(peers) * 64, 7))) {
        server.add_key(our_key);
        for (size_t peer = 0; peer < peers; ++peer) {
            server.add_bucket(bucket_name(peer));
            server.store(bucket_name(peer), "gradient", sea, payload(peer));
        }
    }
    ByteSpan payload(size_t peer) const {
        return ByteSpan(*sea).subspan(peer * 64, static_cast<size_t>(bytes));
    }

    Arrival gather(size_t peer, const S3Policy& policy, int64_t budget_ms) const {
        Arrival arrival;
        const auto begun = std::chrono::steady_clock::now();
        try {
            S3Client client(transport, location_of(server, bucket_name(peer)), our_credentials, policy);
            const auto found = client.fetch("gradient", bytes, budget_ms, nullptr);
            arrival.intact = found && std::ranges::equal(found->first, payload(peer));
            if (!found) arrival.error = "none";
        } catch (const std::exception& error) {
            arrival.error = error.what();
        }
        arrival.seconds = seconds_since(begun);
        return arrival;
    }

    int64_t bytes;
    std::shared_ptr<const Bytes> sea;
    Server server;
    std::shared_ptr<Transport> transport = loopback_transport(64);
};

}  // namespace

TEST_CASE("250 payloads from 250 buckets arrive intact through three per cent of errors of every kind") {
    constexpr size_t peers = 250;
    Swarm swarm(peers, gathered_bytes());
    const auto each = static_cast<double>(gathered_bytes());
    const std::vector<FaultRule> faults = {
        {.fault = Fault::status, .status = 500, .code = "InternalError"},
        {.fault = Fault::status, .status = 503, .code = "SlowDown", .retry_after = "0"},
        {.fault = Fault::status, .status = 429, .code = "TooManyRequests"},
        {.fault = Fault::early_status},
        {.fault = Fault::reset_before},
        {.fault = Fault::reset_middle, .bytes = 100'000},
        {.fault = Fault::truncated, .bytes = 1000},
        {.fault = Fault::stall},
        {.fault = Fault::stall_middle, .bytes = 50'000},
        {.fault = Fault::garbage},
        {.fault = Fault::header_bomb, .bytes = 100'000},
        {.fault = Fault::oversized, .bytes = 7},
        {.fault = Fault::header, .name = "Content-Range", .value = ""},
    };
    uint64_t seed = 1;
    for (FaultRule fault : faults) {
        fault.times = INT64_MAX;
        fault.probability = 0.03 / static_cast<double>(faults.size());
        fault.seed = seed++;
        swarm.server.inject(fault);
    }
    std::vector<Arrival> arrivals(peers);
    const auto begun = std::chrono::steady_clock::now();
    in_parallel(32, peers, [&](size_t peer) {
        arrivals[peer] = swarm.gather(peer, gather_policy(gathered_bytes()), 60'000);
    });
    const double seconds = seconds_since(begun);
    for (size_t peer = 0; peer < peers; ++peer) {
        INFO(bucket_name(peer), ": ", arrivals[peer].error);
        CHECK(arrivals[peer].intact);
    }
    const Counters counters = swarm.server.counters();
    MESSAGE(fmt::format(
        "{} × {} bytes in {:.1f} s ({:.0f} MB/s), {} requests, {} faults, {} connections, at most {}", peers,
        gathered_bytes(), seconds, peers * each / seconds / 1e6, counters.all_requests, counters.faults,
        counters.connections, counters.most_connections));
    CHECK(counters.faults >= 10);
    CHECK(counters.most_connections <= 64 + counters.faults);
    // One request a part, and one more for each fault, or for each part of one object when it begins again.
    CHECK(counters.all_requests <= static_cast<int64_t>(peers) * 5 + 5 * counters.faults);
}

TEST_CASE("one peer that drips delays nobody, and ends at its deadline") {
    constexpr size_t peers = 15, dripper = 4;
    constexpr int64_t bytes = 1'000'000, budget_ms = 3000;
    const std::vector<Fault> faults = {Fault::drip, Fault::drip_all, Fault::stall, Fault::stall_middle,
                                       Fault::endless};
    std::vector<std::vector<Arrival>> arrivals(faults.size(), std::vector<Arrival>(peers));
    in_parallel(static_cast<int>(faults.size()), faults.size(), [&](size_t i) {
        Swarm swarm(peers, bytes);
        // Above the rate that is too slow, so that only the deadline ends it; silence is found out before.
        swarm.server.inject({.fault = faults[i],
                             .where = bucket_name(dripper) + "/*",
                             .times = INT64_MAX,
                             .bytes = 1000,
                             .bytes_per_s = 30'000});
        in_parallel(peers, peers, [&](size_t peer) {
            arrivals[i][peer] = swarm.gather(peer, gather_policy(bytes), budget_ms);
        });
    });
    for (size_t i = 0; i < faults.size(); ++i)
        for (size_t peer = 0; peer < peers; ++peer) {
            const Arrival& arrival = arrivals[i][peer];
            INFO(std::string(fault_name(faults[i])), ", peer ", peer, ": ", arrival.error);
            CHECK(arrival.intact == (peer != dripper));
            CHECK(arrival.seconds < 1e-3 * budget_ms + 1);
            if (peer != dripper) continue;
            const auto ends_with = [&](const char* text) {
                return arrival.error.find(text) != std::string::npos;
            };
            CHECK((ends_with("stalled") || ends_with("deadline") ||
                   (faults[i] == Fault::endless && ends_with("too long"))));
            CHECK(!tells_secrets(arrival.error));
        }
}

TEST_CASE("of a payload that arrives damaged only the bad blocks are fetched again") {
    const Identity author = Identity::generate();
    PayloadHeader header;
    header.window = 7;
    const Bytes payload = sample_bytes(20 * payload_block_bytes - 12'345, 9);
    const Bytes object = encode_payload(author, header, payload);
    const int64_t size = std::ssize(object);
    const PayloadExpectation expected{header.run_id, header.window, author.hotkey(), header.layout,
                                      std::ssize(payload)};

    Server server;
    server.add_key(our_key);
    server.add_bucket("peer");
    server.store("peer", "gradient", object);
    S3Policy policy = gather_policy(size);
    policy.get_part_bytes = 5 * payload_block_bytes - 999;  // parts that do not end where blocks do
    S3Client client(loopback_transport(), location_of(server, "peer"), our_credentials, policy);
    const auto fetch = [&] {
        server.forget_counts();
        PayloadCheck check(expected);
        auto found = client.fetch("gradient", size, 60'000, std::ref(check));
        REQUIRE(found);
        return std::move(check).take(std::move(found->first));
    };
    const auto damage = [&](int64_t at, int64_t times) {
        server.inject({.fault = Fault::flip, .times = times, .bytes = at});
    };
    SUBCASE("three blocks, once each") {
        for (const int64_t block : {1, 8, 19})
            damage(size - std::ssize(payload) + block * payload_block_bytes + 77, 1);
        CHECK(std::ranges::equal(fetch().payload(), payload));
        CHECK(server.counters().faults == 3);
        CHECK(server.counters().bytes_out == size + 3 * payload_block_bytes - 12'345);  // the last is short
        CHECK(server.counters().all_requests <= 5 + 3);
    }
    SUBCASE("one block, always: given up after three times") {
        damage(size - 5, INT64_MAX);
        try {
            fetch();
            FAIL_CHECK("damage was believed");
        } catch (const Error& error) {
            INFO(error.what());
            CHECK(error.code() == ExitCode::input);
        }
        CHECK(server.counters().bytes_out <= size + 2 * payload_block_bytes);
    }
    SUBCASE("the signed front: given up at once") {
        damage(100, INT64_MAX);
        try {
            fetch();
            FAIL_CHECK("damage was believed");
        } catch (const Error& error) {
            INFO(error.what());
            CHECK(error.code() == ExitCode::input);
        }
        CHECK(server.counters().all_requests <= 5);
    }
    SUBCASE("nothing wrong: every byte once") {
        CHECK(std::ranges::equal(fetch().payload(), payload));
        CHECK(server.counters().bytes_out == size);
    }
}
