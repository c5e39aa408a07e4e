// The operations around payloads and the state's hash tree: merge_apply, apply_candidate, screen, state_tree. What is
// *exact* has the limit 0: the CPU's bits.
#include "kernels/cases/op_case.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>

namespace templar {

namespace {

// ---- payloads ----
// Well-formed sections of many tensors and peers in one array, made from integers.

struct Shape {
    ChunkGrid grid;
    CodeFormat format;
};

// Which scale bytes a peer has.
enum class Scales {
    any,      // every exponent; one chunk in seven reserved (all its values zero)
    small,    // exponents 0 … 2
    extreme,  // the smallest and the largest exponent
    equal,    // one scale everywhere: with one-bit codes all values have one magnitude
    reserved  // nothing but zeros: a norm of zero
};
Scales scales_of(int64_t peer) {
    return std::array{Scales::small, Scales::any, Scales::reserved, Scales::extreme, Scales::any}[peer % 5];
}

struct Draws {
    uint64_t state;
    uint64_t below(uint64_t bound) {  // near enough to uniform
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return (z >> 32) * bound >> 32;
    }
};

uint8_t draw_scale(Draws& draws, Scales scales) {
    const auto mantissa = static_cast<uint8_t>(draws.below(8));
    switch (scales) {
        case Scales::any: return draws.below(7) == 0 ? 0 : static_cast<uint8_t>(1 + draws.below(255));
        case Scales::small: return static_cast<uint8_t>(1 + draws.below(23));
        case Scales::extreme: return draws.below(2) ? 1 : static_cast<uint8_t>(31 << 3 | mantissa);
        case Scales::equal: return 5 << 3 | 5;
        case Scales::reserved: return 0;
    }
    return 0;
}

void put_field(uint8_t* section, int64_t position, int bits, uint64_t value) {
    const int64_t first = position * bits;
    for (int bit = 0; bit < bits; ++bit)
        section[(first + bit) / 8] =
            static_cast<uint8_t>(section[(first + bit) / 8] | (value >> bit & 1) << (first + bit) % 8);
}

// Sections of one tensor, after one another; `offset` is that of the first.
struct Section {
    int64_t base, scales, codes, indices, end;
};
Section section(const Shape& shape, int64_t offset) {
    const auto [k, code_bits, index_bits] = shape.format;
    const int64_t chunks = shape.grid.chunks();
    Section at{};
    at.base = offset;
    at.scales = at.base + 2;
    at.codes = at.scales + chunks;
    at.indices = at.codes + packed_bytes(chunks * k, code_bits);
    at.end = at.indices + packed_bytes(chunks * k, index_bits);
    return at;
}

// The first of kept value n's window of indices: the windows tile the chunk, so that indices ascend.
int64_t window(const Shape& shape, int64_t n) { return n * shape.grid.chunk_size() / shape.format.k; }

void fill(uint8_t* payload, const Section& at, const Shape& shape, Scales scales, uint64_t seed) {
    const auto [k, code_bits, index_bits] = shape.format;
    Draws draws{seed};
    for (int64_t chunk = 0; chunk < shape.grid.chunks(); ++chunk) {
        const uint8_t scale = draw_scale(draws, scales);
        payload[at.scales + chunk] = scale;
        for (int64_t n = 0; n < k; ++n) {
            const int64_t first = window(shape, n), width = window(shape, n + 1) - first;
            const auto drawn = draws.below(uint64_t{1} << code_bits);
            const auto inside = static_cast<int64_t>(draws.below(static_cast<uint64_t>(width)));
            put_field(payload + at.codes, chunk * k + n, code_bits, scale ? drawn : 0);
            put_field(payload + at.indices, chunk * k + n, index_bits,
                      static_cast<uint64_t>(scale ? first + inside : n));
        }
    }
}

// Of some tensors, each with its own grid.
struct Payloads {
    std::vector<Shape> shapes;
    std::vector<Section> sections;  // of peer 0
    int64_t peer_bytes = 0;
    int64_t peers = 0;
    std::function<Scales(int64_t)> scales = scales_of;

