// The tensor core wrappers (kernels/cuda/mma.h, memory.h, tile.h) against plain products of matrices.
#include "base/error.h"
#include "kernels/cuda/tile.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

using namespace templar::cuda;

namespace {

// Small integers: every product and sum is exact in bf16 and fp32, so results are compared exactly.
template <class T>
std::vector<T> integers(int count, unsigned seed) {
    std::vector<T> values(count);
    for (T& value : values) {
        seed = seed * 1664525u + 1013904223u;
        value = T(static_cast<float>(static_cast<int>(seed >> 28) - 8));
    }
    return values;
}

template <class F>
void in_three_schedules(F run) {
    for (auto schedule : {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random}) {
        simt::schedule = schedule;
        run();
    }
    simt::schedule = simt::Schedule::fifo;
}

// ---- one instruction, with fragments filled as the PTX manual numbers them ------------------------------------------

enum class Form { instruction, shuffles };

template <class T, Form form>
void one_product(float* d, const T* a, const T* b) {
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    FragmentA<T> of_a;
    FragmentB<T> of_b;
    // The manual gives a lane elements a0 … a7 and b0 … b3.
    T as[8], bs[4];
    for (int i = 0; i < 8; ++i) {
        const int row = i == 0 || i == 1 || i == 4 || i == 5 ? g : g + 8;
        const int column = t * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        as[i] = a[row * 16 + column];
    }
    for (int i = 0; i < 4; ++i) bs[i] = b[(t * 2 + (i & 1) + (i >= 2 ? 8 : 0)) * 8 + g];
    static_assert(sizeof of_a == sizeof as && sizeof of_b == sizeof bs);
    std::memcpy(&of_a, as, sizeof as);
    std::memcpy(&of_b, bs, sizeof bs);
    Accumulator sum{{1, 2, 3, 4}};
    if constexpr (form == Form::instruction)
        mma(sum, of_a, of_b);
    else
        mma_by_shuffles(sum, of_a, of_b);
    for (int i = 0; i < 4; ++i) d[(i < 2 ? g : g + 8) * 8 + t * 2 + (i & 1)] = sum.x[i] - static_cast<float>(i + 1);
}

template <class T, Form form>
void check_one_product() {
    const auto a = integers<T>(256, 1), b = integers<T>(128, 2);
    in_three_schedules([&] {
        std::vector<float> d(128);
        simt::launch("one_product", 1, 32, 0, one_product<T, form>, d.data(), a.data(), b.data());
        for (int m = 0; m < 16; ++m)
            for (int n = 0; n < 8; ++n) {
                float sum = 0;
                for (int k = 0; k < 16; ++k) sum += float(a[m * 16 + k]) * float(b[k * 8 + n]);
                CHECK(d[m * 8 + n] == sum);
            }
    });
}

// ---- a block's product of tiles -------------------------------------------------------------------------------------

constexpr int size = 32, warps = 2;  // (32, depth)·(depth, 32): a warp has 16 rows

template <class T, bool transpose_a, bool transpose_b, int depth>
struct Storage {
    SharedTile<T, transpose_a ? depth : size, transpose_a ? size : depth> a;
    SharedTile<T, transpose_b ? size : depth, transpose_b ? depth : size> b;
    SharedTile<T, size, size> result;
};

// c (32, columns) = op(a)·op(b); the tiles' last row and the columns from `valid` on are not read.
template <class T, bool transpose_a, bool transpose_b, int depth>
void tile_product(GlobalRows<T> c, GlobalRows<const T> a, GlobalRows<const T> b) {
    auto& shared = shared_storage<Storage<T, transpose_a, transpose_b, depth>>();
    load_tile<warps * 32>(shared.a, a);
    commit_copies();
    load_tile<warps * 32>(shared.b, b);
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    const int row = static_cast<int>(threadIdx.x) / 32 * 16;
    Accumulator sum[1][size / 8];
    clear(sum);
    multiply<transpose_a, transpose_b, depth>(sum, shared.a, row, shared.b, 0);
    store_part(shared.result, row, 0, sum, 2.0f);
    __syncthreads();
    store_tile<warps * 32>(c, shared.result);
}

template <class T, bool transpose_a, bool transpose_b, int depth>
void check_tile_product(bool aligned) {
    using S = Storage<T, transpose_a, transpose_b, depth>;
    using A = decltype(S::a);
    using B = decltype(S::b);
    const int missing = aligned ? 8 : 3, stride_more = aligned ? 8 : 1;
    const int a_stride = A::columns + stride_more, b_stride = B::columns + stride_more;
    const auto a = integers<T>(A::rows * a_stride, 3), b = integers<T>(B::rows * b_stride, 4);
    const GlobalRows<const T> of_a{a.data(), a_stride, A::rows - 1, A::columns - missing, aligned};
    const GlobalRows<const T> of_b{b.data(), b_stride, B::rows - 1, B::columns - missing, aligned};
    const auto at = [](const GlobalRows<const T>& rows, int row, int column) {
        return row < rows.rows && column < rows.columns ? float(rows.first[row * rows.stride + column]) : 0.0f;
    };
    in_three_schedules([&] {
        std::vector<T> c(size * size, T(-1.0f));
        simt::launch("tile_product", 1, warps * 32, sizeof(S), tile_product<T, transpose_a, transpose_b, depth>,
                     GlobalRows<T>{c.data(), size, size - 1, size - missing, aligned}, of_a, of_b);
        int wrong = 0;
        for (int m = 0; m < size; ++m)
            for (int n = 0; n < size; ++n) {
                float sum = 0;
                for (int k = 0; k < depth; ++k)
                    sum += (transpose_a ? at(of_a, k, m) : at(of_a, m, k)) *
                           (transpose_b ? at(of_b, n, k) : at(of_b, k, n));
                const T expected = m < size - 1 && n < size - missing ? T(2 * sum) : T(-1.0f);
                wrong += float(c[m * size + n]) != float(expected);
            }
        CHECK(wrong == 0);
    });
}

template <class T, int depth>
void check_tile_products() {
    for (bool aligned : {true, false}) {
        check_tile_product<T, false, false, depth>(aligned);
        check_tile_product<T, false, true, depth>(aligned);
        check_tile_product<T, true, false, depth>(aligned);
        check_tile_product<T, true, true, depth>(aligned);
    }
}

// Eight neighbouring rows of a column of chunks, and eight chunks of a row, fill every bank once.
template <class Tile>
void check_banks() {
    const auto tile = std::make_unique<Tile>();
    std::vector<int> taken(Tile::rows * Tile::chunks);
    for (int row = 0; row < Tile::rows; ++row)
        for (int c = 0; c < Tile::chunks; ++c)
            ++taken[static_cast<std::size_t>(tile->at(row, c * Tile::chunk) - tile->values) / Tile::chunk];
    for (int times : taken) CHECK(times == 1);
    for (int row = 0; row < Tile::rows; row += 8)
        for (int c = 0; c < Tile::chunks; ++c) {
            unsigned banks = 0;
            for (int r = row; r < row + 8; ++r)
                banks |= 1u << (tile->at(r, c * Tile::chunk) - tile->values) * sizeof(tile->values[0]) / 16 % 8;
            CHECK(banks == 0xffu);
        }
}

// ---- planted bugs ---------------------------------------------------------------------------------------------------

enum class Bug { none, no_wait, copied_over_too_early, unfinished };

// Each warp reads what the other one copied; a second copy follows into the same place.
void exchange_warps(float* to, const float* from, Bug bug) {
    auto& tile = shared_storage<SharedTile<float, 2, 128>>();
    const int mine = static_cast<int>(threadIdx.x) * 4, other = mine ^ 128;
    copy_async_16(tile.values + mine, from + mine);
    commit_copies();
    if (bug != Bug::no_wait) wait_for_copies<0>();
    __syncthreads();
    if (bug == Bug::copied_over_too_early) copy_async_16(tile.values + mine, from + mine, false);
    const float seen = tile.values[other];
    __syncthreads();
    if (bug != Bug::copied_over_too_early) copy_async_16(tile.values + mine, from + mine, false);
    commit_copies();
    if (bug != Bug::unfinished) wait_for_copies<0>();
    __syncthreads();
    to[threadIdx.x] = seen + tile.values[other];
}

bool finds(Bug bug) {
    bool wrong = false;
    std::vector<float> from(256);
    for (int i = 0; i < 256; ++i) from[i] = static_cast<float>(i);
    in_three_schedules([&] {
        std::vector<float> to(64);
        try {
            simt::launch("exchange_warps", 1, 64, 1024, exchange_warps, to.data(), from.data(), bug);
        } catch (const templar::Error&) {
            wrong = true;
        }
        for (int i = 0; i < 64; ++i) wrong = wrong || to[i] != static_cast<float>((i * 4) ^ 128);
    });
    return wrong;
}

}  // namespace

