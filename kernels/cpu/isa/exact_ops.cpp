// The operations that change, or preview a change of, global weights (docs/protocol.md §6). Every instruction
// set, every number of threads and every order of the peers gives the same bits: sums over peers are
// integers, sums over coefficients are chains of fused multiply-adds in a stated order, and vectors run only
// across independent chains.
//
// Two exact transforms per chunk, both from +0 (C coefficients, B = dct_basis(edge)):
//   T[u][j] = fma chain over v ascending of C[u][v]·B[j][v]
//   X[i][j] = fma chain over u ascending of B[i][u]·T[u][j]
//
// Zero coefficients, and the rows u of T that have none, are left out. No bit changes: a zero term adds ±0,
// which leaves a non-zero sum alone and gives +0 when added to +0, and a partial sum is never -0. It starts
// at +0; a sum that cancels is +0; and none underflows to -0: non-zero |C| >= 2^-48 (one unit of 2^-40 shared
// by at most 256 peers) and non-zero |B| > 2^-8 have 24 significant bits, so that T holds multiples of 2^-102
// and X multiples of 2^-133, all of them representable. (The last are denormal: no build may flush denormals
// to zero.)
#include "kernels/cpu/isa/rounded.h"
#include "kernels/cpu/isa/table.h"
#include "kernels/dct_basis.h"

#include <cstring>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

namespace templar::TEMPLAR_ISA {

namespace {

// Below these, waking other threads takes longer than the work.
constexpr int64_t parallel_values = 1 << 16;    // coded values to read
constexpr int64_t parallel_elements = 1 << 15;  // weights to move

constexpr int edge = max_chunk_edge;  // row stride of the scratch matrices below
constexpr int max_peers = 256;        // what the exact sums have room for

#if defined(__AVX512F__)
using Vector = __m512;
constexpr int lanes = 16, tile_vectors = 4;  // 4 rows × 4 vectors of sums: 16 of 32 registers
Vector load(const float* p) {
    return _mm512_load_ps(p);
}
void store(float* p, Vector v) {
    _mm512_store_ps(p, v);
}
Vector broadcast(float x) {
    return _mm512_set1_ps(x);
}
Vector fma(Vector a, Vector b, Vector c) {
    return _mm512_fmadd_ps(a, b, c);
}
#elif defined(__FMA__)
using Vector = __m256;
constexpr int lanes = 8, tile_vectors = 2;  // 4 rows × 2 vectors of sums: 8 of 16 registers
Vector load(const float* p) {
    return _mm256_load_ps(p);
}
void store(float* p, Vector v) {
    _mm256_store_ps(p, v);
}
Vector broadcast(float x) {
    return _mm256_set1_ps(x);
}
Vector fma(Vector a, Vector b, Vector c) {
    return _mm256_fmadd_ps(a, b, c);
}
#else
// Without the instruction fmaf is a call of libm: exact all the same, and slow.
using Vector = float;
constexpr int lanes = 1, tile_vectors = 4;
Vector load(const float* p) {
    return *p;
}
void store(float* p, Vector v) {
    *p = v;
}
Vector broadcast(float x) {
    return x;
}
Vector fma(Vector a, Vector b, Vector c) {
    return __builtin_fmaf(a, b, c);
}
#endif

// c of the kept value i, counted over all chunks.
int32_t signed_code(const SparseIn& peer, int64_t i) {
    const int bits = peer.format.code_bits;
    const uint32_t packed = bits == 8 ? peer.codes[i] : packed_field(peer.codes, i, bits);
    const int32_t magnitude = static_cast<int32_t>(packed | 1);  // q << 1 | sign -> 2q + 1
    return packed & 1 ? -magnitude : magnitude;
}

// The kept values of one chunk as visit(index, c·(8 + m), x) in ascending order of the index; |c·(8 + m)| <
// 2^12. Nothing for a chunk with the reserved scale byte 0.
template <class Visit>
void visit_chunk(const SparseIn& peer, int64_t chunk, Visit visit) {
    const int scale = peer.scales[chunk];
    if (scale == 0) return;
    const CodeFormat format = peer.format;
    const int32_t mantissa = 8 + (scale & 7);
    for (int64_t i = chunk * format.k; i < (chunk + 1) * format.k; ++i) {
        const auto index = static_cast<int32_t>(packed_field(peer.indices, i, format.index_bits));
        visit(index, signed_code(peer, i) * mantissa, scale >> 3);
    }
}

double power_of_two(int x) {
    return static_cast<double>(uint64_t{1} << x);
}

struct Coefficient {
    int32_t index;  // u·edge_cols + v
    float value;
};

// Scratch of one thread.
class InverseDct {
  public:
    explicit InverseDct(const ChunkGrid& grid)
        : rows_(grid.edge_rows), cols_(grid.edge_cols), row_basis_(dct_basis(grid.edge_rows)) {
        const float* basis = dct_basis(cols_);
        std::memset(col_basis_, 0, sizeof(float) * cols_ * edge);
        for (int j = 0; j < cols_; ++j)
            for (int v = 0; v < cols_; ++v) col_basis_[v * edge + j] = basis[j * cols_ + v];
    }

