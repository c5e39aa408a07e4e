#include "kernels/cpu/isa/dct.h"
#include "kernels/cpu/isa/demo_compress.h"

namespace templar::TEMPLAR_ISA {

namespace {

// Calls transform(dct, chunk's coefficients, chunk's corner in x) for every chunk.
template <class Transform>
void for_each_chunk(Stream& stream, float* coef, float* x, ChunkGrid grid, ChunkDct::Direction direction,
                    Transform transform) {
    const int64_t chunks = grid.chunks(), across = grid.cols / grid.edge_cols;
    const int threads = chunks < stream.threads ? static_cast<int>(chunks) : stream.threads;
#pragma omp parallel num_threads(threads)
    {
        ChunkDct dct(grid.edge_rows, grid.edge_cols, direction);
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
            transform(dct, coef + chunk * grid.chunk_size(),
                      x + chunk / across * grid.edge_rows * grid.cols + chunk % across * grid.edge_cols);
    }
}

void dct_encode(Stream& stream, Tensor coef, Tensor x, ChunkGrid grid) {
    for_each_chunk(stream, coef.f32(), x.f32(), grid, ChunkDct::Direction::encode,
                   [&](ChunkDct& dct, float* out, const float* in) { dct.encode(out, in, grid.cols); });
}

void dct_decode(Stream& stream, Tensor x, Tensor coef, ChunkGrid grid) {
    for_each_chunk(stream, coef.f32(), x.f32(), grid, ChunkDct::Direction::decode,
                   [&](ChunkDct& dct, const float* in, float* out) { dct.decode(out, grid.cols, in); });
}

}  // namespace

void fill_compress_ops(Ops& ops) {
    ops.dct_encode = dct_encode;
    ops.dct_decode = dct_decode;
    ops.demo_compress = demo_compress;
}

}  // namespace templar::TEMPLAR_ISA
