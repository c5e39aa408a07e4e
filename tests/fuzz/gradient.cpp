// Payloads: what payload_fault accepts can be decoded, merged and applied, in any order, to finite weights.
//   <flags><u32 eta><u32 keep><bytes of the payloads, one after the other>
// flags: 3 the code's bits (8, 4, 2, 1); 4 the bytes choose among well-formed payloads (else they are one);
// 8 a bit of the first one is flipped then, its place at the end.
#include "engine/replica/replica.h"
#include "tests/fuzz/target.h"
#include "tests/random_payload.h"
#include "tests/cpu.h"

#include <bit>
#include <cmath>

using namespace templar;
using namespace templar::fuzz;

namespace {

Layout small_layout(int32_t code_bits) {
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    for (const auto& [name, shape] : std::vector<std::pair<std::string, std::vector<int64_t>>>{
             {"oblong", {4, 6}}, {"square", {8, 8}}, {"odd", {3, 5}}, {"row", {9}}, {"one", {1}}}) {
        int64_t numel = 1;
        for (int64_t extent : shape) numel *= extent;
        parameters.push_back({name, shape, offset, numel});
        offset += numel;
    }
    return make_layout(parameters, {3, 4, code_bits});
}

// Any input is some well-formed payload.
Bytes well_formed(const Layout& layout, Input& input) {
    Bytes payload(static_cast<size_t>(layout.payload_bytes));
    for (const TensorLayout& tensor : layout.tensors) {
        const SparseOut out = sparse_out(tensor, payload);
        const auto [k, code_bits, index_bits] = tensor.format;
        bool zero = true;
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk) {
            const uint8_t scale = input.number();
            out.scales[chunk] = scale;
            zero = zero && scale == 0;
            int32_t next = 0;
            for (int32_t i = 0; i < k; ++i) {
                const int32_t room = tensor.grid.chunk_size() - (k - i) - next + 1;
                const int32_t index = scale == 0 ? i : next + input.number() % room;
                const uint32_t code = scale == 0 ? 0 : input.number() % (1u << code_bits);
                put_packed(out.indices, chunk * k + i, index_bits, static_cast<uint32_t>(index));
                put_packed(out.codes, chunk * k + i, code_bits, code);
                next = index + 1;
            }
        }
        const int exponent = zero ? 0 : input.number<uint16_t>() % 285 - 190;
        out.base_exponent[0] = static_cast<uint8_t>(exponent);
        out.base_exponent[1] = static_cast<uint8_t>(exponent >> 8);
    }
    require(payload_fault(layout, payload).empty(), "what is made well-formed is accepted");
    return payload;
}

void check_decoded(const Layout& layout, const Bytes& payload) {
    for (const TensorLayout& tensor : layout.tensors)
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk) {
            int32_t previous = -1;
            for (const CodedValue& value : decode_chunk(sparse_in(tensor, payload), tensor.grid, chunk)) {
                require(value.index > previous && value.index < tensor.grid.chunk_size(), "indices ascend");
                require(std::isfinite(value.value), "values are finite");
                previous = value.index;
            }
        }
}

void check_applied(const Layout& layout, OuterStep step, const std::vector<Bytes>& payloads) {
    std::vector<float> theta(static_cast<size_t>(layout.parameters));
    for (size_t i = 0; i < theta.size(); ++i) theta[i] = static_cast<float>(i) * 0x1p-6f - 1;
    Device& device = test::cpu(1, "portable");
    Replica forward(device, layout, theta), backward(device, layout, theta);
    std::vector<std::span<const uint8_t>> views(payloads.begin(), payloads.end());
    forward.apply(step, views);
    std::ranges::reverse(views);
    backward.apply(step, views);
    require(forward.root() == backward.root(), "the order of payloads does not matter");
    for (const float value : forward.host_theta()) require(std::isfinite(value), "weights stay finite");
    std::vector<float> candidate(theta.size());
    forward.candidate(test::flat(candidate), payloads[0], step.eta);
    for (const float value : candidate) require(std::isfinite(value), "a candidate is finite");
}

// A record's factors: the bits of a number from 0 to 1.
float factor(uint32_t bits) {
    const auto value = std::bit_cast<float>(bits);
    return value >= 0 && value <= 1 ? value : 0.5f;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t flags = input.number();
    static const std::vector<Layout> layouts = {small_layout(8), small_layout(4), small_layout(2),
                                                small_layout(1)};
    const Layout& layout = layouts[flags & 3];
    OuterStep step{};
    step.eta = factor(input.number<uint32_t>());
    step.keep = factor(input.number<uint32_t>());

    std::vector<Bytes> payloads;
    while (payloads.size() < 4 && !input.empty()) {
        Bytes payload;
        if (flags & 4) {
            payload = well_formed(layout, input);
            if ((flags & 8) && payloads.empty()) {
                const size_t bit = input.number<uint16_t>() % (payload.size() * 8);
                payload[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
            }
        } else {
            const ByteSpan bytes = input.bytes(static_cast<size_t>(layout.payload_bytes));
            payload.assign(bytes.begin(), bytes.end());
        }
        if (payload_fault(layout, payload).empty()) payloads.push_back(std::move(payload));
    }
    if (payloads.empty()) return 0;
    for (const Bytes& payload : payloads) check_decoded(layout, payload);
    const double overlap = index_overlap(layout, payloads.front(), payloads.back());
    require(overlap >= 0 && overlap <= 1, "overlap is a share");
    require(overlap == index_overlap(layout, payloads.back(), payloads.front()), "overlap is symmetric");
    check_applied(layout, step, payloads);
    return 0;
}
