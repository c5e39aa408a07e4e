// coef (chunks, size) = the orthonormal two-dimensional DCT-II of each chunk of x (rows, cols), and its inverse.
// Reads and writes each element once: 8 bytes an element. demo_compress has its own use of the transforms in dct.h; these
// operations serve tests and studies, so that the inverse takes AnyDct for all sizes.
#include "kernels/cuda/dct.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace templar::cuda {

namespace {

constexpr uint32_t most_blocks = 4096;  // a block takes more than one chunk in larger tensors

template <class Dct>
struct DctStorage {
    ChunkValues chunk;
    typename Dct::Shared dct;
};

template <class Dct>
__global__ void __launch_bounds__(chunk_threads) encode_chunks(Dct dct, float* coef, const float* x, ChunkMap map) {
    auto& storage = shared_storage<DctStorage<Dct>>();
    dct.prepare(storage.dct);
    for (int64_t chunk = blockIdx.x; chunk < map.chunks; chunk += gridDim.x) {
        dct.encode(storage.chunk, storage.dct, x + map.corner(static_cast<uint32_t>(chunk)), map.cols);
        for (int i = static_cast<int>(threadIdx.x); i < map.size; i += chunk_threads)
            coef[chunk * map.size + i] = __fmul_rn(storage.chunk.values[slot(i)], Dct::scale);
        __syncthreads();
    }
}

__global__ void __launch_bounds__(chunk_threads) decode_chunks(AnyDct dct, float* x, const float* coef, ChunkMap map) {
    auto& storage = shared_storage<DctStorage<AnyDct>>();
    dct.prepare_decode(storage.dct);
    for (int64_t chunk = blockIdx.x; chunk < map.chunks; chunk += gridDim.x)
        dct.decode(x + map.corner(static_cast<uint32_t>(chunk)), map.cols, storage.chunk, storage.dct, coef + chunk * map.size);
}

void check_arguments(const char* name, Tensor coef, Tensor x, const ChunkGrid& grid) {
    if (coef.dtype != DType::f32 || x.dtype != DType::f32 || coef.numel() != grid.rows * grid.cols || x.numel() != coef.numel())
        fail(ExitCode::internal, "{}: expected fp32 tensors of {} x {} elements, found {} {} and {} {}", name, grid.rows,
             grid.cols, x.numel(), name_of(x.dtype), coef.numel(), name_of(coef.dtype));
}

}  // namespace

DctBasis make_dct_basis(int n) {
    const float* first_row = dct_basis(n);  // position 0: the angles 0 … n - 1
    DctBasis basis;
    basis.n = n;
    basis.constant = first_row[0];
    for (int m = 1; m < n; ++m) basis.wave[m] = first_row[m];
    basis.wave[0] = static_cast<float>(std::sqrt(2.0 / n));
    basis.wave[n] = 0;
    return basis;
}

ChunkMap make_chunk_map(const char* operation, const ChunkGrid& grid) {
    const auto divides = [](int64_t edge, int64_t extent) { return edge >= 1 && edge <= max_chunk_edge && extent % edge == 0; };
    if (!divides(grid.edge_rows, grid.rows) || !divides(grid.edge_cols, grid.cols))
        fail(ExitCode::internal, "{}: chunks of {} x {} do not divide a tensor of {} x {}", operation, grid.edge_rows,
             grid.edge_cols, grid.rows, grid.cols);
    const int64_t chunks = grid.chunks(), across = grid.cols / grid.edge_cols;
    if (chunks > std::numeric_limits<uint32_t>::max())
        fail(ExitCode::internal, "{}: expected fewer than 2^32 chunks, found {}", operation, chunks);
    return {static_cast<uint32_t>(chunks), static_cast<uint32_t>(across), grid.edge_rows, grid.edge_cols, grid.chunk_size(),
            grid.cols};
}

AnyDct make_any_dct(const ChunkMap& map) { return {make_dct_basis(map.edge_rows), make_dct_basis(map.edge_cols)}; }

void dct_encode(Stream& stream, Tensor coef, Tensor x, ChunkGrid grid) {
    check_arguments("dct_encode", coef, x, grid);
    const ChunkMap map = make_chunk_map("dct_encode", grid);
    if (map.chunks == 0) return;
    const dim3 blocks(std::min(map.chunks, most_blocks)), block(chunk_threads);
    if (map.all_64())
        launch(stream, "dct_encode", blocks, block, sizeof(DctStorage<FastDct>), encode_chunks<FastDct>, FastDct{}, coef.f32(),
               x.f32(), map);
    else
        launch(stream, "dct_encode", blocks, block, sizeof(DctStorage<AnyDct>), encode_chunks<AnyDct>, make_any_dct(map),
               coef.f32(), x.f32(), map);
}

void dct_decode(Stream& stream, Tensor x, Tensor coef, ChunkGrid grid) {
    check_arguments("dct_decode", coef, x, grid);
    const ChunkMap map = make_chunk_map("dct_decode", grid);
    if (map.chunks == 0) return;
    launch(stream, "dct_decode", dim3(std::min(map.chunks, most_blocks)), dim3(chunk_threads), sizeof(DctStorage<AnyDct>),
           decode_chunks, make_any_dct(map), x.f32(), coef.f32(), map);
}

}  // namespace templar::cuda
