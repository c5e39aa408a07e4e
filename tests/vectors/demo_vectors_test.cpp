#include "engine/compress/layout.h"
#include "kernels/ops.h"
#include "tests/vectors/generator.h"
#include "tests/vectors/vectors.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace templar;
using namespace templar::vectors;
using nlohmann::json;

namespace {

// One tensor with the engine's own operations; DeMo without codes is put together from them.
struct OneTensor {
    Layout layout;
    Stream stream{2};
    const Ops& ops = cpu_ops();

    explicit OneTensor(const json& shape, int32_t k = 32, int32_t chunk_edge = 64)
        : layout(make_layout({{"w", shape.get<std::vector<int64_t>>(), 0, shape_numel(shape)}},
                             {.k = k, .chunk_edge = chunk_edge})) {}

    const TensorLayout& tensor() const { return layout.tensors[0]; }
    const ChunkGrid& grid() const { return tensor().grid; }
    Tensor frequencies(const std::vector<float>& coef) {
        return Tensor(coef.data(), {grid().chunks(), grid().chunk_size()});
    }
    Tensor dense(const std::vector<float>& x) { return Tensor(x.data(), {grid().rows, grid().cols}); }

    std::vector<float> encode(const std::vector<float>& x) {
        std::vector<float> coef(x.size());
        ops.dct_encode(stream, frequencies(coef), dense(x), grid());
        return coef;
    }
    std::vector<float> decode(const std::vector<float>& coef) {
        std::vector<float> x(coef.size());
        ops.dct_decode(stream, dense(x), frequencies(coef), grid());
        return x;
    }
    // The positions in coef that demo_compress sends: k for every chunk, ascending.
    std::vector<int64_t> largest(std::vector<float> coef) {
        const std::vector<float> no_gradient(coef.size());
        std::vector<uint8_t> payload(static_cast<size_t>(layout.payload_bytes));
        ops.demo_compress(stream, sparse_out(tensor(), payload), frequencies(coef), dense(no_gradient),
                          grid(), {1, 0});
        CHECK(payload_fault(layout, payload) == "");
        std::vector<int64_t> positions;
        for (int64_t chunk = 0; chunk < grid().chunks(); ++chunk)
            for (const CodedValue& kept : decode_chunk(sparse_in(tensor(), payload), grid(), chunk))
                positions.push_back(chunk * grid().chunk_size() + kept.index);
        return positions;
    }
};

void check_coef_shape(const OneTensor& tensor, const json& coef_shape) {
    const ChunkGrid& grid = tensor.grid();
    const json two = {grid.rows / grid.edge_rows, grid.cols / grid.edge_cols, grid.edge_rows, grid.edge_cols};
    const json one = {grid.cols / grid.edge_cols, grid.edge_cols};
    CHECK(coef_shape == (tensor.tensor().shape.size() == 2 ? two : one));
}

// Compares the values at `positions` with one row of idx and val for every chunk.
void check_sparse(const OneTensor& tensor, const std::vector<float>& coef,
                  const std::vector<int64_t>& positions, const json& sent, double scale) {
    std::vector<int64_t> expected_positions;
    std::vector<double> expected_values;
    for (size_t chunk = 0; chunk < sent.at("idx").size(); ++chunk)
        for (size_t i = 0; i < sent.at("idx").at(chunk).size(); ++i) {
            expected_positions.push_back(static_cast<int64_t>(chunk) * tensor.grid().chunk_size() +
                                         sent.at("idx").at(chunk).at(i).get<int64_t>());
            expected_values.push_back(sent.at("val").at(chunk).at(i).get<double>());
        }
    CHECK(positions == expected_positions);
    std::vector<float> values;
    for (int64_t position : positions) values.push_back(coef[static_cast<size_t>(position)]);
    CHECK(largest_error(values, expected_values, scale) < 1e-5);
}

double largest_magnitude(const json& rows) {
    double largest = 0;
    for (const json& row : rows)
        for (const json& value : row) largest = std::max(largest, std::abs(value.get<double>()));
    return largest;
}

constexpr Tolerance fp32{.value = 1e-5, .norm = 1e-5};
// For arrays that may be only rounding noise.
Tolerance measured_by(const json& sketch, double scale) {
    return {.value = 1e-5,
            .norm = 1e-5,
            .value_scale = scale,
            .norm_scale = std::max(scale, sketch.at("l2").get<double>())};
}

// Sparse data of several peers: the mean at each position over those that sent it.
struct Mean {
    std::vector<double> sum;
    std::vector<int> senders;
    explicit Mean(size_t n) : sum(n), senders(n) {}
    void add(size_t position, double value) {
        sum[position] += value;
        ++senders[position];
    }
    std::vector<float> values() const {
        std::vector<float> mean(sum.size());
        for (size_t i = 0; i < sum.size(); ++i)
            if (senders[i] > 0) mean[i] = static_cast<float>(sum[i] / senders[i]);
        return mean;
    }
};

// One case of `optimizer`: the reference keeps delta in space, we keep its DCT.
void check_optimizer(const json& test) {
    OneTensor tensor(test.at("shape"), test.at("topk").get<int32_t>(), test.at("chunk").get<int32_t>());
    check_coef_shape(tensor, test.at("coef_shape"));
    const auto lr = test.at("lr").get<float>(), decay = test.at("decay").get<float>();
    const auto weight_decay = test.at("weight_decay").get<float>();
    const json& scale = test.at("scale");
    const auto n = static_cast<size_t>(tensor.layout.parameters);
    std::vector<float> param = generate(test.at("param"), tensor.layout.parameters);
    std::vector<std::vector<float>> momentum(test.at("peers").get<size_t>(), std::vector<float>(n));

    for (size_t step = 0; step < test.at("expected").size(); ++step) {
        CAPTURE(step);
        const json& expected = test.at("expected").at(step);
        Mean mean(n);
        for (size_t peer = 0; peer < momentum.size(); ++peer) {
            CAPTURE(peer);
            std::vector<float>& e = momentum[peer];
            const auto gradient =
                tensor.encode(generate(test.at("grads").at(step).at(peer), tensor.layout.parameters));
            for (size_t i = 0; i < n; ++i) e[i] = decay * e[i] + lr * gradient[i];
            const std::vector<int64_t> sent = tensor.largest(e);
            const json& wanted = expected.at("peers").at(peer);
            check_sparse(tensor, e, sent, wanted, largest_magnitude(wanted.at("val")));
            for (int64_t position : sent) {
                mean.add(static_cast<size_t>(position), e[static_cast<size_t>(position)]);
                e[static_cast<size_t>(position)] = 0;
            }
            const json& delta = wanted.at("delta");
            CHECK(sketch_fault(tensor.decode(e), delta, measured_by(delta, scale.at("delta"))) == "");
        }
        const std::vector<float> update = tensor.decode(mean.values());
        CHECK(sketch_fault(update, expected.at("update"),
                           measured_by(expected.at("update"), scale.at("update"))) == "");
        std::string signs;
        for (size_t i = 0; i < n; ++i) {
            const int sign = (update[i] > 0) - (update[i] < 0);
            signs += "-0+"[sign + 1];
            param[i] = param[i] * (1 - lr * weight_decay) - lr * static_cast<float>(sign);
        }
        CHECK((signs == expected.at("sign").get<std::string>()));
        CHECK(sketch_fault(param, expected.at("param"),
                           measured_by(expected.at("param"), scale.at("param"))) == "");
    }
}

std::string hex(const uint8_t* bytes, int64_t count) {
    return to_hex({bytes, static_cast<size_t>(count)});
}

std::string float_hash(const std::vector<float>& values) {
    return to_hex(sha256({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}));
}

// A tensor of codes.json: the stream's values in chunk order, each chunk times its own power of two (null:
// times 0).
std::vector<float> momentum_of(const json& test, const ChunkGrid& grid) {
    std::vector<float> values = generate(test.at("momentum"), grid.rows * grid.cols);
    if (!test.contains("chunk_log2")) return values;
    for (int64_t chunk = 0; chunk < grid.chunks(); ++chunk) {
        const json& log2 = test.at("chunk_log2").at(static_cast<size_t>(chunk));
        for (int64_t i = chunk * grid.chunk_size(); i < (chunk + 1) * grid.chunk_size(); ++i)
            values[static_cast<size_t>(i)] =
                log2.is_null() ? 0.0f : std::ldexp(values[static_cast<size_t>(i)], log2.get<int>());
    }
    return values;
}

void check_codes(const Ops& ops, const json& test) {
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    for (const json& tensor : test.at("tensors")) {
        parameters.push_back(
            {tensor.at("name"), tensor.at("shape"), offset, shape_numel(tensor.at("shape"))});
        offset += parameters.back().numel;
    }
    const json& codec = test.at("codec");
    const Layout layout =
        make_layout(parameters, {codec.at("k"), codec.at("chunk_edge"), codec.at("code_bits")});
    const json& whole = test.at("expected");
    CHECK(to_hex(layout.hash) == whole.at("layout_hash").get<std::string>());
    REQUIRE(layout.payload_bytes == whole.at("payload_bytes").get<int64_t>());

    Bytes payload(static_cast<size_t>(layout.payload_bytes), 0xee);
    Stream stream{2};
    for (size_t t = 0; t < layout.tensors.size(); ++t) {
        const TensorLayout& tensor = layout.tensors[t];
        CAPTURE(tensor.name);
        const json& expected = test.at("tensors").at(t).at("expected");
        std::vector<float> momentum = momentum_of(test.at("tensors").at(t), tensor.grid);
        const std::vector<float> no_gradient(momentum.size());
        const SparseOut out = sparse_out(tensor, payload);
        ops.demo_compress(
            stream, out, Tensor(momentum.data(), {tensor.grid.chunks(), tensor.grid.chunk_size()}),
            Tensor(no_gradient.data(), {tensor.grid.rows, tensor.grid.cols}), tensor.grid, {1, 0});
        const int64_t values = tensor.grid.chunks() * tensor.format.k;
        CHECK(static_cast<int16_t>(out.base_exponent[0] | out.base_exponent[1] << 8) ==
              expected.at("base_exponent").get<int>());
        CHECK(hex(out.scales, tensor.grid.chunks()) == expected.at("scales").get<std::string>());
        CHECK(hex(out.codes, packed_bytes(values, tensor.format.code_bits)) ==
              expected.at("codes").get<std::string>());
        CHECK(hex(out.indices, packed_bytes(values, tensor.format.index_bits)) ==
              expected.at("indices").get<std::string>());
        CHECK(float_hash(momentum) == expected.at("left_sha256").get<std::string>());
        if (!expected.contains("decoded")) continue;
        json decoded = json::array();
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk)
            for (const CodedValue& kept : decode_chunk(sparse_in(tensor, payload), tensor.grid, chunk))
                if (kept.code != 0) decoded.push_back({chunk, kept.index, kept.code, kept.value});
        CHECK(decoded == expected.at("decoded"));
    }
    CHECK(payload_fault(layout, payload) == "");
    CHECK(to_hex(sha256(payload)) == whole.at("payload_sha256").get<std::string>());
}

}  // namespace

