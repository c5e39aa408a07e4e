// The DCT of a tensor's chunks and DeMo's compression: fp32, whatever the compute type is.
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace templar {

namespace {

// ---- values of the momentum, made from normal ones; chunk by chunk --------------------------------------------------
struct Element {
    int64_t chunk;
    float normal;
};
using Fill = float (*)(Element);

float as_drawn(Element e) {
    return e.normal;
}
// Few different magnitudes, so that most of what is kept is chosen by its index.
float with_ties(Element e) {
    return std::clamp(std::round(e.normal), -2.0f, 2.0f);
}
// Chunks of many sizes, some beyond the 2^31 that scale bytes can tell apart, some zero; many values are zero.
float of_many_sizes(Element e) {
    return e.chunk % 5 == 4 || std::abs(e.normal) < 0.5f ? 0.0f
                                                         : std::ldexp(e.normal, -static_cast<int>(e.chunk * 13 % 44));
}
// Chunks around the lower end of the range, where the smallest scale would be the reserved byte.
float at_range_end(Element e) {
    const float bounded = std::clamp(e.normal / 4, -1.0f, 1.0f);
    return e.chunk == 0 ? bounded : std::ldexp(bounded, -30 - static_cast<int>(e.chunk % 6));
}
float denormal(Element e) {
    return std::ldexp(std::round(e.normal * 1000), -149);
}
// Multiples of powers of two: the edges between scales and between codes.
float at_edges(Element e) {
    return std::ldexp(std::round(e.normal * 3), static_cast<int>(e.chunk % 7));
}
float all_zero(Element) {
    return 0;
}

std::vector<float> filled(const ChunkGrid& grid, Fill fill) {
    std::vector<float> values = normal_values(grid.rows * grid.cols, 1);
    for (size_t i = 0; i < values.size(); ++i) {
        const float value = fill({static_cast<int64_t>(i) / grid.chunk_size(), values[i]});
        values[i] = value == 0 ? 0 : value;  // not -0: whether that stays depends on the sign of the DCT of zeros
    }
    return values;
}

// ---- cases ----------------------------------------------------------------------------------------------------------
// As a run lays it out: edges are the largest divisors up to 64.
int32_t edge_of(int64_t extent) {
    int32_t edge = 64;
    while (extent % edge != 0) --edge;
    return edge;
}
ChunkGrid grid_of(int64_t rows, int64_t cols) {
    return {rows, cols, edge_of(rows), edge_of(cols)};
}

CaseTensor values(std::string name, int64_t count, uint64_t seed) {
    CaseTensor tensor{std::move(name), DType::f32, Role::input, {count}};
    tensor.floats = [=] { return normal_values(count, seed); };
    return tensor;
}

OpCase dct_case(bool encode, const std::string& shape, const ChunkGrid& grid) {
    const int64_t count = grid.rows * grid.cols;
    CaseTensor coef = values("coef", count, 1), x = values("x", count, 2);
    (encode ? coef : x).role = Role::output;
    return {.op = encode ? "dct_encode" : "dct_decode",
            .shape = shape,
            .tensors = {coef, x},
            .run =
                [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
                    const Tensor coef = t["coef"].view(0, {grid.chunks(), grid.chunk_size()});
                    const Tensor x = t["x"].view(0, {grid.rows, grid.cols});
                    if (encode)
                        ops.dct_encode(stream, coef, x, grid);
                    else
                        ops.dct_decode(stream, x, coef, grid);
                },
            .bytes = 8 * static_cast<double>(count),
            .items = static_cast<double>(count),
            .item = "parameters"};
}

struct Compression {
    std::string shape;
    std::vector<ChunkGrid> tensors;  // one after another in one array, and so in the payload
    int32_t k = 32, code_bits = 8;
    Fill momentum = as_drawn;
    bool gradient = true;
};

// Where a tensor's sections begin, and where they end.
struct Sections {
    CodeFormat format;
    int64_t base_exponent, scales, codes, indices, end;
};
Sections sections(const Compression& c, const ChunkGrid& grid, int64_t first) {
    const int32_t size = grid.chunk_size(), k = std::min(c.k, size);
    Sections at{};
    at.format = {k, c.code_bits, static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size) - 1))};
    at.base_exponent = first;
    at.scales = first + 2;
    at.codes = at.scales + grid.chunks();
    at.indices = at.codes + packed_bytes(grid.chunks() * k, c.code_bits);
    at.end = at.indices + packed_bytes(grid.chunks() * k, at.format.index_bits);
    return at;
}

void compress(const Compression& c, const Ops& ops, Stream& stream, const CaseTensors& t) {
    int64_t first = 0, byte = 0;
    for (const ChunkGrid& grid : c.tensors) {
        const Sections at = sections(c, grid, byte);
        uint8_t* const payload = t["payload"].u8();
        const SparseOut out{payload + at.base_exponent, payload + at.scales, payload + at.codes, payload + at.indices,
                            at.format};
        ops.demo_compress(stream, out, t["momentum"].view(first, {grid.chunks(), grid.chunk_size()}),
                          t["grad"].view(first, {grid.rows, grid.cols}), grid, {0.75f, 0.5f});
        first += grid.rows * grid.cols;
        byte = at.end;
    }
}

