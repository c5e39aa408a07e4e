#include "tests/random_payload.h"

#include "base/error.h"
#include "kernels/bf16.h"
#include "kernels/dct_basis.h"
#include "kernels/ops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

using namespace templar;

namespace {

// Tables of this processor, from the plainest to the fastest.
std::vector<const Ops*> all_ops() {
    std::vector<const Ops*> tables;
    for (const std::string isa : {"portable", "avx2", "avx512"}) {
        try {
            tables.push_back(&cpu_ops(isa.c_str()));
        } catch (const Error&) {
            MESSAGE("skipped: no " << isa << " here");
        }
    }
    return tables;
}

struct Case {
    ChunkGrid grid;
    CodeFormat format;
};

// The last is large enough for several threads to start. Square and oblong chunks, odd edges, 1-D, edge 1
// either way, a single element; every width of code and of index.
const Case cases[] = {
    {{128, 192, 64, 64}, {32, 8, 12}},  {{60, 100, 60, 50}, {32, 4, 12}}, {{63, 61, 21, 61}, {7, 8, 11}},
    {{1, 640, 1, 64}, {32, 8, 6}},      {{67, 64, 1, 64}, {5, 2, 6}},     {{64, 67, 64, 1}, {64, 1, 6}},
    {{14, 39, 7, 13}, {3, 1, 7}},       {{1, 1, 1, 1}, {1, 8, 0}},        {{5, 7, 5, 1}, {1, 8, 3}},
    {{128, 64, 64, 64}, {4096, 8, 12}}, {{256, 320, 64, 64}, {32, 8, 12}}};

std::vector<float> random_floats(int64_t count, CounterRng& rng) {
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(static_cast<int32_t>(rng.next_u32()) >> 8) * 0x1p-26f;
    for (int64_t i = 0; i < count; i += 11) values[i] = -0.0f;
    return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// ---- docs/protocol.md §6, read aloud: dense, one element at a time
// ---------------------------------------------------

struct Value {
    int64_t chunk;
    int32_t index;
    int64_t n;     // c·(8 + m)·2^x
    int32_t unit;  // c·(8 + m)
    int x;
};

std::vector<Value> decode(const SparseIn& peer, const ChunkGrid& grid) {
    std::vector<Value> values;
    for (int64_t i = 0; i < grid.chunks() * peer.format.k; ++i) {
        const int64_t chunk = i / peer.format.k;
        if (peer.scales[chunk] == 0) continue;
        const int x = peer.scales[chunk] >> 3, m = peer.scales[chunk] & 7;
        const uint32_t code = packed_field(peer.codes, i, peer.format.code_bits);
        const int c = (code & 1 ? -1 : 1) * static_cast<int>(2 * (code >> 1) + 1);
        const auto index = static_cast<int32_t>(packed_field(peer.indices, i, peer.format.index_bits));
        values.push_back({chunk, index, int64_t{c * (8 + m)} << x, c * (8 + m), x});
    }
    return values;
}

double reference_square_sum(const SparseIn& peer, const ChunkGrid& grid) {
    double sum = 0;
    for (int x = 31; x >= 0; --x) {
        int64_t total = 0;
        for (const Value& v : decode(peer, grid))
            if (v.x == x) total += int64_t{v.unit} * v.unit;
        sum += static_cast<double>(total) * std::ldexp(1.0, 2 * x);
    }
    return sum;
}

// C (chunks, size) of several peers.
std::vector<float> reference_means(const std::vector<SparseIn>& peers,
                                   const std::vector<double>& inverse_norms, const ChunkGrid& grid) {
    std::vector<int64_t> sums(grid.rows * grid.cols), senders(grid.rows * grid.cols);
    for (size_t p = 0; p < peers.size(); ++p) {
        if (inverse_norms[p] == 0) continue;
        for (const Value& v : decode(peers[p], grid)) {
            const int64_t position = v.chunk * grid.chunk_size() + v.index;
            sums[position] += std::llrint(static_cast<double>(v.n) * inverse_norms[p] * 0x1p40);
            ++senders[position];
        }
    }
    std::vector<float> means(sums.size());
    for (size_t i = 0; i < sums.size(); ++i)
        if (senders[i] != 0)
            means[i] =
                static_cast<float>(static_cast<double>(sums[i]) / (static_cast<double>(senders[i]) * 0x1p40));
    return means;
}

// X (rows, cols) of C (chunks, size): every term, in order. Real: float with fma, or long double.
template <class Real>
std::vector<Real> reference_inverse(const std::vector<float>& coefficients, const ChunkGrid& grid) {
    const int er = grid.edge_rows, ec = grid.edge_cols;
    const float *row_basis = dct_basis(er), *col_basis = dct_basis(ec);
    std::vector<Real> x(grid.rows * grid.cols), t(er * ec);
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        const float* c = coefficients.data() + chunk * grid.chunk_size();
        for (int u = 0; u < er; ++u)
            for (int j = 0; j < ec; ++j) {
                Real sum = 0;
                for (int v = 0; v < ec; ++v)
                    sum = std::fma(static_cast<Real>(c[u * ec + v]), static_cast<Real>(col_basis[j * ec + v]),
                                   sum);
                t[u * ec + j] = sum;
            }
        const int64_t first_row = chunk / (grid.cols / ec) * er, first_col = chunk % (grid.cols / ec) * ec;
        for (int i = 0; i < er; ++i)
            for (int j = 0; j < ec; ++j) {
                Real sum = 0;
                for (int u = 0; u < er; ++u)
                    sum = std::fma(static_cast<Real>(row_basis[i * er + u]), t[u * ec + j], sum);
                x[(first_row + i) * grid.cols + first_col + j] = sum;
            }
    }
    return x;
}

template <class Real>
float sign_of(Real x) {
    return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
}

std::vector<float> single_values(const SparseIn& peer, const ChunkGrid& grid) {
    std::vector<float> c(grid.rows * grid.cols);
    for (const Value& v : decode(peer, grid))
        c[v.chunk * grid.chunk_size() + v.index] = static_cast<float>(v.n);
    return c;
}

struct Swarm {
    std::vector<RandomSparse> payloads;
    std::vector<SparseIn> peers;
    std::vector<double> inverse_norms;
};

// The third peer sends nothing at all.
Swarm make_swarm(const Case& c, int count, CounterRng& rng) {
    Swarm swarm;
    for (int p = 0; p < count; ++p)
        swarm.payloads.emplace_back(c.grid, c.format, rng, p == 2 ? 1 : 5, p % 2 ? 32 : 3);
    for (const RandomSparse& payload : swarm.payloads) {
        swarm.peers.push_back(payload.in());
        const double square = reference_square_sum(payload.in(), c.grid);
        swarm.inverse_norms.push_back(square == 0 ? 0 : 1 / std::sqrt(square));
    }
    return swarm;
}

constexpr float keep = 0.9995f, eta = 3.7e-4f;

}  // namespace

