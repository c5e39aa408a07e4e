#include "simt_grid.h"

#include "simt_fiber.h"

#include "base/error.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include <omp.h>

namespace simt {

namespace {

constexpr int max_threads = 1024;               // in a block
constexpr std::size_t max_shared = 227 * 1024;  // a block's, on sm_90
constexpr std::size_t shared_alignment = 1024;  // what the widest copies of sm_90 ask for
constexpr int max_os_threads = 16;              // more would only cost stacks

std::string to_string(uint3 index) { return fmt::format("({},{},{})", index.x, index.y, index.z); }
std::string to_string(const Place& place) {
    const std::source_location& where = place.where;
    return fmt::format("{} at {}:{}:{}", place.function, where.file_name(), where.line(), where.column());
}
bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool same(const Place& a, const Place& b) {
    return a.where.line() == b.where.line() && a.where.column() == b.where.column() &&
           same(a.where.file_name(), b.where.file_name());
}

// ---- What a block consists of ---------------------------------------------------------------------------------------

// A thread's way out of its kernel after Block::failure was set: thrown from where it is, caught in its fiber's first
// frame.
struct Failure {};

void run_threads();

// A fiber and the CUDA thread that it runs at the moment.
struct Runner {
    Fiber fiber{run_threads};
    int thread = -1;  // its number in the block; -1: none
    uint3 index{};    // the same as threadIdx
    Place waits_at{};
    PendingCopies copies;
};

// Runners that may go on. Each is in it at most once.
class Queue {
  public:
    bool empty() const { return size_ == 0; }
    unsigned size() const { return size_; }
    void push(Runner* runner) { ring_[(first_ + size_++) % max_threads] = runner; }
    Runner* pop() {
        --size_;
        return ring_[first_++ % max_threads];
    }
    Runner* pop(unsigned position) {
        std::swap(ring_[first_ % max_threads], ring_[(first_ + position) % max_threads]);
        return pop();
    }

  private:
    std::array<Runner*, max_threads> ring_{};
    unsigned first_ = 0, size_ = 0;
};

// Those who wait for the same thing, in the order in which they came.
template <int most>
struct WaitingList {
    std::array<Runner*, most> runners;
    int count = 0;
    Place place{};  // of the first

    void add(Runner* runner, Place where) {
        if (count == 0) place = where;
        runner->waits_at = where;
        runners[count++] = runner;
    }
    void release(Queue& ready) {
        for (int i = 0; i < count; ++i) ready.push(runners[i]);
        count = 0;
    }
};

// Lanes of a warp that exchange values under one mask. There are two sets of values, used in turn: when a lane brings
// its next value, others may not have read the last ones; when it brings the one after, they must have.
struct Meeting {
    unsigned mask = 0;
    WaitingList<32> waiting;
    std::size_t bytes = 0;
    int turn = 0;
    struct Values {
        alignas(16) unsigned char in[32 * max_lane_bytes];
        alignas(16) unsigned char out[32 * max_lane_bytes];
    } values[2];
};

struct Warp {
    unsigned alive = 0;  // lanes that have not returned
    std::vector<std::unique_ptr<Meeting>> meetings;

    Meeting& meeting(unsigned mask) {
        for (const auto& known : meetings)
            if (known->mask == mask) return *known;
        meetings.push_back(std::make_unique<Meeting>());
        meetings.back()->mask = mask;
        return *meetings.back();
    }
};

struct Free {
    void operator()(void* memory) const { std::free(memory); }
};

// The block that an OS thread runs. It is kept for the next one, for its stacks.
struct Block {
    Kernel kernel{};
    Schedule order = Schedule::fifo;
    int threads = 0;           // of all blocks of the cluster, one after another
    int threads_of_block = 0;
    int started = 0;
    int alive = 0;  // not returned, started or not
    std::vector<int> start_order;  // under Schedule::random
    std::mt19937 random;

    std::vector<std::unique_ptr<Runner>> runners;
    std::vector<Runner*> idle;
    Queue ready;
    Runner* running = nullptr;
    Fiber outside;  // where run_block() waits for the block's end
    std::string failure;

    std::vector<std::pair<const void*, Runner*>> on_memory;  // who waits for a change of what
    WaitingList<max_threads> at_barrier;
    int with_predicate = 0;
    Arrivals arrivals{};
    std::vector<Warp> warps;

    std::unique_ptr<std::byte, Free> shared;
    std::size_t shared_bytes = 0;     // of a block
    std::size_t shared_distance = 0;  // from one block's to the next's
    std::size_t shared_all = 0;       // of the cluster

