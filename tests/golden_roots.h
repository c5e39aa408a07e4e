// A replica's start and three steps, made of integers alone, and the roots that every table on every machine must reach.
#pragma once

#include "base/random.h"
#include "engine/replica/replica.h"
#include "tests/random_payload.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace templar::test {

using Views = std::vector<std::span<const uint8_t>>;
inline Views views_of(const std::vector<Bytes>& payloads) { return {payloads.begin(), payloads.end()}; }

// Square, oblong, odd and 1-D tensors, and a codec of 8, 4, 2 or 1 bits.
inline Layout small_layout(int32_t code_bits) {
    const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
        {"embedding", {150, 64}}, {"q", {64, 128}}, {"norm", {96}}, {"odd", {21, 61}}, {"tiny", {1}}};
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    for (const auto& [name, shape] : shapes) {
        int64_t numel = 1;
        for (int64_t extent : shape) numel *= extent;
        parameters.push_back({name, shape, offset, numel});
        offset += numel;
    }
    return make_layout(parameters, {16, 64, code_bits});
}

// Weights from integers alone: the same on every machine.
inline std::vector<float> integer_weights(int64_t count, CounterRng& rng) {
    std::vector<float> theta(static_cast<size_t>(count));
    for (float& v : theta) v = static_cast<float>(static_cast<int32_t>(rng.next_u32()) >> 8) * 0x1p-27f;
    return theta;
}

inline Bytes random_payload(const Layout& layout, CounterRng& rng, bool silent = false) {
    Bytes payload(static_cast<size_t>(layout.payload_bytes));
    for (const TensorLayout& tensor : layout.tensors)
        fill_sections(sparse_out(tensor, payload), tensor.grid, rng, silent ? 1 : 7);
    REQUIRE(payload_fault(layout, payload) == "");
    return payload;
}

struct ReplicaStart {
    explicit ReplicaStart(int32_t code_bits, int peers = 4) : layout(small_layout(code_bits)) {
        CounterRng rng(sha256(as_bytes("replica " + std::to_string(code_bits))));
        theta = integer_weights(layout.parameters, rng);
        for (int p = 0; p < peers; ++p) payloads.push_back(random_payload(layout, rng));
    }
    Layout layout;
    std::vector<float> theta;
    std::vector<Bytes> payloads;
};

// Takes the steps on `device`, and checks the root after each.
inline void check_golden_roots(Device& device) {
    struct Golden {
        int32_t code_bits;
        std::string roots[3];
    };
    const Golden goldens[] = {{8,
                               {"9b2e903ca8bde6a88559448b50a1cd8b358a8c705c3d8cbf7a2feba1cd836c72",
                                "ddd0734f216600450f90e9cf59525879824cf67b4a798e5779cd18230bb1fb39",
                                "2375fd7401a56f8d3c41563005ad7e0f6aabcab08054f09d8ad3967318b5b8b3"}},
                              {1,
                               {"a993aec3cf918e400df1f0e4f1faf74f821b267903a56c47ed7079bf91a9a2c9",
                                "56cf879ade1c1ce5bcfc2cad6e669fb3c15168a2f2d46a3c28fd1d4e8356e1e5",
                                "f0e785ccbd64972c39ea188c8d9a0acf124c6bd32a5bf87883d77ccf0cb05dff"}}};
    for (const Golden& golden : goldens) {
        const ReplicaStart start(golden.code_bits, 5);
        Replica replica(device, start.layout, start.theta);
        for (int i = 0; i < 3; ++i) {
            const Views all = views_of(start.payloads);
            // A rotating part of the peers, so that the steps differ.
            const Views accepted(all.begin() + i, all.begin() + i + 3);
            replica.apply({3e-4f / static_cast<float>(1 << i), 0.9999f}, accepted);
            CHECK_MESSAGE(to_hex(replica.root()) == golden.roots[i],
                          device.description() << ", " << golden.code_bits << " bits, step " << i);
        }
    }
}

}  // namespace templar::test