// The payload must be the CPU's in every byte. Without a gradient nothing is rounded differently, and so must the
// momentum. With one, a sum may differ in its last bits, by the way the DCT is computed: then a byte differs where two
// coefficients are equal to 1e-7, or one lies so near the edge of a code: one in 10^5 of those kept. The few thousand
// of a small case have none.
OpCase compress_case(const Compression& c) {
    int64_t count = 0, payload_bytes = 0;
    for (const ChunkGrid& grid : c.tensors) {
        count += grid.rows * grid.cols;
        payload_bytes = sections(c, grid, payload_bytes).end;
    }
    CaseTensor momentum = values("momentum", count, 1), grad = values("grad", count, 2);
    momentum.role = Role::in_out;
    if (c.momentum != as_drawn) momentum.floats = [=] { return filled(c.tensors[0], c.momentum); };
    // Where everything is sent, what is left is 2^-8 of it, and the same rounding 2^16 times as much of the square.
    if (c.k >= c.tensors[0].chunk_size()) momentum.limit = 1e-8;
    if (!c.gradient) {
        momentum.limit = 0;
        grad.floats = [=] { return std::vector<float>(static_cast<size_t>(count)); };
    }
    return {.op = "demo_compress",
            .shape = c.shape,
            .tensors = {momentum, grad, {"payload", DType::u8, Role::output, {payload_bytes}}},
            .run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) { compress(c, ops, stream, t); },
            .bytes = 12 * static_cast<double>(count),
            .items = static_cast<double>(count),
            .item = "parameters"};
}

// ---- shapes ---------------------------------------------------------------------------------------------------------

// Square and oblong chunks, odd edges, one dimension, edge 1 either way, a single element.
std::vector<std::pair<std::string, ChunkGrid>> small_grids() {
    return {{"128x192", grid_of(128, 192)}, {"64x64", grid_of(64, 64)},   {"96x80", grid_of(96, 80)},
            {"60x100", grid_of(60, 100)},   {"58x150", grid_of(58, 150)}, {"63x61", grid_of(63, 61)},
            {"35x33", grid_of(35, 33)},     {"1x640", grid_of(1, 640)},   {"1x67", grid_of(1, 67)},
            {"67x3", grid_of(67, 3)},       {"6x10", {6, 10, 2, 1}},      {"1x1", grid_of(1, 1)}};
}

std::vector<Compression> small_compressions() {
    std::vector<Compression> list;
    for (const auto& [name, grid] : small_grids()) {
        list.push_back({name, {grid}});
        list.push_back({name + "-k3-2bit", {grid}, 3, 2});
    }
    const ChunkGrid square = grid_of(128, 192), odd = grid_of(35, 99);
    for (const auto& [name, grid] : {std::pair{"128x192", square}, {"35x99", odd}}) {
        const struct {
            const char* name;
            Fill fill;
        } fills[] = {{"ties", with_ties},    {"sizes", of_many_sizes}, {"range", at_range_end},
                     {"denormal", denormal}, {"edges", at_edges},      {"zeros", all_zero}};
        for (const auto& [kind, fill] : fills)
            list.push_back({fmt::format("{}-{}", name, kind), {grid}, 32, 8, fill, false});
        for (int bits : {8, 4, 2, 1})
            list.push_back({fmt::format("{}-k5-{}bit-range", name, bits), {grid}, 5, bits, at_range_end, false});
    }
    const ChunkGrid two = grid_of(64, 128);
    list.push_back({"64x128-k1-1bit", {two}, 1, 1});
    list.push_back({"64x128-k64", {two}, 64});
    list.push_back({"64x128-k100-4bit-ties", {two}, 100, 4, with_ties, false});
    list.push_back({"64x128-all-but-one", {two}, 4095, 1, with_ties, false});
    list.push_back({"64x128-all", {two}, 4096});
    list.push_back({"three-tensors", {grid_of(1, 130), two, grid_of(33, 10)}, 7, 4});
    return list;
}

struct Model {
    int64_t vocabulary, hidden, intermediate, layers;
};

std::vector<ChunkGrid> tensors_of(const Model& model) {
    const auto [V, C, F, layers] = model;
    std::vector<ChunkGrid> grids = {grid_of(V, C)};
    for (int64_t layer = 0; layer < layers; ++layer) {
        grids.insert(grids.end(), 4, grid_of(C, C));  // q, k, v, out
        grids.insert(grids.end(), 2, grid_of(F, C));  // gate, up
        grids.push_back(grid_of(C, F));               // down
        grids.insert(grids.end(), 2, grid_of(1, C));  // norms
    }
    grids.push_back(grid_of(1, C));
    grids.push_back(grid_of(V, C));
    return grids;
}

std::vector<Compression> compressions(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            return small_compressions();
        case CaseSizes::model:
            return {{"2048x2048", {grid_of(2048, 2048)}},   {"8192x2048", {grid_of(8192, 2048)}},
                    {"32000x2048", {grid_of(32000, 2048)}}, {"32000x2048-k64-2bit", {grid_of(32000, 2048)}, 64, 2},
                    {"1x2048", {grid_of(1, 2048)}},         {"1b", tensors_of({32000, 2048, 8192, 16})}};
        case CaseSizes::laptop:
            return {{"1024x384", {grid_of(1024, 384)}},
                    {"352x128", {grid_of(352, 128)}},
                    {"14m", tensors_of({4096, 384, 1024, 6})}};
    }
    return {};
}

std::vector<std::pair<std::string, ChunkGrid>> transforms(CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small:
            return small_grids();
        case CaseSizes::model:
            return {{"8192x2048", grid_of(8192, 2048)}};
        case CaseSizes::laptop:
            return {{"1024x384", grid_of(1024, 384)}};
    }
    return {};
}

}  // namespace

std::vector<OpCase> compress_cases(DType, CaseSizes sizes) {
    std::vector<OpCase> cases;
    for (const auto& [name, grid] : transforms(sizes))
        for (bool encode : {true, false}) cases.push_back(dct_case(encode, name, grid));
    for (const Compression& c : compressions(sizes)) cases.push_back(compress_case(c));
    return cases;
}

}  // namespace templar