    Payloads(std::vector<Shape> of, int64_t count) : shapes(std::move(of)), peers(count) {
        for (const Shape& shape : shapes) {
            sections.push_back(section(shape, peer_bytes));
            peer_bytes = sections.back().end;
        }
    }
    std::vector<uint8_t> make() const {
        std::vector<uint8_t> bytes(static_cast<size_t>(peers * peer_bytes));
#pragma omp parallel for collapse(2) schedule(dynamic)
        for (int64_t p = 0; p < peers; ++p)
            for (size_t t = 0; t < shapes.size(); ++t)
                fill(bytes.data() + p * peer_bytes, sections[t], shapes[t], scales(p),
                     static_cast<uint64_t>(p) << 32 | t);
        return bytes;
    }
    CaseTensor tensor() const {
        CaseTensor tensor{"payloads", DType::u8, Role::input, {peers * peer_bytes}};
        tensor.bytes = [all = *this] { return all.make(); };
        return tensor;
    }
    std::vector<SparseIn> of_tensor(const Tensor& payloads, size_t t) const {
        std::vector<SparseIn> result;
        const Section& at = sections[t];
        for (int64_t p = 0; p < peers; ++p) {
            const uint8_t* const bytes = payloads.u8() + p * peer_bytes;
            result.push_back(
                {bytes + at.base, bytes + at.scales, bytes + at.codes, bytes + at.indices, shapes[t].format});
        }
        return result;
    }
    int64_t values() const {
        int64_t sum = 0;
        for (const Shape& shape : shapes) sum += shape.grid.rows * shape.grid.cols;
        return sum;
    }
};

// ---- cases ----

CaseTensor floats(const char* name, DType dtype, Role role, int64_t count, uint64_t seed) {
    CaseTensor tensor{name, dtype, role, {count}};
    if (role != Role::output) tensor.floats = [=] { return normal_values(count, seed); };
    tensor.limit = 0;
    return tensor;
}

// Calls call(t, first, extents of tensor t) for each tensor; they lie one after another in flat arrays.
template <class Call>
void each_tensor(const Payloads& payloads, Call call) {
    int64_t first = 0;
    for (size_t t = 0; t < payloads.shapes.size(); ++t) {
        const ChunkGrid& grid = payloads.shapes[t].grid;
        call(t, first, grid);
        first += grid.rows * grid.cols;
    }
}

Tensor matrix(const Tensor& flat, int64_t first, const ChunkGrid& grid) {
    return flat.view(first, {grid.rows, grid.cols});
}

OpCase exact_case(std::string op, std::string shape, std::vector<CaseTensor> tensors, RunCase run, double bytes,
                  int64_t values) {
    return {.op = std::move(op),
            .shape = std::move(shape),
            .tensors = std::move(tensors),
            .run = std::move(run),
            .bytes = bytes,
            .items = static_cast<double>(values),
            .item = "parameters"};
}

OpCase merge_case(DType compute, const std::string& shape, const Payloads& payloads) {
    const int64_t values = payloads.values();
    const bool rounded = compute == DType::bf16;
    std::vector<CaseTensor> tensors = {floats("theta", DType::f32, Role::in_out, values, 1), payloads.tensor()};
    if (rounded) tensors.push_back(floats("weights", compute, Role::output, values, 0));
    const auto run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
        each_tensor(payloads, [&](size_t i, int64_t first, const ChunkGrid& grid) {
            const Tensor weights = rounded ? matrix(t["weights"], first, grid) : Tensor();
            ops.merge_apply(stream, matrix(t["theta"], first, grid), weights, grid,
                            payloads.of_tensor(t["payloads"], i), 0.9996f, 3e-4f);
        });
    };
    const auto bytes = static_cast<double>(values * (rounded ? 10 : 8) + payloads.peers * payloads.peer_bytes);
    return exact_case("merge_apply", shape, tensors, run, bytes, values);
}

OpCase candidate_case(DType compute, const std::string& shape, const Payloads& payloads) {
    const int64_t values = payloads.values();
    const std::vector<CaseTensor> tensors = {floats("theta", DType::f32, Role::input, values, 1), payloads.tensor(),
                                             floats("out", compute, Role::output, values, 0)};
    const auto run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
        each_tensor(payloads, [&](size_t i, int64_t first, const ChunkGrid& grid) {
            ops.apply_candidate(stream, matrix(t["out"], first, grid), matrix(t["theta"], first, grid), grid,
                                payloads.of_tensor(t["payloads"], i).back(), 3e-4f);
        });
    };
    const auto bytes = static_cast<double>(values * (4 + bytes_of(compute)) + payloads.peer_bytes);
    return exact_case("apply_candidate", shape, tensors, run, bytes, values);
}

// theta is its own result.
OpCase candidate_in_place_case(const std::string& shape, const Payloads& payloads) {
    const int64_t values = payloads.values();
    const auto run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
        each_tensor(payloads, [&](size_t i, int64_t first, const ChunkGrid& grid) {
            const Tensor theta = matrix(t["theta"], first, grid);
            ops.apply_candidate(stream, theta, theta, grid, payloads.of_tensor(t["payloads"], i).back(), 3e-4f);
        });
    };
    return exact_case("apply_candidate", shape + "-in-place",
                      {floats("theta", DType::f32, Role::in_out, values, 1), payloads.tensor()}, run,
                      static_cast<double>(8 * values + payloads.peer_bytes), values);
}

