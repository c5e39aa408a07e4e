// Hopper's asynchronous machinery (sm_90a), one wrapper for each instruction: barriers in shared memory that count
// arrivals and bytes (mbarrier), copies of boxes of a matrix by a unit of its own (TMA), products of four warps that
// read both operands from shared memory (wgmma), blocks that share what they load (clusters). PTX ISA 8.0, chapters
// "mbarrier", "Data movement: cp.async.bulk.tensor" and "Asynchronous warpgroup-level matrix instructions".
//
// The C++ bodies for machines without a GPU are in tests/simt/simt_hopper.h.
#pragma once

#include "kernels/cuda/launch.h"

#include <cstdint>

#if defined(__CUDACC__)
#include <cuda.h>  // CUtensorMap
#else
#include "simt_hopper.h"
#endif

namespace templar::cuda {

// nvcc reads a .cu once for each GPU: code for Hopper has to vanish from the others' passes.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TEMPLAR_HOPPER 1
#define TEMPLAR_CLUSTER(x, y, z) __cluster_dims__(x, y, z)
#else
#define TEMPLAR_HOPPER 0
#define TEMPLAR_CLUSTER(x, y, z)
#endif

// ---- matrices for TMA ---------------------------------------------------------------------------------------------

// A row-major bf16 matrix, cut into boxes of `box_rows` x 64. What a box has outside of the matrix arrives as 0. In
// shared memory a box's row is 128 bytes, and its 16-byte piece p lies at p ^ (row % 8): wgmma's 128-byte swizzle.
inline constexpr int box_columns = 64;

#if defined(__CUDACC__)

// Whether the current device is one.
inline bool on_hopper() {
    int device = 0, generation = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&generation, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    return generation == 9;
}

using TensorMap = CUtensorMap;

// `matrix` and the bytes of a row are multiples of 16; box_rows is at most 256.
inline TensorMap make_tensor_map(const __nv_bfloat16* matrix, int64_t rows, int64_t columns, int box_rows) {
    // From the driver, at run time: nothing of this project links libcuda.
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
          "looking for cuTensorMapEncodeTiled");
    if (found != cudaDriverEntryPointSuccess)
        fail(ExitCode::device, "the GPU's driver has no cuTensorMapEncodeTiled; it comes with CUDA 12.0");
    const cuuint64_t extents[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
    const cuuint64_t row_bytes[] = {static_cast<cuuint64_t>(columns) * sizeof(__nv_bfloat16)};
    const cuuint32_t box[] = {box_columns, static_cast<cuuint32_t>(box_rows)}, steps[] = {1, 1};
    TensorMap map;
    const CUresult status = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
        &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<__nv_bfloat16*>(matrix), extents, row_bytes, box, steps,
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS)
        fail(ExitCode::internal, "cuTensorMapEncodeTiled refused {} x {} at {} (error {})", rows, columns,
             static_cast<const void*>(matrix), static_cast<int>(status));
    return map;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- clusters -----------------------------------------------------------------------------------------------------

// A kernel with TEMPLAR_CLUSTER(1, size, 1), which says it all to the GPU.
template <class... Parameters, class... Arguments>
void launch_clusters(int, Stream& stream, const char* name, dim3 grid, dim3 block, size_t shared_bytes,
                     void (*kernel)(Parameters...), Arguments&&... arguments) {
    launch(stream, name, grid, block, shared_bytes, kernel, std::forward<Arguments>(arguments)...);
}

__device__ __forceinline__ int block_of_cluster() {
    uint32_t rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
}
// All threads of all blocks of the cluster meet; what they wrote before is seen after.
__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// ---- mbarrier -----------------------------------------------------------------------------------------------------
// A phase ends when all expected threads have arrived and all expected bytes have been copied. Phases alternate in
// parity, from 0 on; waiting for the parity before the first (1) returns at once.

struct Mbarrier {
    uint64_t state;
};
// By one thread; then barriers_ready() by it, and a barrier of the block or of the cluster by all.
__device__ __forceinline__ void init(Mbarrier& barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barriers_ready() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives, and announces that copies will bring `bytes`.
__device__ __forceinline__ void arrive_expecting(Mbarrier& barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
                 : "memory");
}
// Arrives at the same barrier of block `block` of the cluster.
__device__ __forceinline__ void arrive(Mbarrier& barrier, int block) {
    asm volatile(
        "{\n.reg .b32 remote;\n"
        "mapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(&barrier)),
        "r"(block)
        : "memory");
}
__device__ __forceinline__ void wait(Mbarrier& barrier, int parity) {
    uint32_t done;
    do {
        asm volatile(
            "{\n.reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p;\n}"
            : "=r"(done)
            : "r"(shared_address(&barrier)), "r"(parity)
            : "memory");
    } while (!done);
}

// ---- TMA ----------------------------------------------------------------------------------------------------------

// The box whose first element is (row, column), to `to` (a multiple of 1024 bytes) of the blocks of the cluster whose
// bits are set in `blocks`; each one's `arrived` counts its bytes. One thread calls.
__device__ __forceinline__ void load_box(void* to, const TensorMap& map, int row, int column, Mbarrier& arrived,
                                         uint16_t blocks) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
        " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(to)),
        "l"(&map), "r"(column), "r"(row), "r"(shared_address(&arrived)), "h"(blocks)
        : "memory");
}
// The same for the calling block alone.
__device__ __forceinline__ void load_box(void* to, const TensorMap& map, int row, int column, Mbarrier& arrived) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
            shared_address(to)),
        "l"(&map), "r"(column), "r"(row), "r"(shared_address(&arrived))
        : "memory");
}