TEST_CASE("demo vectors: chunk lengths") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("split"))
            CHECK(chunk_edge(test.at("n"), test.at("target")) == test.at("split").get<int64_t>());
    });
}

TEST_CASE("demo vectors: the DCT of vectors and tensors") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("dct")) {
            OneTensor tensor(json{test.at("n")});
            const auto expected = test.at("output").get<std::vector<double>>();
            double scale = 0;
            for (double value : expected) scale = std::max(scale, std::abs(value));
            CHECK(largest_error(tensor.encode(test.at("input_values")), expected, scale) < 1e-5);
        }
        for (const json& test : file.at("encode")) {
            OneTensor tensor(test.at("shape"));
            check_coef_shape(tensor, test.at("coef_shape"));
            const std::vector<float> coef =
                tensor.encode(generate(test.at("input"), tensor.layout.parameters));
            CHECK(sketch_fault(coef, test.at("coef"), fp32) == "");
        }
    });
}

TEST_CASE("demo vectors: one coefficient alone") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("impulse")) {
            OneTensor tensor(test.at("shape"));
            std::vector<float> coef(static_cast<size_t>(tensor.layout.parameters));
            coef[test.at("chunk").get<size_t>() * static_cast<size_t>(tensor.grid().chunk_size()) +
                 test.at("index").get<size_t>()] = 1;
            CHECK(sketch_fault(tensor.decode(coef), test.at("dense"), fp32) == "");
        }
    });
}

