#include "net/chain/clock.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace templar;

namespace {

const std::atomic<bool> never{false};

// Runs one thread per body, each a participant of the clock.
void run_participants(VirtualClock& clock, std::vector<std::function<void()>> bodies) {
    std::vector<std::unique_ptr<VirtualClock::Participant>> participants;
    for (size_t i = 0; i < bodies.size(); ++i)
        participants.push_back(std::make_unique<VirtualClock::Participant>(clock));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < bodies.size(); ++i)
        threads.emplace_back(
            [participant = std::move(participants[i]), body = std::move(bodies[i])] { body(); });
    for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("SystemClock sleeps until the deadline and notices stop") {
    SystemClock clock;
    const int64_t start = clock.now_ms();
    CHECK(start > 1'700'000'000'000);
    CHECK(clock.sleep_until(start + 20, never));
    CHECK(clock.now_ms() >= start + 20);
    CHECK(clock.sleep_until(start - 1000, never));

    std::atomic<bool> stop{true};
    CHECK_FALSE(clock.sleep_until(clock.now_ms() + 3'600'000, stop));
    stop = false;
    bool slept = true;
    std::thread sleeper([&] { slept = clock.sleep_until(clock.now_ms() + 3'600'000, stop); });
    stop = true;
    sleeper.join();
    CHECK_FALSE(slept);
}

TEST_CASE("VirtualClock: the same events in the same order, every time") {
    auto run = [] {
        VirtualClock clock(1000);
        std::mutex mutex;
        std::string log;
        std::vector<std::function<void()>> bodies;
        // Deadlines differ modulo 35: no two threads ever wake at the same moment.
        for (int id = 0; id < 5; ++id)
            bodies.push_back([&, id] {
                for (int i = 1; i <= 40; ++i) {
                    const int64_t deadline = 1000 + i * 35 * (id + 3) + id;
                    CHECK(clock.sleep_until(deadline, never));
                    CHECK(clock.now_ms() == deadline);
                    const std::lock_guard lock(mutex);
                    log += fmt::format("{}@{} ", id, clock.now_ms());
                }
            });
        run_participants(clock, std::move(bodies));
        return log;
    };
    const std::string first = run();
    CHECK(first.starts_with("0@1105 1@1141 2@1177 0@1210 "));
    for (int i = 0; i < 20; ++i) CHECK(run() == first);
}

TEST_CASE("VirtualClock: time stands still while a participant works") {
    VirtualClock clock(0);
    std::atomic<int> working{0};
    auto body = [&] {
        for (int i = 1; i <= 200; ++i) {
            CHECK(clock.sleep_until(i * 10, never));  // all wake at once
            ++working;
            const int64_t now = clock.now_ms();
            std::this_thread::yield();
            CHECK(now == i * 10);
            CHECK(clock.now_ms() == now);
            --working;
        }
    };
    run_participants(clock, {body, body, body, body});
    CHECK(working == 0);
    CHECK(clock.now_ms() == 2000);
}

TEST_CASE("VirtualClock: a deadline that has passed gives no time away") {
    VirtualClock clock(500);
    VirtualClock::Participant working(clock);
    std::thread other([&clock, participant = std::make_unique<VirtualClock::Participant>(clock)] {
        clock.sleep_until(600, never);
    });
    for (int i = 0; i < 100; ++i) {
        CHECK(clock.sleep_until(500, never));
        CHECK(clock.sleep_until(-1, never));
        CHECK(clock.now_ms() == 500);
    }
    CHECK(clock.sleep_until(700, never));
    other.join();
    CHECK(clock.now_ms() == 700);
}

TEST_CASE("VirtualClock: a participant that ends lets the others go on") {
    VirtualClock clock(0);
    std::vector<int64_t> ends(3);
    std::vector<std::function<void()>> bodies;
    for (int id = 0; id < 3; ++id)
        bodies.push_back([&, id] {
            for (int i = 0; i <= id * 5; ++i) clock.sleep_until(clock.now_ms() + 10, never);
            ends[id] = clock.now_ms();
        });
    run_participants(clock, std::move(bodies));
    CHECK(ends == std::vector<int64_t>{10, 60, 110});
}

TEST_CASE("VirtualClock: who is told to stop acts before time moves") {
    for (int round = 0; round < 50; ++round) {
        VirtualClock clock(0);
        std::atomic<bool> stop{false};
        int64_t stopped_at = -1;
        run_participants(clock, {[&] {
                                     CHECK_FALSE(clock.sleep_until(1'000'000, stop));
                                     stopped_at = clock.now_ms();
                                 },
                                 [&] {
                                     clock.sleep_until(70, never);
                                     stop = true;
                                     clock.sleep_until(80, never);
                                 }});
        CHECK(stopped_at == 70);
        CHECK(clock.now_ms() == 80);
    }
}

TEST_CASE("VirtualClock: a stop from outside is noticed") {
    VirtualClock clock(0);
    VirtualClock::Participant busy(clock);  // keeps time from moving
    std::atomic<bool> stop{false};
    bool slept = true;
    std::thread sleeper([&, participant = std::make_unique<VirtualClock::Participant>(clock)] {
        slept = clock.sleep_until(100, stop);
    });
    stop = true;
    sleeper.join();
    CHECK_FALSE(slept);
    CHECK(clock.now_ms() == 0);
}

TEST_CASE("VirtualClock: with no participants a sleep moves time at once") {
    VirtualClock clock(5);
    CHECK(clock.sleep_until(99, never));
    CHECK(clock.now_ms() == 99);
}
