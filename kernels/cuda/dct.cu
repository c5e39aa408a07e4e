// coef (chunks, size) = the orthonormal two-dimensional DCT-II of each chunk of x (rows, cols), and its inverse.
// Reads and writes each element once: 8 bytes an element. demo_compress has its own use of the transforms in dct.h;
// these operations serve tests and studies, so that the inverse takes AnyDct for all sizes.
#include "kernels/cuda/dct.h"

#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

#include <algorithm>

namespace templar::cuda {

namespace {

constexpr uint32_t most_blocks = 4096;  // a block takes more than one chunk in larger tensors

template <class Dct>
struct DctStorage {
    ChunkValues chunk;
    typename Dct::Shared dct;
};

template <class Dct>
__global__ void __launch_bounds__(dct_threads) encode_chunks(Dct dct, float* coef, const float* x, ChunkMap map) {
    auto& storage = shared_storage<DctStorage<Dct>>();
    dct.prepare(storage.dct);
    for (int64_t chunk = blockIdx.x; chunk < map.chunks; chunk += gridDim.x) {
        dct.encode(storage.chunk, storage.dct, x + map.corner(static_cast<uint32_t>(chunk)), map.cols);
        for (int i = static_cast<int>(threadIdx.x); i < map.size; i += dct_threads)
            coef[chunk * map.size + i] = __fmul_rn(storage.chunk.values[slot(i)], Dct::scale);
        __syncthreads();
    }
}

__global__ void __launch_bounds__(dct_threads) decode_chunks(AnyDct dct, float* x, const float* coef, ChunkMap map) {
    auto& storage = shared_storage<DctStorage<AnyDct>>();
    dct.prepare_decode(storage.dct);
    for (int64_t chunk = blockIdx.x; chunk < map.chunks; chunk += gridDim.x)
        dct.decode(x + map.corner(static_cast<uint32_t>(chunk)), map.cols, storage.chunk, storage.dct,
                   coef + chunk * map.size);
}

void check_arguments(const char* op, Tensor coef, Tensor x, const ChunkGrid& grid) {
    require_type(op, DType::f32, {coef, x});
    require(op, coef.numel() == grid.rows * grid.cols && x.numel() == coef.numel(), "tensors of the grid's size");
}

}  // namespace

void dct_encode(Stream& stream, Tensor coef, Tensor x, ChunkGrid grid) {
    check_arguments("dct_encode", coef, x, grid);
    const ChunkMap map = chunk_map("dct_encode", grid);
    if (map.chunks == 0) return;
    const dim3 blocks(std::min(map.chunks, most_blocks)), block(dct_threads);
    if (takes_fast_dct(grid))
        launch(stream, "dct_encode", blocks, block, sizeof(DctStorage<FastDct>), encode_chunks<FastDct>, FastDct{},
               coef.f32(), x.f32(), map);
    else
        launch(stream, "dct_encode", blocks, block, sizeof(DctStorage<AnyDct>), encode_chunks<AnyDct>, any_dct(grid),
               coef.f32(), x.f32(), map);
}

void dct_decode(Stream& stream, Tensor x, Tensor coef, ChunkGrid grid) {
    check_arguments("dct_decode", coef, x, grid);
    const ChunkMap map = chunk_map("dct_decode", grid);
    if (map.chunks == 0) return;
    launch(stream, "dct_decode", dim3(std::min(map.chunks, most_blocks)), dim3(dct_threads), sizeof(DctStorage<AnyDct>),
           decode_chunks, any_dct(grid), x.f32(), coef.f32(), map);
}

}  // namespace templar::cuda
