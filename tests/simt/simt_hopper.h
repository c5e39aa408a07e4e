// Hopper's asynchronous instructions in C++: what kernels/cuda/wgmma.h says of each.
//
// The hardware carries out copies and products at any time between their start and the wait for them. Here, under
// Schedule::reversed, copies happen at once and products in the wait: that finds a stage that is filled again while
// products still read it. Under the others it is the other way round: that finds a stage that is read before its
// copies were waited for.
#pragma once

#include "simt.h"

#include <array>
#include <cstring>
#include <deque>
#include <vector>

#define __cluster_dims__(...)

namespace templar::cuda {

inline bool on_hopper() { return true; }

struct TensorMap {
    const __nv_bfloat16* matrix;
    int64_t rows, columns;
    int box_rows;
};
inline TensorMap make_tensor_map(const __nv_bfloat16* matrix, int64_t rows, int64_t columns, int box_rows) {
    return {matrix, rows, columns, box_rows};
}

inline uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(static_cast<const char*>(pointer) - static_cast<const char*>(simt::shared_memory(0)));
}
// The 128-byte swizzle: bits 4-6 of an address in shared memory change with bits 7-9.
inline uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// A kernel with TEMPLAR_CLUSTER(1, size, 1).
template <class... Parameters, class... Arguments>
void launch_clusters(int size, Stream& stream, const char* name, dim3 grid, dim3 block, size_t shared_bytes,
                     void (*kernel)(Parameters...), Arguments&&... arguments) {
    struct Restore {
        ~Restore() { simt::cluster_size = 1; }
    } restore;
    simt::cluster_size = size;
    launch(stream, name, grid, block, shared_bytes, kernel, std::forward<Arguments>(arguments)...);
}

inline int block_of_cluster() { return simt::block_of_cluster(); }
// The same place in the shared memory of another block of the cluster.
template <class T>
T* in_block(T* mine, int block) {
    return reinterpret_cast<T*>(static_cast<char*>(simt::shared_memory_of_block(block)) + shared_address(mine));
}
inline void cluster_barrier(simt::Where where = simt::Where::current()) {
    simt::barrier(false, {"cluster_barrier", where});
}

// ---- mbarrier -----------------------------------------------------------------------------------------------------

struct Mbarrier {
    int expected, pending, parity;
    int64_t bytes;

    void end_phase_if_complete() {
        if (pending != 0 || bytes != 0) return;
        pending = expected;
        parity ^= 1;
        simt::wake(this);
    }
};
inline void init(Mbarrier& barrier, int arrivals) { barrier = {arrivals, arrivals, 0, 0}; }
inline void barriers_ready() {}
inline void arrive_expecting(Mbarrier& barrier, int bytes) {
    barrier.bytes += bytes;
    --barrier.pending;
    barrier.end_phase_if_complete();
}
inline void arrive(Mbarrier& barrier, int block) {
    Mbarrier& there = *in_block(&barrier, block);
    if (--there.pending < 0) simt::fail_thread("arrive: more threads than the mbarrier expects");
    there.end_phase_if_complete();
}

// ---- TMA ----------------------------------------------------------------------------------------------------------

struct BoxCopy {
    char* shared;    // the receiving block's
    uint32_t first;  // where in it
    TensorMap map;
    int row, column;
    Mbarrier* arrived;

    void run() const {
        for (int r = 0; r < map.box_rows; ++r)
            for (int c = 0; c < 64; ++c) {
                __nv_bfloat16 value = 0.0f;
                if (row + r < map.rows && column + c < map.columns)
                    value = map.matrix[(row + r) * map.columns + column + c];
                std::memcpy(shared + swizzled(first + r * 128 + c * 2), &value, sizeof value);
            }
        arrived->bytes -= map.box_rows * 128;
        arrived->end_phase_if_complete();
    }
};
inline std::vector<BoxCopy>& late_copies() {
    static thread_local std::vector<BoxCopy> of_block;
    return of_block;
}

