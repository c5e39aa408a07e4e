// Starting a grid of blocks, and the places where the threads of a block wait for each other.
#pragma once

#include "simt_copies.h"
#include "simt_memory.h"
#include "simt_types.h"

#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

inline constinit thread_local uint3 threadIdx{};
inline constinit thread_local uint3 blockIdx{};
inline constinit thread_local dim3 blockDim{1, 1, 1};
inline constinit thread_local dim3 gridDim{1, 1, 1};
inline constexpr int warpSize = 32;

namespace simt {

// ---- Settings of the calling OS thread ------------------------------------------------------------------------------
// The order in which blocks, the threads of a block and the waiting ones run: ascending, descending, or drawn by
// `seed`.
enum class Schedule { fifo, reversed, random };
inline constinit thread_local Schedule schedule = Schedule::fifo;
inline constinit thread_local unsigned seed = 1;

// Blocks, neighbours along y, that make a cluster in the launches of this OS thread. A cluster runs as one block would,
// with shared memory of its own for each block: __syncthreads() in it would wait for the whole cluster.
inline constinit thread_local int cluster_size = 1;

// ---- Launch ---------------------------------------------------------------------------------------------------------
// A kernel with its arguments.
struct Kernel {
    const char* name;
    void (*call)(const void* arguments);
    const void* arguments;
    int cluster = 1;  // blocks
};
void run_grid(const Kernel& kernel, dim3 grid, dim3 block, std::size_t shared_bytes);

// Refuses a pointer that no GPU could follow.
void check_pointer(const char* kernel, int index, const void* pointer);
template <class T>
void check_argument(const char* kernel, int index, const T& argument) {
    if constexpr (std::is_pointer_v<T>) check_pointer(kernel, index, argument);
}

// Runs the whole grid and returns when it is done. Throws templar::Error(device) when the launch is one that a GPU
// refuses, or a thread did what the head of simt.h lists.
template <class... Parameters>
void launch(const char* name, dim3 grid, dim3 block, std::size_t shared_bytes, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
    struct Call {
        void (*kernel)(Parameters...);
        std::tuple<Parameters...> arguments;
    };
    int index = 0;
    (check_argument(name, index++, arguments), ...);
    static_cast<void>(index);
    const Call call{kernel, {arguments...}};
    const auto run = [](const void* memory) {
        const Call& c = *static_cast<const Call*>(memory);
        std::apply(c.kernel, c.arguments);
    };
    run_grid({name, run, &call, cluster_size}, grid, block, shared_bytes);
}

// ---- For device functions: called by a running CUDA thread ----------------------------------------------------------
// Where a thread waits: in which function, called where in the source.
struct Place {
    const char* function;
    std::source_location where;
};
using Where = std::source_location;

// Ends the launch with an Error that names kernel, block and thread.
[[noreturn]] void fail_thread(const std::string& what);

// The running thread's position in its warp, its block's schedule.
int lane();
Schedule schedule_of_block();

// The block's shared memory. Fails when the launch gave less than `bytes`.
void* shared_memory(std::size_t bytes);

// The running thread's block in its cluster, and the shared memory of any of them.
int block_of_cluster();
void* shared_memory_of_block(int block);

// The running thread's copies. A thread has to wait for all of them before it returns.
PendingCopies& pending_copies();

// Waits until all threads of the block that have not returned are here. Result: how many came, and how many with
// `predicate`.
struct Arrivals {
    int threads, with_predicate;
};
Arrivals barrier(bool predicate, Place place);

// For instructions that wait for a change in memory (mbarrier): sleeps until another thread of the block calls wake()
// for it.
void wait_on(const void* memory, Place place);
void wake(const void* memory);

// Waits until all lanes named in `mask` are here, each bringing `bytes` bytes (at most max_lane_bytes). Returns what
// they brought: lane l's at l·bytes, those of lanes outside of the mask being 0xff. `once(in, out)`, if any, is called
// by the last to arrive and makes of it what is returned instead, at most 32·max_lane_bytes. Valid until the thread's
// next exchange with this mask.
inline constexpr std::size_t max_lane_bytes = 64;
using Once = void (*)(const void* in, void* out);
const void* exchange(unsigned mask, const void* mine, std::size_t bytes, Once once, Place place);

// For wrappers of PTX that work on a whole warp (mma, ldmatrix): every lane gets all 32 lanes' values.
template <class T>
const T* gather(unsigned mask, const T& mine, Where where = Where::current()) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= max_lane_bytes);
    return static_cast<const T*>(exchange(mask, &mine, sizeof(T), nullptr, {"gather", where}));
}

// The same, worked on once for the warp instead of by every lane: once(in, out), a lambda without captures, turns the
// 32 lanes' values into the 32 results.
template <class Out, class In, class Once32>
Out compute_once(unsigned mask, const In& mine, Once32, Where where = Where::current()) {
    static_assert(std::is_trivially_copyable_v<In> && sizeof(In) <= max_lane_bytes);
    static_assert(std::is_trivially_copyable_v<Out> && sizeof(Out) <= max_lane_bytes);
    const Once once = [](const void* in, void* out) { Once32{}(static_cast<const In*>(in), static_cast<Out*>(out)); };
    return static_cast<const Out*>(exchange(mask, &mine, sizeof(In), once, {"compute_once", where}))[lane()];
}

}  // namespace simt
