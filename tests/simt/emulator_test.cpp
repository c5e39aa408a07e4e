// The emulator itself: who runs when, and the faults that it must find. Each fault is planted here.
#include "simt.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <vector>

using templar::cuda::shared_storage;

namespace {

constexpr simt::Schedule all_schedules[] = {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random};

// The settings of one launch or a few.
struct With {
    explicit With(simt::Schedule schedule, unsigned seed = 1) {
        simt::schedule = schedule;
        simt::seed = seed;
    }
    ~With() {
        simt::schedule = simt::Schedule::fifo;
        simt::seed = 1;
    }
};

std::string error_of(const std::function<void()>& run) {
    try {
        run();
    } catch (const templar::Error& error) {
        CHECK(error.code() == templar::ExitCode::device);
        return error.what();
    }
    return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define CHECK_CONTAINS(text, part) CHECK_MESSAGE(contains(text, part), text)

}  // namespace

// ---- Who runs -------------------------------------------------------------------------------------------------------

namespace {

void count_visits(int* visits, dim3 grid, dim3 block) {
    CHECK((gridDim.x == grid.x && gridDim.y == grid.y && gridDim.z == grid.z));
    CHECK((blockDim.x == block.x && blockDim.y == block.y && blockDim.z == block.z));
    const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    CHECK(simt::lane() == static_cast<int>(t % 32));
    ++visits[b * blockDim.x * blockDim.y * blockDim.z + t];
    __syncthreads();
    CHECK(t == threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

struct Order {
    int count;
    int threads[64];
};
void note_order(Order* order) {
    for (int round = 0; round < 3; ++round) {
        order[round].threads[order[round].count++] = static_cast<int>(threadIdx.x);
        __syncthreads();
    }
}

}  // namespace

TEST_CASE("every thread of every block runs once") {
    for (simt::Schedule schedule : all_schedules) {
        const With with(schedule);
        for (const auto& [grid, block] : {std::pair<dim3, dim3>{1, 1}, {7, 33}, {{2, 3, 2}, {5, 3, 4}}, {3, 1024}}) {
            std::vector<int> visits(size_t{grid.x} * grid.y * grid.z * block.x * block.y * block.z);
            simt::launch("count_visits", grid, block, 0, count_visits, visits.data(), grid, block);
            CHECK(visits == std::vector<int>(visits.size(), 1));
        }
    }
}

TEST_CASE("between two barriers threads run in ascending, descending or drawn order") {
    const auto orders = [](simt::Schedule schedule, unsigned seed) {
        const With with(schedule, seed);
        std::vector<Order> rounds(3);
        simt::launch("note_order", 1, 64, 0, note_order, rounds.data());
        std::vector<std::vector<int>> result;
        for (const Order& round : rounds) result.emplace_back(round.threads, round.threads + round.count);
        return result;
    };
    std::vector<int> ascending(64);
    std::iota(ascending.begin(), ascending.end(), 0);
    const std::vector<int> descending(ascending.rbegin(), ascending.rend());
    for (const auto& round : orders(simt::Schedule::fifo, 1)) CHECK(round == ascending);
    for (const auto& round : orders(simt::Schedule::reversed, 1)) CHECK(round == descending);
    std::set<std::vector<int>> drawn;
    for (unsigned seed : {1u, 2u})
        for (const auto& round : orders(simt::Schedule::random, seed)) {
            CHECK(std::set(round.begin(), round.end()).size() == 64);
            drawn.insert(round);
        }
    CHECK(drawn.size() == 6);
    CHECK(orders(simt::Schedule::random, 5) == orders(simt::Schedule::random, 5));
}

// ---- Barriers -------------------------------------------------------------------------------------------------------

namespace {

// Threads below `first` return; the others meet.
void barrier_results(int first, int* count, int* any, int* all) {
    const int t = static_cast<int>(threadIdx.x);
    if (t < first) return;
    count[t] = __syncthreads_count(t % 3 == 0);
    any[t] = __syncthreads_or(t == first) * 2 + __syncthreads_or(t < first);
    all[t] = __syncthreads_and(t >= first) * 2 + __syncthreads_and(t != first);
}

}  // namespace

TEST_CASE("a barrier counts those who have not returned") {
    for (simt::Schedule schedule : all_schedules) {
        const With with(schedule);
        for (int first : {0, 1, 40}) {
            std::vector<int> count(70), any(70), all(70);
            simt::launch("barrier_results", 1, 70, 0, barrier_results, first, count.data(), any.data(), all.data());
            int expected = 0;
            for (int t = first; t < 70; ++t) expected += t % 3 == 0;
            for (int t = first; t < 70; ++t) {
                CHECK(count[t] == expected);
                CHECK(any[t] == 2);
                CHECK(all[t] == 2);
            }
        }
    }
}

// ---- Races ----------------------------------------------------------------------------------------------------------

namespace {

struct Row {
    float values[128];
};

// Each thread takes its neighbour's value, with and without waiting for it to be there.
template <bool with_barrier>
void take_from_the_right(float* out) {
    Row& row = shared_storage<Row>();
    const unsigned t = threadIdx.x;
    row.values[t] = static_cast<float>(t);
    if (with_barrier) __syncthreads();
    out[t] = row.values[(t + 1) % blockDim.x];
}

// Two rounds in one place: without the second barrier a fast thread overwrites what a slow one has not read.
template <bool with_barrier>
void two_rounds(float* out) {
    Row& row = shared_storage<Row>();
    const unsigned t = threadIdx.x;
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        row.values[t] = static_cast<float>(t + 1000 * round);
        __syncthreads();
        sum += row.values[(t + 1) % blockDim.x];
        if (with_barrier) __syncthreads();
    }
    out[t] = sum;
}

// Right only if lanes ran in lockstep.
template <bool with_barrier>
void lockstep(float* out) {
    Row& row = shared_storage<Row>();
    const unsigned t = threadIdx.x;
    row.values[t] = static_cast<float>(t);
    if (with_barrier) __syncwarp();
    out[t] = row.values[t ^ 1];
}

void take_a_number(unsigned* counter, unsigned* numbers) { numbers[threadIdx.x] = atomicAdd(counter, 1u); }

// Results of the kernel in the three schedules: how many differ.
size_t different_results(void (*kernel)(float*)) {
    std::set<std::vector<float>> results;
    for (simt::Schedule schedule : all_schedules) {
        const With with(schedule);
        std::vector<float> out(128);
        simt::launch("race", 1, 128, sizeof(Row), kernel, out.data());
        for (float& value : out)
            if (std::isnan(value)) value = -1;  // NaN differs from itself
        results.insert(out);
    }
    return results.size();
}

}  // namespace

TEST_CASE("a missing barrier makes results differ between schedules") {
    CHECK(different_results(take_from_the_right<true>) == 1);
    CHECK(different_results(take_from_the_right<false>) > 1);
    CHECK(different_results(two_rounds<true>) == 1);
    CHECK(different_results(two_rounds<false>) > 1);
    CHECK(different_results(lockstep<true>) == 1);
    CHECK(different_results(lockstep<false>) > 1);
}

TEST_CASE("so does a number drawn by an atomic") {
    std::set<std::vector<unsigned>> results;
    for (simt::Schedule schedule : all_schedules) {
        const With with(schedule);
        unsigned counter = 0;
        std::vector<unsigned> numbers(64);
        simt::launch("take_a_number", 1, 64, 0, take_a_number, &counter, numbers.data());
        CHECK(counter == 64);
        results.insert(numbers);
    }
    CHECK(results.size() == 3);
}

// ---- Shared memory --------------------------------------------------------------------------------------------------

namespace {

struct Mixed {
    float real;
    int integer;
    __nv_bfloat16 half;
};
void read_unwritten(float* real, int* integer, float* half) {
    Mixed& shared = shared_storage<Mixed>();
    real[blockIdx.x] = shared.real;
    integer[blockIdx.x] = shared.integer;
    half[blockIdx.x] = shared.half;
    shared = {1, 2, 3.0f};  // the next block must not see it
}

void needs_more() { shared_storage<Row>().values[0] = 1; }

}  // namespace

TEST_CASE("shared memory starts as NaN and -1 in every block") {
    std::vector<float> real(50), half(50);
    std::vector<int> integer(50);
    simt::launch("read_unwritten", 50, 1, sizeof(Mixed), read_unwritten, real.data(), integer.data(), half.data());
    for (size_t i = 0; i < 50; ++i) {
        CHECK(std::isnan(real[i]));
        CHECK(integer[i] == -1);
        CHECK(std::isnan(half[i]));
    }
}

TEST_CASE("shared memory larger than the launch gave is refused") {
    const std::string error = error_of([] { simt::launch("needs_more", 1, 1, 511, needs_more); });
    CHECK_CONTAINS(
        error,
        "kernel 'needs_more', block (0,0,0), thread (0,0,0): its shared memory has 512 bytes, the launch gave 511");
    simt::launch("needs_more", 1, 1, 512, needs_more);
}

// ---- Divergence -----------------------------------------------------------------------------------------------------

namespace {

void half_of_the_block_waits() {
    if (blockIdx.y == 1 && threadIdx.x < 40) {
        __syncthreads();
    } else if (blockIdx.y == 1) {
        __syncwarp(0x80000000u >> (31 - simt::lane()) |
                   (threadIdx.x == 41 ? 1u : 0u));  // lane 9 waits for lane 0, which waits
    }
}
void two_lines() {
    if (threadIdx.x % 2 == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
void caller_not_in_mask() { __syncwarp(threadIdx.x == 5 ? 0xffu & ~(1u << 5) : 1u << simt::lane()); }
void lane_has_returned(int* out) {
    if (threadIdx.x == 3) return;
    out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}
void two_functions(int* out) {
    if (threadIdx.x < 16) {
        out[threadIdx.x] = __shfl_sync(~0u, 1, 0);
    } else {
        out[threadIdx.x] = static_cast<int>(__ballot_sync(~0u, 1));
    }
}
void leaves_a_copy_behind(int* out) {
    simt::pending_copies().add({out, nullptr, sizeof(int)});
    simt::pending_copies().commit();
}
void throws() { throw std::runtime_error("a host function"); }
void traps() {
    if (threadIdx.x == 2) __trap();
}
void fine(int* out) { out[threadIdx.x] = __shfl_sync(~0u, static_cast<int>(threadIdx.x), 7); }
void starts_a_kernel(int* out) { simt::launch("fine", 1, 32, 0, fine, out); }

}  // namespace

TEST_CASE("a barrier that not all threads reach is a deadlock, with names") {
    const std::string error = error_of([] { simt::launch("lost", {1, 2}, 64, 0, half_of_the_block_waits); });
    CHECK_CONTAINS(error, "kernel 'lost', block (0,1,0), deadlock:");
    CHECK_CONTAINS(error, "40 thread(s) wait in __syncthreads at ");
    CHECK_CONTAINS(error, "1 thread(s) wait in __syncwarp at ");
    CHECK_CONTAINS(error, "the first is (41,0,0); 23 of 64 have returned");
    CHECK_CONTAINS(error, "emulator_test.cpp:");
}

TEST_CASE("divergence is reported with kernel, block, thread and place") {
    std::vector<int> out(64);
    std::string error = error_of([] { simt::launch("two_lines", 1, 32, 0, two_lines); });
    CHECK_CONTAINS(error,
                   "kernel 'two_lines', block (0,0,0), thread (1,0,0): divergent barrier: it is in __syncthreads at ");
    error = error_of([] { simt::launch("mask", 1, 32, 0, caller_not_in_mask); });
    CHECK_CONTAINS(error, "thread (5,0,0): __syncwarp at ");
    CHECK_CONTAINS(error, "mask 0xdf lacks the calling lane 5");
    error = error_of([&] { simt::launch("returned", 1, 32, 0, lane_has_returned, out.data()); });
    CHECK_CONTAINS(error, "thread (4,0,0): __shfl_xor_sync at ");
    CHECK_CONTAINS(error, "lane 3 of mask 0xffffffff has returned");
    error = error_of([&] { simt::launch("two_functions", 1, 32, 0, two_functions, out.data()); });
    CHECK_CONTAINS(error, "thread (16,0,0): divergent warp: it is in __ballot_sync at ");
    error = error_of([&] { simt::launch("copy", 1, 1, 0, leaves_a_copy_behind, out.data()); });
    CHECK_CONTAINS(error, "it returned before its copies had arrived");
    error = error_of([] { simt::launch("throws", 1, 1, 0, throws); });
    CHECK_CONTAINS(error, "thread (0,0,0): an exception left the kernel: a host function");
    error = error_of([] { simt::launch("traps", 1, 4, 0, traps); });
    CHECK_CONTAINS(error, "thread (2,0,0): __trap()");
    error = error_of([&] { simt::launch("starts", 1, 1, 0, starts_a_kernel, out.data()); });
    CHECK_CONTAINS(error, "a kernel cannot start another");
}

TEST_CASE("a failed launch leaves nothing behind") {
    for (simt::Schedule schedule : all_schedules) {
        const With with(schedule);
        std::vector<int> out(32);
        for (int i = 0; i < 20; ++i) {
            CHECK_CONTAINS(error_of([] { simt::launch("lost", {1, 2}, 64, 0, half_of_the_block_waits); }), "deadlock");
            simt::launch("fine", 1, 32, 0, fine, out.data());
            CHECK(out == std::vector<int>(32, 7));
        }
    }
}

TEST_CASE("a launch that a GPU refuses is refused") {
    const auto error = [](dim3 grid, dim3 block, size_t shared) {
        return error_of([&] { simt::launch("fine", grid, block, shared, traps); });
    };
    CHECK_CONTAINS(error(1, 1025, 0), "cannot start kernel 'fine': a block of (1025,1,1)");
    CHECK_CONTAINS(error(1, {32, 33}, 0), "a block of");
    CHECK_CONTAINS(error(1, {1, 1, 65}, 0), "a block of");
    CHECK_CONTAINS(error(1, 0, 0), "a block of");
    CHECK_CONTAINS(error(0, 1, 0), "a grid of (0,1,1)");
    CHECK_CONTAINS(error({1, 65536}, 1, 0), "a grid of");
    CHECK_CONTAINS(error(1, 1, 227 * 1024 + 1), "bytes of shared memory");
    CHECK(error(1, 1, 227 * 1024) == "no error");
}