    // From coefficients in ascending order of the index; every index not listed is zero.
    void run(const Coefficient* coefficients, int count) {
        int active = 0;  // rows of T that have a coefficient; T holds just these, active_ their u
        for (int n = 0; n < count; ++active) {
            const int u = coefficients[n].index / cols_, end = (u + 1) * cols_, first = n;
            while (n < count && coefficients[n].index < end) ++n;
            active_[active] = u;
            transform_row(t_ + active * edge, coefficients + first, n - first, u * cols_);
        }
        for (int i = 0; i < rows_; i += 4)
            for (int j = 0; j < cols_; j += tile_vectors * lanes) transform_tile(i, j, active);
    }

    const float* row(int i) const { return x_ + i * edge; }

  private:
    // One row of T, 4 vectors of columns at a time.
    void transform_row(float* t, const Coefficient* coefficients, int count, int first_index) {
        for (int j = 0; j < cols_; j += 4 * lanes) {
            Vector sum[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
            for (int n = 0; n < count; ++n) {
                const float* basis = col_basis_ + (coefficients[n].index - first_index) * edge + j;
                const Vector c = broadcast(coefficients[n].value);
                for (int q = 0; q < 4; ++q) sum[q] = fma(c, load(basis + q * lanes), sum[q]);
            }
            for (int q = 0; q < 4; ++q) store(t + j + q * lanes, sum[q]);
        }
    }

    // Rows i … i + 3 of X; those past the last are copies of it that nobody reads.
    void transform_tile(int i, int j, int active) {
        const float* basis[4];
        for (int r = 0; r < 4; ++r) basis[r] = row_basis_ + (i + r < rows_ ? i + r : rows_ - 1) * rows_;
        Vector sum[4][tile_vectors];
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < tile_vectors; ++q) sum[r][q] = broadcast(0);
        for (int n = 0; n < active; ++n) {
            Vector t[tile_vectors];
            for (int q = 0; q < tile_vectors; ++q) t[q] = load(t_ + n * edge + j + q * lanes);
            for (int r = 0; r < 4; ++r) {
                const Vector b = broadcast(basis[r][active_[n]]);
                for (int q = 0; q < tile_vectors; ++q) sum[r][q] = fma(b, t[q], sum[r][q]);
            }
        }
        for (int r = 0; r < 4; ++r)
            for (int q = 0; q < tile_vectors; ++q) store(x_ + (i + r) * edge + j + q * lanes, sum[r][q]);
    }

    int rows_, cols_;
    const float* row_basis_;  // (rows, rows): position, frequency
    alignas(
        64) float col_basis_[edge * edge];  // (cols, edge): frequency, position; zero past the last position
    alignas(64) float t_[edge * edge];
    alignas(64) float x_[edge * edge];
    int active_[edge];
};

// Σ_p f and the number of senders of each position of a chunk. |f| <= 2^40 because |n·r| <= 1: 256 peers stay
// below 2^49.
class PeerSums {
  public:
    explicit PeerSums(int32_t chunk_size) {
        std::memset(sums_, 0, sizeof sums_[0] * chunk_size);
        std::memset(senders_, 0, sizeof senders_[0] * chunk_size);
        std::memset(touched_, 0, sizeof touched_);
    }