// ---- wgmma --------------------------------------------------------------------------------------------------------
// Threads 128g … 128g + 127 are a warpgroup and call all of these together.
//
//   order_registers();
//   multiply_add(d, …); …; commit_products();  a group of products is under way
//   wait_for_products<1>();                    all groups but the newest are done: their operands may go
//   wait_for_products<0>(); use_results(d);    d may be read
//
// Operands are described by 64 bits: operand(), at the end.

__device__ __forceinline__ void order_registers() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending>
__device__ __forceinline__ void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
// The compiler does not know that d changes until the wait: nothing that reads d may be moved before this.
__device__ __forceinline__ void use_results(float (&d)[128]) {
#pragma unroll
    for (int i = 0; i < 128; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// d (64, 256) = a (64, 16) · b (256, 16)ᵀ + (accumulate ? d : 0). Element i of thread t, with lane = t % 32: row
// 16·(t / 32) + lane / 4 + 8·(i / 2 % 2), column 8·(i / 4) + 2·(lane % 4) + i % 2.
__device__ __forceinline__ void multiply_add(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
#define TEMPLAR_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TEMPLAR_16(i) TEMPLAR_4(i), TEMPLAR_4(i + 4), TEMPLAR_4(i + 8), TEMPLAR_4(i + 12)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, p, 1, 1, 0, 0;\n}"
        : TEMPLAR_16(0), TEMPLAR_16(16), TEMPLAR_16(32), TEMPLAR_16(48), TEMPLAR_16(64), TEMPLAR_16(80), TEMPLAR_16(96),
          TEMPLAR_16(112)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate))
        : "memory");
#undef TEMPLAR_16
#undef TEMPLAR_4
}

// ---- registers ----------------------------------------------------------------------------------------------------
// A warpgroup gives back or takes registers, a multiple of 8 for each thread, of those its block was started with.
template <int count>
__device__ __forceinline__ void shrink_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void grow_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

#endif

// ---- operands of wgmma --------------------------------------------------------------------------------------------
// Of a tile of 128-byte rows in the swizzle above, at a multiple of 1024 bytes plus 32 bytes for each 16 columns: the
// address and the 1024 bytes from 8 rows to the next 8, in units of 16; bits 62-63: 128-byte swizzle. The leading
// offset (1) is not used in this layout.
__device__ __forceinline__ uint64_t operand(const void* tile) {
    return uint64_t{shared_address(tile) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
// The operand 16 columns further on, of the 64 in a tile.
__device__ __forceinline__ uint64_t next_columns(uint64_t operand, int sixteens) { return operand + 2 * sixteens; }

}  // namespace templar::cuda