OpCase screen_case(const std::string& shape, const Payloads& payloads) {
    const int64_t values = payloads.values();
    const auto run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
        std::vector<double> sums(static_cast<size_t>(payloads.peers), 0.25);
        each_tensor(payloads, [&](size_t i, int64_t first, const ChunkGrid& grid) {
            ops.screen(stream, sums, matrix(t["grad"], first, grid), grid, payloads.of_tensor(t["payloads"], i));
        });
        t.returned(sums);
    };
    return exact_case("screen", shape, {floats("grad", DType::f32, Role::input, values, 1), payloads.tensor()}, run,
                      static_cast<double>(4 * values + payloads.peers * payloads.peer_bytes), values);
}

OpCase tree_case(const std::string& shape, const std::vector<int64_t>& lengths) {
    std::vector<int64_t> first = {0};
    int64_t leaves = 0;
    for (int64_t length : lengths) {
        first.push_back(first.back() + length);
        leaves += (length + leaf_elements - 1) / leaf_elements;
    }
    const std::vector<CaseTensor> tensors = {floats("theta", DType::f32, Role::input, first.back(), 1),
                                             {"leaves", DType::u8, Role::output, {leaves, 32}},
                                             {"nodes", DType::u8, Role::output, {std::ssize(lengths), 32}}};
    const auto run = [=](const Ops& ops, Stream& stream, const CaseTensors& t) {
        ops.state_tree(stream, t["nodes"], t["leaves"], t["theta"], first);
    };
    return exact_case("state_tree", shape, tensors, run, 4 * static_cast<double>(first.back()), first.back());
}

// ---- shapes ----

int32_t edge_of(int64_t extent) {
    int32_t edge = 64;
    while (extent % edge != 0) --edge;
    return edge;
}

// As a run lays it out: edges are the largest divisors up to 64.
Shape shape_of(int64_t rows, int64_t cols, int32_t k = 32, int32_t code_bits = 8) {
    const ChunkGrid grid{rows, cols, edge_of(rows), edge_of(cols)};
    const int32_t size = grid.chunk_size();
    return {grid,
            {std::min(k, size), code_bits, static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size) - 1))}};
}

// Square and oblong chunks, odd edges, one dimension, edge 1 either way, a single element, a whole chunk sent, every
// width of code, three indices' widths that cross bytes.
std::vector<std::pair<std::string, Shape>> small_shapes() {
    return {{"1x1", shape_of(1, 1)},
            {"1x7-k3", shape_of(1, 7, 3)},
            {"1x640", shape_of(1, 640)},
            {"67x64-k5-2bit", shape_of(67, 64, 5, 2)},
            {"64x67-k64-1bit", shape_of(64, 67, 64, 1)},
            {"14x39-k3-1bit", shape_of(14, 39, 3, 1)},
            {"60x100-4bit", shape_of(60, 100, 32, 4)},
            {"63x61-k7", shape_of(63, 61, 7)},
            {"128x64", shape_of(128, 64)},
            {"64x64-all", shape_of(64, 64, 4096)}};
}

// Few values of one magnitude. At many places of a chunk of 12 or 60 the cosines of two frequencies are opposite, so
// that the sum is a rounding error, whose sign tells a fused multiply-add from two roundings and one order from
// another; elsewhere sign() hides that. Along a row it is the first transform that cancels, along a column the second.
std::vector<std::pair<std::string, Shape>> cancelling_shapes() {
    return {{"1x6000-k2", shape_of(1, 6000, 2, 1)},
            {"6000x1-k2", shape_of(6000, 1, 2, 1)},
            {"60x60-k40", shape_of(60, 60, 40, 1)},
            {"1x804-k6", shape_of(1, 804, 6, 1)},
            {"804x1-k6", shape_of(804, 1, 6, 1)}};
}