    void add(const SparseIn& peer, int64_t chunk, double inverse_norm) {
        visit_chunk(peer, chunk, [&](int32_t index, int32_t value, int x) {
            // llrint(n·r·2^40): powers of two are exact, so that only the product with r and llrint round.
            const double scaled = value * (inverse_norm * (power_of_two(x) * 0x1p40));
            sums_[index] += __builtin_llrint(scaled);
            ++senders_[index];
            touched_[index / 64] |= uint64_t{1} << index % 64;
        });
    }

    // The means of all positions that anyone sent, ascending; leaves the sums empty.
    int take(Coefficient* out) {
        int count = 0;
        for (int word = 0; word < edge; ++word)
            for (uint64_t bits = touched_[word]; bits != 0; bits &= bits - 1) {
                const int32_t index = word * 64 + __builtin_ctzll(bits);
                const double mean = static_cast<double>(sums_[index]) / (senders_[index] * 0x1p40);
                out[count++] = {index, static_cast<float>(mean)};
                sums_[index] = 0;
                senders_[index] = 0;
            }
        std::memset(touched_, 0, sizeof touched_);
        return count;
    }

  private:
    int64_t sums_[edge * edge];
    uint16_t senders_[edge * edge];
    uint64_t touched_[edge];  // one bit per position
};

// One peer's values as coefficients, without the tensor's base exponent: a positive factor moves no sign.
// Exact: an integer of at most 12 significant bits times 2^x.
int single_peer(Coefficient* out, const SparseIn& peer, int64_t chunk) {
    int count = 0;
    visit_chunk(peer, chunk, [&](int32_t index, int32_t value, int x) {
        out[count++] = {index, static_cast<float>(value * power_of_two(x))};
    });
    return count;
}

// First element of a chunk in its tensor.
int64_t chunk_origin(const ChunkGrid& grid, int64_t chunk) {
    const int64_t per_row = grid.cols / grid.edge_cols;
    return chunk / per_row * grid.edge_rows * grid.cols + chunk % per_row * grid.edge_cols;
}

float sign(float x) {
    return static_cast<float>(x > 0) - static_cast<float>(x < 0);
}

// N² of one peer's tensor: the squared L2 norm of the decoded values in units of (2^X/2)².
double square_sum(const Stream& stream, const SparseIn& peer, const ChunkGrid& grid) {
    const int64_t chunks = grid.chunks();
    const CodeFormat format = peer.format;
    int64_t total[32] = {};  // Σ (c·(8 + m))² of each exponent x
#pragma omp parallel num_threads(stream.threads) if (chunks * format.k > parallel_values)
    {
        int64_t mine[32] = {};
#pragma omp for schedule(static) nowait
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int scale = peer.scales[chunk], mantissa = 8 + (scale & 7);
            if (scale == 0) continue;
            int64_t squares = 0;
            for (int64_t i = chunk * format.k; i < (chunk + 1) * format.k; ++i) {
                const int64_t c = signed_code(peer, i);
                squares += c * c;
            }
            mine[scale >> 3] += squares * mantissa * mantissa;
        }
#pragma omp critical(templar_square_sum)
        for (int x = 0; x < 32; ++x) total[x] += mine[x];
    }
    double sum = 0;
    for (int x = 31; x >= 0; --x) sum += static_cast<double>(total[x]) * power_of_two(2 * x);
    return sum;
}

void merge_apply(Stream& stream, Tensor theta, Tensor weights_out, ChunkGrid grid, std::span<const SparseIn> peers,
                 float keep, float eta) {
    const int64_t chunks = grid.chunks(), count = static_cast<int64_t>(peers.size());
    const SparseIn* const peer = peers.data();
    double inverse_norm[max_peers];
    for (int64_t p = 0; p < count; ++p) {
        const double square = square_sum(stream, peer[p], grid);
        inverse_norm[p] = square == 0 ? 0 : 1 / __builtin_sqrt(square);
    }
    float* const weights = theta.f32();
#pragma omp parallel num_threads(stream.threads) if (grid.rows * grid.cols > parallel_elements)
    {
        InverseDct inverse(grid);
        PeerSums sums(grid.chunk_size());
        Coefficient means[edge * edge];
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t origin = chunk_origin(grid, chunk);
            for (int64_t p = 0; p < count; ++p)
                if (inverse_norm[p] != 0) sums.add(peer[p], chunk, inverse_norm[p]);
            inverse.run(means, sums.take(means));
            for (int i = 0; i < grid.edge_rows; ++i) {
                const float* const x = inverse.row(i);
                float* const w = weights + origin + i * grid.cols;
                for (int j = 0; j < grid.edge_cols; ++j) w[j] = w[j] * keep - eta * sign(x[j]);
                if (weights_out) store_rounded(weights_out, origin + i * grid.cols, w, grid.edge_cols);
            }
        }
    }
}