inline void load_box(void* to, const TensorMap& map, int row, int column, Mbarrier& arrived, uint16_t blocks) {
    if (shared_address(to) % 1024 != 0) simt::fail_thread("load_box: not a multiple of 1024 bytes");
    for (int block = 0; block < 16; ++block) {
        if ((blocks >> block & 1) == 0) continue;
        char* const shared = static_cast<char*>(simt::shared_memory_of_block(block));
        const BoxCopy copy{shared, shared_address(to), map, row, column, in_block(&arrived, block)};
        if (simt::schedule_of_block() == simt::Schedule::reversed) {
            copy.run();
        } else {
            late_copies().push_back(copy);
            simt::wake(copy.arrived);
        }
    }
}
inline void load_box(void* to, const TensorMap& map, int row, int column, Mbarrier& arrived) {
    load_box(to, map, row, column, arrived, static_cast<uint16_t>(1 << block_of_cluster()));
}

inline void wait(Mbarrier& barrier, int parity, simt::Where where = simt::Where::current()) {
    while (barrier.parity == parity) {
        std::vector<BoxCopy> here;
        std::erase_if(late_copies(), [&](const BoxCopy& copy) {
            if (copy.arrived == &barrier) here.push_back(copy);
            return copy.arrived == &barrier;
        });
        for (const BoxCopy& copy : here) copy.run();
        if (barrier.parity == parity) simt::wait_on(&barrier, {"wait", where});
    }
}

// ---- wgmma --------------------------------------------------------------------------------------------------------

// One thread's part of a product of 64 x 16 by (256 x 16)ᵀ.
struct Product {
    float* d;
    // Descriptors: address, leading and stride offset in units of 16 bytes at bits 0, 16 and 32; swizzle at 62.
    uint64_t a, b;
    bool accumulate;

    // Row r of the operand, 16 numbers.
    static std::array<float, 16> row(uint64_t descriptor, int r) {
        const uint32_t first = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
        if (descriptor >> 62 != 1 || first % 1024 >= 128) simt::fail_thread("wgmma: a descriptor of another layout");
        const char* const shared = static_cast<const char*>(simt::shared_memory(0));
        std::array<float, 16> values;
        for (int k = 0; k < 16; ++k) {
            __nv_bfloat16 value;
            std::memcpy(&value, shared + swizzled(first + r / 8 * stride + r % 8 * 128 + k * 2), sizeof value);
            values[k] = value;
        }
        return values;
    }
    void run() const {
        const int thread = static_cast<int>(threadIdx.x) % 128, lane = thread % 32;
        const int m = thread / 32 * 16 + lane / 4, n = lane % 4 * 2;
        const std::array<float, 16> rows[2] = {row(a, m), row(a, m + 8)};
        for (int column = 0; column < 64; ++column) {
            const std::array<float, 16> of_b = row(b, column / 2 * 8 + n + column % 2);
            for (int half = 0; half < 2; ++half) {
                float& result = d[column / 2 * 4 + half * 2 + column % 2];
                float sum = accumulate ? result : 0.0f;
                for (int k = 0; k < 16; ++k) sum += rows[half][k] * of_b[k];
                result = sum;
            }
        }
    }
};
struct Products {
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
};
inline Products& products_of_thread() {
    static thread_local std::array<Products, 1024> of_cluster;
    return of_cluster[block_of_cluster() * blockDim.x + threadIdx.x];
}

// ".sync.aligned": no lane goes on before the whole warp has come.
inline void whole_warp(simt::Where where) { simt::gather(~0u, true, where); }

inline void order_registers(simt::Where where = simt::Where::current()) { whole_warp(where); }
inline void multiply_add(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
    const Product product{d, a, b, accumulate};
    if (simt::schedule_of_block() == simt::Schedule::reversed) products_of_thread().open.push_back(product);
    else product.run();
}
inline void commit_products(simt::Where where = simt::Where::current()) {
    whole_warp(where);
    Products& products = products_of_thread();
    products.groups.push_back(std::move(products.open));
    products.open.clear();
}
template <size_t pending>
void wait_for_products(simt::Where where = simt::Where::current()) {
    whole_warp(where);
    Products& products = products_of_thread();
    while (products.groups.size() > pending) {
        for (const Product& product : products.groups.front()) product.run();
        products.groups.pop_front();
    }
    whole_warp(where);
}
inline void use_results(float (&)[128]) {}

template <int count>
void shrink_registers() {}
template <int count>
void grow_registers() {}

}  // namespace templar::cuda