std::vector<OpCase> small_cases(DType compute) {
    std::vector<OpCase> cases;
    // Fewer, as many and more peers than a block has warps.
    const int64_t counts[] = {1, 2, 3, 5, 8, 9, 15, 33, 40};
    size_t next = 0;
    for (const auto& [name, shape] : small_shapes()) {
        const int64_t count = name == "64x64-all" ? 3 : counts[next++ % std::size(counts)];
        const std::string title = fmt::format("{}-{}peers", name, count);
        const Payloads payloads({shape}, count);
        cases.push_back(merge_case(compute, title, payloads));
        cases.push_back(screen_case(name, Payloads({shape}, std::min<int64_t>(count, 3))));
        cases.push_back(candidate_case(compute, name, Payloads({shape}, 2)));
    }
    for (const auto& [name, shape] : cancelling_shapes())
        for (int64_t count : {1, 5}) {
            Payloads payloads({shape}, count);
            payloads.scales = [](int64_t) { return Scales::equal; };
            cases.push_back(merge_case(compute, fmt::format("{}-cancelling-{}peers", name, count), payloads));
            if (count == 1) cases.push_back(candidate_case(compute, name + "-cancelling", payloads));
        }
    // Beside the largest exponent the smallest leaves integers of a few units: how they are rounded shows in the signs.
    Payloads far_apart({shape_of(60, 100, 32, 2)}, 1);
    far_apart.scales = [](int64_t) { return Scales::extreme; };
    cases.push_back(merge_case(compute, "60x100-2bit-extreme", far_apart));
    const Payloads two({shape_of(60, 100), shape_of(1, 50)}, 1);
    cases.push_back(candidate_in_place_case("two-tensors", two));
    cases.push_back(candidate_case(compute, "reserved", Payloads({shape_of(60, 100)}, 3)));
    cases.push_back(
        merge_case(compute, "two-tensors-40peers", Payloads({shape_of(14, 39, 5, 4), shape_of(1, 50)}, 40)));
    cases.push_back(merge_case(compute, "1x64-256peers", Payloads({shape_of(1, 64)}, 256)));
    cases.push_back(merge_case(compute, "10x12-no-peers", Payloads({shape_of(10, 12)}, 0)));
    cases.push_back(screen_case("6x10-66peers", Payloads({shape_of(6, 10)}, 66)));  // more than are taken at once
    // Messages that end at every place in a block; leaves of one value, one more than a leaf, and tensors of none.
    cases.push_back(tree_case("short", {0, 1, 11, 12, 13, 14, 15, 27, 28, 0, 29, 30, 31, 64, 0}));
    cases.push_back(tree_case("leaves", {3, leaf_elements, leaf_elements + 1, 5}));
    cases.push_back(tree_case("no-values", {0}));
    return cases;
}

struct Model {
    const char* name;
    int64_t vocabulary, hidden, intermediate, layers;
};

std::vector<Shape> tensors_of(const Model& model) {
    const auto& [name, V, C, F, layers] = model;
    std::vector<Shape> shapes = {shape_of(V, C)};
    for (int64_t layer = 0; layer < layers; ++layer) {
        for (int i = 0; i < 2; ++i) shapes.push_back(shape_of(1, C));  // norms
        for (int i = 0; i < 4; ++i) shapes.push_back(shape_of(C, C));  // q, k, v, out
        for (int i = 0; i < 2; ++i) shapes.push_back(shape_of(F, C));  // gate, up
        shapes.push_back(shape_of(C, F));                              // down
    }
    shapes.push_back(shape_of(1, C));
    shapes.push_back(shape_of(V, C));
    return shapes;
}

// All tensors of a model, and one matrix alone; fifteen peers.
std::vector<OpCase> model_cases(DType compute, const Model& model) {
    constexpr int64_t peers = 15;
    const auto honest = [](int64_t) { return Scales::small; };
    const auto payloads_of = [&](const std::vector<Shape>& shapes, int64_t count) {
        Payloads payloads(shapes, count);
        payloads.scales = honest;
        return payloads;
    };
    const Shape one = shape_of(model.intermediate, model.hidden);
    const std::string name = model.name, one_name = fmt::format("{}x{}", one.grid.rows, one.grid.cols);
    const std::vector<Shape> all = tensors_of(model);
    std::vector<int64_t> lengths;
    for (const Shape& shape : all) lengths.push_back(shape.grid.rows * shape.grid.cols);

    std::vector<OpCase> cases;
    for (const auto& [title, shapes] : {std::pair(one_name, std::vector{one}), std::pair(name, all)}) {
        cases.push_back(merge_case(compute, fmt::format("{}-{}peers", title, peers), payloads_of(shapes, peers)));
        cases.push_back(candidate_case(compute, title, payloads_of(shapes, 1)));
        cases.push_back(screen_case(fmt::format("{}-{}peers", title, peers), payloads_of(shapes, peers)));
    }
    cases.push_back(tree_case(name, lengths));
    return cases;
}

}  // namespace

std::vector<OpCase> exact_cases(DType compute, CaseSizes sizes) {
    switch (sizes) {
        case CaseSizes::small: return small_cases(compute);
        case CaseSizes::model: return model_cases(compute, {"1b", 32000, 2048, 8192, 16});
        case CaseSizes::laptop: return model_cases(compute, {"14m", 4096, 384, 1024, 6});
    }
    return {};
}

}  // namespace templar