    int block_of(const Runner& runner) const { return runner.thread / threads_of_block; }
};

constinit thread_local Block* current = nullptr;

// ---- Who runs next --------------------------------------------------------------------------------------------------

uint3 index_of(unsigned thread) {
    if (blockDim.y * blockDim.z == 1) return {thread, 0, 0};
    return {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

int thread_to_start(const Block& block) {
    switch (block.order) {
        case Schedule::fifo: return block.started;
        case Schedule::reversed: return block.threads - 1 - block.started;
        case Schedule::random: break;
    }
    return block.start_order[block.started];
}

// Ready ones first: a warp runs as far as it can before the next one starts. Under Schedule::random as the coin falls.
bool start_another(Block& block) {
    if (block.started == block.threads) return false;
    return block.ready.empty() || (block.order == Schedule::random && block.random() % 2 == 0);
}

Runner* idle_runner(Block& block) {
    if (block.idle.empty()) return block.runners.emplace_back(std::make_unique<Runner>()).get();
    Runner* runner = block.idle.back();
    block.idle.pop_back();
    return runner;
}

[[noreturn]] void fail(Block& block, const std::string& what) {
    if (block.failure.empty()) block.failure = what;
    throw Failure{};
}

[[noreturn]] void report_deadlock(Block& block) {
    struct Group {
        int threads = 0;
        Runner* first = nullptr;
    };
    std::map<std::string, Group> groups;
    for (const auto& runner : block.runners) {
        if (runner->thread < 0) continue;
        Group& group = groups[to_string(runner->waits_at)];
        ++group.threads;
        if (!group.first || runner->thread < group.first->thread) group.first = runner.get();
    }
    std::string what = "deadlock:";
    for (const auto& [place, group] : groups)
        what += fmt::format(" {} thread(s) wait in {}, the first is {};", group.threads, place,
                            to_string(group.first->index));
    fail(block, fmt::format("{} {} of {} have returned", what, block.threads - block.alive, block.threads));
}

void switch_to_next(Block& block) {
    Runner* const self = block.running;
    Runner* next = nullptr;
    if (!block.failure.empty()) throw Failure{};  // something caught the first one and went on
    if (start_another(block))
        next = idle_runner(block);
    else if (block.ready.empty())
        report_deadlock(block);
    else if (block.order == Schedule::random)
        next = block.ready.pop(block.random() % block.ready.size());
    else
        next = block.ready.pop();
    if (next == self) return;
    block.running = next;
    self->fiber.switch_to(next->fiber);
}

// threadIdx and blockIdx become the running thread's.
void show_position(const Block& block) {
    threadIdx = block.running->index;
    const unsigned cluster = static_cast<unsigned>(block.kernel.cluster);
    if (cluster > 1)
        blockIdx.y = blockIdx.y / cluster * cluster + static_cast<unsigned>(block.block_of(*block.running));
}

// For a thread that has put itself on a list.
void wait(Block& block) {
    switch_to_next(block);
    show_position(block);
}

// ---- The life of a thread -------------------------------------------------------------------------------------------

// Threads that have returned count as arrived.
void release_barrier_if_complete(Block& block) {
    if (block.at_barrier.count < block.alive) return;
    block.arrivals = {block.at_barrier.count, block.with_predicate};
    block.with_predicate = 0;
    block.at_barrier.release(block.ready);
}

void run_thread(Block& block, Runner& self) {
    self.thread = thread_to_start(block);
    self.index = index_of(static_cast<unsigned>(self.thread % block.threads_of_block));
    show_position(block);
    self.copies.start(block.order == Schedule::reversed ||
                      (block.order == Schedule::random && block.random() % 2 == 0));
    ++block.started;
    block.kernel.call(block.kernel.arguments);
    if (!self.copies.none()) fail_thread("it returned before its copies had arrived");
    block.warps[self.thread / 32].alive &= ~(1u << self.thread % 32);
    self.thread = -1;
    --block.alive;
    if (block.at_barrier.count > 0) release_barrier_if_complete(block);
}

// Every fiber's entry: runs threads one after another for as long as no ready one has to go first.
void run_threads() {
    Fiber::arrived();
    Block& block = *current;
    Runner& self = *block.running;
    for (;;) {
        try {
            while (block.failure.empty() && start_another(block)) run_thread(block, self);
            block.idle.push_back(&self);
            if (block.alive > 0) {
                switch_to_next(block);
                continue;
            }
        } catch (const Failure&) {
        } catch (const std::exception& error) {
            block.failure =
                fmt::format("thread {}: an exception left the kernel: {}", to_string(threadIdx), error.what());
        }
        self.fiber.switch_to(block.outside);
    }
}

// ---- The life of a block --------------------------------------------------------------------------------------------

void prepare(Block& block, const Kernel& kernel, std::size_t shared_bytes, Schedule order, unsigned block_seed) {
    block.kernel = kernel;
    block.order = order;
    block.threads_of_block = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
    block.threads = block.alive = block.threads_of_block * kernel.cluster;
    block.started = 0;
    if (order == Schedule::random) {
        block.random.seed(block_seed);
        block.start_order.resize(block.threads);
        std::iota(block.start_order.begin(), block.start_order.end(), 0);
        std::shuffle(block.start_order.begin(), block.start_order.end(), block.random);
    }
    block.warps.resize((block.threads + 31) / 32);
    for (int w = 0; w < std::ssize(block.warps); ++w) {
        const int lanes = std::min(32, block.threads - 32 * w);
        block.warps[w].alive = ~0u >> (32 - lanes);
        if (block.warps[w].meetings.size() > 8) block.warps[w].meetings.clear();
    }
    const std::size_t distance = (shared_bytes + shared_alignment - 1) / shared_alignment * shared_alignment;
    const std::size_t all = distance * static_cast<std::size_t>(kernel.cluster - 1) + shared_bytes;
    if (block.shared_bytes != shared_bytes || block.shared_all != all) {  // to the byte, for the address sanitizer
        void* memory = nullptr;
        if (posix_memalign(&memory, shared_alignment, all) != 0) throw std::bad_alloc();
        block.shared.reset(static_cast<std::byte*>(memory));
        block.shared_bytes = shared_bytes;
        block.shared_distance = distance;
        block.shared_all = all;
    }
    if (all > 0) std::memset(block.shared.get(), 0xff, all);
}

// Returns why it failed, nothing when it did not.
std::string run_block(const Kernel& kernel, std::size_t shared_bytes, Schedule order, unsigned block_seed) {
    static thread_local std::unique_ptr<Block> kept;
    if (!kept) kept = std::make_unique<Block>();
    prepare(*kept, kernel, shared_bytes, order, block_seed);
    current = kept.get();
    current->running = idle_runner(*current);
    current->outside.switch_to(current->running->fiber);
    current = nullptr;
    const std::string failure = kept->failure;
    if (!failure.empty()) kept.reset();  // its other threads were left where they stood
    return failure;
}

void refuse_what_a_gpu_refuses(const Kernel& kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
    const auto refuse = [&](const std::string& why) {
        templar::fail(templar::ExitCode::device, "the emulated GPU cannot start kernel '{}': {}", kernel.name, why);
    };
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    if (threads < 1 || threads > max_threads || block.z > 64)
        refuse(fmt::format("a block of {} has no thread or too many", to_string(block)));
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
        refuse(fmt::format("a grid of {} has no block or too many", to_string(grid)));
    if (shared_bytes > max_shared) refuse(fmt::format("{} bytes of shared memory", shared_bytes));
    const uint64_t cluster = static_cast<uint64_t>(kernel.cluster);
    if (cluster > 1 && (grid.y % cluster != 0 || threads % 32 != 0 || threads * cluster > max_threads))
        refuse(
            fmt::format("clusters of {} blocks in a grid of {}, {} threads each", cluster, to_string(grid), threads));
    if (current) refuse("a kernel cannot start another");
}

}  // namespace

void check_pointer(const char* kernel, int index, const void* pointer) {
    if (pointer && is_out_of_reach(pointer, 0))
        templar::fail(templar::ExitCode::device, "kernel '{}': argument {} does not point into device memory", kernel,
                      index);
}

void run_grid(const Kernel& kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
    refuse_what_a_gpu_refuses(kernel, grid, block, shared_bytes);
    const unsigned cluster = static_cast<unsigned>(kernel.cluster), clusters_down = grid.y / cluster;
    const int64_t blocks = int64_t{grid.x} * clusters_down * grid.z;  // or clusters
    const Schedule order = schedule;
    const unsigned grid_seed = seed;
    std::vector<int64_t> shuffled;
    if (order == Schedule::random) {
        shuffled.resize(blocks);
        std::iota(shuffled.begin(), shuffled.end(), int64_t{0});
        std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(grid_seed));
    }
    const DeviceAccess access;
    std::atomic<bool> failed = false;
    std::string failure;
#pragma omp parallel for schedule(dynamic) num_threads(std::min(omp_get_max_threads(), max_os_threads)) if (blocks > 1)
    for (int64_t i = 0; i < blocks; ++i) {
        if (failed.load(std::memory_order_relaxed)) continue;
        const int64_t n = order == Schedule::fifo ? i : order == Schedule::reversed ? blocks - 1 - i : shuffled[i];
        gridDim = grid;
        blockDim = block;
        blockIdx = {static_cast<unsigned>(n % grid.x), static_cast<unsigned>(n / grid.x % clusters_down) * cluster,
                    static_cast<unsigned>(n / grid.x / clusters_down)};
        const std::string why = run_block(kernel, shared_bytes, order, grid_seed + static_cast<unsigned>(n));
        if (!why.empty() && !failed.exchange(true))
            failure = fmt::format("kernel '{}', block {}, {}", kernel.name, to_string(blockIdx), why);
    }
    if (failed) templar::fail(templar::ExitCode::device, "{}", failure);
}

// ---- For device functions -------------------------------------------------------------------------------------------

void fail_thread(const std::string& what) { fail(*current, fmt::format("thread {}: {}", to_string(threadIdx), what)); }

int lane() { return current->running->thread % 32; }

Schedule schedule_of_block() { return current->order; }

void* shared_memory(std::size_t bytes) {
    if (bytes > current->shared_bytes)
        fail_thread(fmt::format("its shared memory has {} bytes, the launch gave {}", bytes, current->shared_bytes));
    return shared_memory_of_block(block_of_cluster());
}

int block_of_cluster() { return current->block_of(*current->running); }

void* shared_memory_of_block(int block) {
    if (block < 0 || block >= current->kernel.cluster)
        fail_thread(fmt::format("there is no block {} in the cluster", block));
    return current->shared.get() + block * current->shared_distance;
}

PendingCopies& pending_copies() { return current->running->copies; }

Arrivals barrier(bool predicate, Place place) {
    Block& block = *current;
    if (block.at_barrier.count > 0 && !same(block.at_barrier.place, place))
        fail_thread(fmt::format("divergent barrier: it is in {}, others are in {}", to_string(place),
                                to_string(block.at_barrier.place)));
    block.at_barrier.add(block.running, place);
    block.with_predicate += predicate;
    release_barrier_if_complete(block);
    wait(block);
    return block.arrivals;  // the next barrier cannot be complete before this thread has come there
}

void wait_on(const void* memory, Place place) {
    Block& block = *current;
    block.running->waits_at = place;
    block.on_memory.emplace_back(memory, block.running);
    wait(block);
}

void wake(const void* memory) {
    Block& block = *current;
    std::erase_if(block.on_memory, [&](const auto& sleeper) {
        if (sleeper.first == memory) block.ready.push(sleeper.second);
        return sleeper.first == memory;
    });
}

const void* exchange(unsigned mask, const void* mine, std::size_t bytes, Once once, Place place) {
    Block& block = *current;
    Warp& warp = block.warps[block.running->thread / 32];
    if ((mask >> lane() & 1u) == 0)
        fail_thread(fmt::format("{}: mask {:#x} lacks the calling lane {}", to_string(place), mask, lane()));
    if ((mask & ~warp.alive) != 0)
        fail_thread(fmt::format("{}: lane {} of mask {:#x} has returned", to_string(place),
                                std::countr_zero(mask & ~warp.alive), mask));
    Meeting& meeting = warp.meeting(mask);
    Meeting::Values& values = meeting.values[meeting.turn];
    if (meeting.waiting.count == 0) {
        meeting.bytes = bytes;
        if (mask != ~0u) std::memset(values.in, 0xff, 32 * bytes);
    } else if (const Place& first = meeting.waiting.place;
               bytes != meeting.bytes || !same(first.function, place.function)) {
        fail_thread(fmt::format("divergent warp: it is in {}, others are in {}", to_string(place), to_string(first)));
    }
    std::memcpy(values.in + lane() * bytes, mine, bytes);
    meeting.waiting.add(block.running, place);
    if (meeting.waiting.count == std::popcount(mask)) {
        if (once) once(values.in, values.out);
        meeting.turn ^= 1;
        meeting.waiting.release(block.ready);
    }
    wait(block);
    return once ? values.out : values.in;
}

}  // namespace simt