void apply_candidate(Stream& stream, Tensor out, Tensor theta, ChunkGrid grid, SparseIn peer, float step) {
    const int64_t chunks = grid.chunks();
    const float* const weights = theta.f32();
#pragma omp parallel num_threads(stream.threads) if (grid.rows * grid.cols > parallel_elements)
    {
        InverseDct inverse(grid);
        Coefficient values[edge * edge];
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t origin = chunk_origin(grid, chunk);
            inverse.run(values, single_peer(values, peer, chunk));
            for (int i = 0; i < grid.edge_rows; ++i) {
                const float* const x = inverse.row(i);
                const float* const w = weights + origin + i * grid.cols;
                float moved[edge];
                for (int j = 0; j < grid.edge_cols; ++j) moved[j] = w[j] - step * sign(x[j]);
                store_rounded(out, origin + i * grid.cols, moved, grid.edge_cols);
            }
        }
    }
}

// Adds <grad, sign(x)> of one chunk to 16 sums; element (i, j) belongs to sum j mod 16.
void add_screen(double* sums, const float* grad, const InverseDct& inverse, const ChunkGrid& grid) {
    for (int i = 0; i < grid.edge_rows; ++i) {
        const float* const x = inverse.row(i);
        const float* const g = grad + i * grid.cols;
        for (int j0 = 0; j0 < grid.edge_cols; j0 += 16) {
            const int width = grid.edge_cols - j0 < 16 ? grid.edge_cols - j0 : 16;
            for (int l = 0; l < width; ++l) sums[l] += static_cast<double>(g[j0 + l] * sign(x[j0 + l]));
        }
    }
}

// Summed in an order that the grid alone fixes: chunks in up to 256 runs, in each run 16 sums, then all of
// them in turn.
double screen_one(const Stream& stream, const Tensor& grad, const ChunkGrid& grid, const SparseIn& peer) {
    constexpr int max_runs = 256;
    const int64_t chunks = grid.chunks();
    const int64_t runs = chunks < max_runs ? chunks : max_runs;
    double sums[max_runs][16] = {};
#pragma omp parallel num_threads(stream.threads) if (grid.rows * grid.cols > parallel_elements)
    {
        InverseDct inverse(grid);
        Coefficient values[edge * edge];
#pragma omp for schedule(static)
        for (int64_t run = 0; run < runs; ++run)
            for (int64_t chunk = chunks * run / runs; chunk < chunks * (run + 1) / runs; ++chunk) {
                const float* const first = grad.f32() + chunk_origin(grid, chunk);
                inverse.run(values, single_peer(values, peer, chunk));
                add_screen(sums[run], first, inverse, grid);
            }
    }
    double total = 0;
    for (int64_t run = 0; run < runs; ++run)
        for (int l = 0; l < 16; ++l) total += sums[run][l];
    return total;
}

void screen(Stream& stream, std::span<double> sums, Tensor grad, ChunkGrid grid, std::span<const SparseIn> peers) {
    for (size_t p = 0; p < peers.size(); ++p) sums[p] += screen_one(stream, grad, grid, peers[p]);
}

}  // namespace

void fill_exact_ops(Ops& ops) {
    ops.merge_apply = merge_apply;
    ops.apply_candidate = apply_candidate;
    ops.screen = screen;
}

}  // namespace templar::TEMPLAR_ISA