TEST_CASE("the emulator finds copies that nobody waited for") {
    CHECK_FALSE(finds(Bug::none));
    CHECK(finds(Bug::no_wait));
    CHECK(finds(Bug::copied_over_too_early));
    CHECK(finds(Bug::unfinished));
}

TEST_CASE("mma multiplies fragments in the documented layout") {
    check_one_product<__nv_bfloat16, Form::instruction>();
    check_one_product<float, Form::instruction>();
    check_one_product<float, Form::shuffles>();
}

TEST_CASE("products of tiles read through ldmatrix, plain and transposed") {
    check_tile_products<__nv_bfloat16, 16>();
    check_tile_products<__nv_bfloat16, 64>();
    check_tile_products<__nv_bfloat16, 256>();
    check_tile_products<float, 16>();
    check_tile_products<float, 64>();
}

TEST_CASE("tiles have no bank conflicts") {
    check_banks<SharedTile<__nv_bfloat16, 64, 16>>();
    check_banks<SharedTile<__nv_bfloat16, 64, 32>>();
    check_banks<SharedTile<__nv_bfloat16, 64, 64>>();
    check_banks<SharedTile<__nv_bfloat16, 64, 128>>();
    check_banks<SharedTile<__nv_bfloat16, 64, 256>>();
}
