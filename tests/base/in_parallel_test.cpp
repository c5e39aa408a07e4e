#include "base/in_parallel.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace templar;

TEST_CASE("in_parallel does every job once, and begins none after one has failed") {
    for (int64_t count : {0, 1, 3, 200}) {
        std::vector<std::atomic<int>> done(static_cast<size_t>(count));
        in_parallel(
            count, [&](int64_t i) { ++done[static_cast<size_t>(i)]; }, 7);
        for (const auto& times : done) CHECK(times == 1);
    }
    std::atomic<int> done{0};
    try {
        in_parallel(20, [&](int64_t i) {
            ++done;
            if (i % 5 == 3) fail(ExitCode::input, "job {}", i);
        });
        FAIL("nothing was thrown");
    } catch (const Error& error) {
        CHECK(std::string(error.what()) == "job 3");
    }
    CHECK(done >= 4);
    CHECK(done <= 20);
    int begun = 0;
    CHECK_THROWS(in_parallel(
        20, [&](int64_t) { ++begun, fail(ExitCode::input, "first"); }, 1));
    CHECK(begun == 1);
    // Who waits holds up nobody: all of these are under way at once.
    std::atomic<int> started{0};
    in_parallel(20, [&](int64_t) {
        ++started;
        while (started < 20) std::this_thread::yield();
    });
    CHECK(started == 20);
}