TEST_CASE("merge_apply gives the bits of the dense formula: every table, threads, order of peers") {
    CounterRng rng(sha256(as_bytes("merge")));
    for (const Case& c : cases) {
        CAPTURE(c.grid.cols);
        Swarm swarm = make_swarm(c, 5, rng);
        const std::vector<float> before = random_floats(c.grid.rows * c.grid.cols, rng);
        const std::vector<float> x =
            reference_inverse<float>(reference_means(swarm.peers, swarm.inverse_norms, c.grid), c.grid);
        std::vector<float> expected = before;
        for (size_t i = 0; i < x.size(); ++i) {
            const float kept = expected[i] * keep;
            expected[i] = kept - eta * sign_of(x[i]);
        }
        std::vector<int> order = {0, 1, 2, 3, 4};
        for (int turn = 0; turn < 3; ++turn) {
            std::vector<SparseIn> peers;
            for (int p : order) peers.push_back(swarm.peers[p]);
            for (const Ops* ops : all_ops())
                for (int threads : {1, 2, 3}) {
                    Stream stream{threads};
                    std::vector<float> theta = before;
                    std::vector<bf16> rounded(theta.size());
                    ops->merge_apply(stream, {theta.data(), {c.grid.rows, c.grid.cols}},
                                     {rounded.data(), DType::bf16, {c.grid.rows, c.grid.cols}}, c.grid, peers, keep, eta);
                    CHECK_MESSAGE(same_bits(theta, expected), std::string(ops->name)
                                                                  << ", threads " << threads);
                    for (size_t i = 0; i < theta.size(); ++i) REQUIRE(rounded[i].bits == to_bf16(theta[i]).bits);
                }
            std::rotate(order.begin(), order.begin() + 2, order.end());
        }
    }
}

TEST_CASE("merge_apply moves with the sign of the true inverse DCT wherever that is away from 0") {
    CounterRng rng(sha256(as_bytes("long double")));
    for (const Case& c : cases) {
        const Swarm swarm = make_swarm(c, 4, rng);
        const auto means = reference_means(swarm.peers, swarm.inverse_norms, c.grid);
        const std::vector<long double> x = reference_inverse<long double>(means, c.grid);
        float largest = 0;
        for (float mean : means) largest = std::max(largest, std::fabs(mean));
        std::vector<float> theta(x.size());
        Stream stream;
        cpu_ops().merge_apply(stream, {theta.data(), {c.grid.rows, c.grid.cols}}, {}, c.grid, swarm.peers, 1.0f, 1.0f);
        int64_t judged = 0;
        for (size_t i = 0; i < x.size(); ++i) {
            if (std::fabs(x[i]) < 1e-5L * largest) continue;
            REQUIRE(theta[i] == -sign_of(x[i]));
            ++judged;
        }
        CHECK(judged > static_cast<int64_t>(x.size() / 2));
    }
}

TEST_CASE("merge_apply with 256 peers at the largest values") {
    const ChunkGrid grid{1, 2, 1, 2};
    const uint8_t base[2] = {}, scale = 0xff, code = 0xfe, index = 0;
    const SparseIn peer{base, &scale, &code, &index, {1, 8, 1}};
    const std::vector<SparseIn> peers(256, peer);
    for (const Ops* ops : all_ops()) {
        std::vector<float> theta = {0, 0};
        Stream stream;
        ops->merge_apply(stream, {theta.data(), {1, 2}}, {}, grid, peers, 1.0f, 0.5f);
        CHECK(theta == std::vector<float>{-0.5f, -0.5f});
    }
}

