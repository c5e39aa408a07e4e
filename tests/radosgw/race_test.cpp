// Several writers, one key: the one primitive that participants coordinate by.
#include "net/bucket/bucket.h"
#include "tests/radosgw/server.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <atomic>
#include <barrier>
#include <thread>

using namespace templar;

namespace {

constexpr int writers = 8;

// Each round all create one key at the same moment, every one with bytes of its own.
void race(const std::string& folder, int rounds, size_t size) {
    const auto open = [&] {
        return open_bucket("s3://first/" + folder + "?profile=first",
                           {.credentials = LocalServer::instance().credentials(), .allow_http = true});
    };
    std::vector<std::vector<char>> won(rounds, std::vector<char>(writers));
    std::vector<std::string> errors(writers);
    std::barrier start(writers);
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < writers; ++writer)
        threads.emplace_back([&, writer] {
            const auto bucket = open();
            const Bytes bytes(size, static_cast<uint8_t>(writer));
            for (int round = 0; round < rounds; ++round) {
                start.arrive_and_wait();
                try {
                    won[round][writer] = bucket->create(fmt::format("{}", round), bytes);
                } catch (const Error& error) {
                    errors[writer] = error.what();
                }
            }
        });
    threads.clear();
    for (const std::string& error : errors) CHECK(error == "");
    const auto bucket = open();
    for (int round = 0; round < rounds; ++round) {
        CAPTURE(round);
        CHECK(std::count(won[round].begin(), won[round].end(), 1) == 1);
        const auto winner = std::find(won[round].begin(), won[round].end(), 1) - won[round].begin();
        const auto stored = bucket->get(fmt::format("{}", round), static_cast<int64_t>(size));
        REQUIRE(stored);
        CHECK(*stored == Bytes(size, static_cast<uint8_t>(winner)));
    }
}

TEST_CASE("of eight writers exactly one creates a ledger entry") {
    race("race", 100, 300);
}

TEST_CASE("of eight writers exactly one creates a payload") {
    race("race-of-payloads", 5, 6 << 20);
}

}  // namespace