TEST_CASE("demo vectors: the largest coefficients of each chunk") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("compress")) {
            OneTensor tensor(test.at("shape"), test.at("topk").get<int32_t>());
            CHECK(tensor.tensor().format.k == test.at("k").get<int32_t>());
            CHECK(tensor.grid().chunk_size() == test.at("totalk").get<int32_t>());
            const std::vector<float> coef =
                tensor.encode(generate(test.at("input"), tensor.layout.parameters));
            const std::vector<int64_t> kept = tensor.largest(coef);
            check_sparse(tensor, coef, kept, test, largest_magnitude(test.at("val")));
            std::vector<float> sparse(coef.size());
            for (int64_t position : kept)
                sparse[static_cast<size_t>(position)] = coef[static_cast<size_t>(position)];
            CHECK(sketch_fault(tensor.decode(sparse), test.at("decoded"), fp32) == "");
        }
    });
}

TEST_CASE("demo vectors: the mean over those who sent a position") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("mean_of_duplicates")) {
            OneTensor tensor(test.at("shape"));
            Mean mean(static_cast<size_t>(tensor.layout.parameters));
            const auto size = static_cast<size_t>(tensor.grid().chunk_size());
            for (const json& peer : test.at("peers"))
                for (size_t chunk = 0; chunk < peer.at("idx").size(); ++chunk)
                    for (size_t i = 0; i < peer.at("idx").at(chunk).size(); ++i)
                        mean.add(chunk * size + peer.at("idx").at(chunk).at(i).get<size_t>(),
                                 peer.at("val").at(chunk).at(i).get<double>());
            const std::vector<float> values = mean.values();
            std::vector<double> expected(values.size());
            for (const json& entry : test.at("mean_nonzero"))
                expected[entry.at(0).get<size_t>() * size + entry.at(1).get<size_t>()] =
                    entry.at(2).get<double>();
            CHECK(largest_error(values, expected, 1) < 1e-6);
            CHECK(sketch_fault(tensor.decode(values), test.at("decoded"), fp32) == "");
        }
    });
}

TEST_CASE("demo vectors: whole DeMo steps with values that are not coded") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("optimizer")) {
            INFO(test.at("id").get<std::string>());
            check_optimizer(test);
        }
    });
}

TEST_CASE("demo vectors: 12-bit indices are packed into the same bytes") {
    for_each_file("demo", [](const json& file) {
        for (const json& test : file.at("templar_pack").at("index12")) {
            const auto bytes = test.at("bytes").get<Bytes>();
            for (size_t i = 0; i < test.at("indices").size(); ++i)
                CHECK(packed_field(bytes.data(), static_cast<int64_t>(i), 12) ==
                      test.at("indices").at(i).get<uint32_t>());
        }
    });
}

TEST_CASE("code vectors: payloads and what is left of the momentum, bit for bit") {
    for_each_file("codes", [](const json& file) {
        for (const char* isa : {"auto", "portable"})
            for (const json& test : file.at("cases")) {
                INFO(isa << ", " << test.at("id").get<std::string>());
                check_codes(cpu_ops(isa), test);
            }
    });
}