TEST_CASE("merge_apply where nobody sends only decays, and keeps the sign of zero") {
    CounterRng rng(sha256(as_bytes("quiet")));
    const Case& c = cases[0];
    const RandomSparse quiet(c.grid, c.format, rng, 1);
    const std::vector<SparseIn> peers = {quiet.in()};
    const std::vector<float> before = random_floats(c.grid.rows * c.grid.cols, rng);
    for (const Ops* ops : all_ops()) {
        std::vector<float> theta = before;
        Stream stream{2};
        ops->merge_apply(stream, {theta.data(), {c.grid.rows, c.grid.cols}}, {}, c.grid, peers, 1.0f, eta);
        CHECK(same_bits(theta, before));
        ops->merge_apply(stream, {theta.data(), {c.grid.rows, c.grid.cols}}, {}, c.grid, peers, keep, eta);
        for (size_t i = 0; i < theta.size(); ++i) REQUIRE(theta[i] == before[i] * keep);
    }
}

TEST_CASE("a sender counts only where it sends") {
    // Means 1 of the first coefficient (two senders) and -1 of the second (one sender): X = (1 - 1)/sqrt(2),
    // (1 + 1)/sqrt(2). Any other count of the senders makes X[0] positive or negative. The last peer sends nothing.
    const ChunkGrid grid{1, 2, 1, 2};
    const uint8_t base[2] = {}, scale = 8, reserved = 0, plus = 0, minus = 1, first = 0, second = 1;
    const CodeFormat format{1, 8, 1};
    const SparseIn a{base, &scale, &plus, &first, format}, b{base, &scale, &minus, &second, format},
        silent{base, &reserved, &plus, &first, format};
    const std::vector<SparseIn> peers = {a, a, b, silent};
    for (const Ops* ops : all_ops()) {
        std::vector<float> theta = {0, 0};
        Stream stream;
        ops->merge_apply(stream, {theta.data(), {1, 2}}, {}, grid, peers, 1.0f, 1.0f);
        CHECK(theta == std::vector<float>{0.0f, -1.0f});
    }
}

TEST_CASE("apply_candidate and screen follow one peer's values on every table and number of threads") {
    CounterRng rng(sha256(as_bytes("candidate")));
    for (const Case& c : cases) {
        CAPTURE(c.grid.cols);
        const RandomSparse payload(c.grid, c.format, rng);
        const int64_t size = c.grid.rows * c.grid.cols;
        const std::vector<float> theta = random_floats(size, rng), grad = random_floats(size, rng);
        const auto x = reference_inverse<float>(single_values(payload.in(), c.grid), c.grid);
        std::vector<float> expected(size);
        double inner = 0, magnitude = 0;
        for (int64_t i = 0; i < size; ++i) {
            expected[i] = theta[i] - eta * sign_of(x[i]);
            inner += double(grad[i]) * sign_of(x[i]);
            magnitude += std::fabs(grad[i]);
        }
        Stream one;
        const Tensor grad_view(grad.data(), {c.grid.rows, c.grid.cols});
        const std::vector<SparseIn> peers = {payload.in(), payload.in()};
        std::vector<double> sums = {0, 1};
        cpu_ops("portable").screen(one, sums, grad_view, c.grid, peers);
        const double screened = sums[0];
        CHECK(sums[1] == 1 + screened);
        CHECK(screened == doctest::Approx(inner).epsilon(1e-12 * (1 + magnitude)));
        for (const Ops* ops : all_ops())
            for (int threads : {1, 2, 3}) {
                Stream stream{threads};
                std::vector<float> out(size, 1e30f);
                ops->apply_candidate(stream, {out.data(), {c.grid.rows, c.grid.cols}},
                                     {theta.data(), {c.grid.rows, c.grid.cols}}, c.grid, payload.in(), eta);
                CHECK_MESSAGE(same_bits(out, expected), std::string(ops->name) << ", threads " << threads);
                std::vector<double> again = {0};
                ops->screen(stream, again, grad_view, c.grid, std::span(peers).first(1));
                CHECK(std::bit_cast<uint64_t>(again[0]) == std::bit_cast<uint64_t>(screened));
            }
    }
}

TEST_CASE("apply_candidate writes in place when asked") {
    CounterRng rng(sha256(as_bytes("in place")));
    const Case& c = cases[1];
    const RandomSparse payload(c.grid, c.format, rng);
    std::vector<float> theta = random_floats(c.grid.rows * c.grid.cols, rng), out(theta.size());
    Stream stream{2};
    const Tensor view(theta.data(), {c.grid.rows, c.grid.cols});
    cpu_ops().apply_candidate(stream, {out.data(), {c.grid.rows, c.grid.cols}}, view, c.grid, payload.in(),
                              eta);
    cpu_ops().apply_candidate(stream, view, view, c.grid, payload.in(), eta);
    CHECK(same_bits(theta, out));
}
