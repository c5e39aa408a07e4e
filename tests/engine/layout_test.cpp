#include "engine/compress/layout.h"

#include "base/error.h"
#include "base/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

using namespace templar;

namespace {

std::vector<Parameter> packed(std::vector<std::pair<std::string, std::vector<int64_t>>> tensors) {
    std::vector<Parameter> parameters;
    int64_t offset = 0;
    for (auto& [name, shape] : tensors) {
        int64_t numel = 1;
        for (int64_t extent : shape) numel *= extent;
        parameters.push_back({name, shape, offset, numel});
        offset += numel;
    }
    return parameters;
}

// Small, and every kind of section: padding of every length, 0-bit indices, chunk sizes that are no powers of
// two.
Layout small_layout(int code_bits) {
    return make_layout(packed({{"a", {6, 10}}, {"b", {15}}, {"c", {67}}, {"d", {7, 3}}}),
                       {.k = 5, .chunk_edge = 4, .code_bits = code_bits});
}

void put_bits(uint8_t* section, int64_t position, int bits, uint32_t field) {
    for (int bit = 0; bit < bits; ++bit) {
        const int64_t at = position * bits + bit;
        section[at / 8] =
            static_cast<uint8_t>((section[at / 8] & ~(1 << at % 8)) | (field >> bit & 1) << at % 8);
    }
}

// A well-formed payload: random indices, scales and codes, every fifth chunk reserved.
Bytes random_payload(const Layout& layout, const char* key) {
    CounterRng rng(sha256(as_bytes(key)));
    Bytes payload(static_cast<size_t>(layout.payload_bytes));
    for (const TensorLayout& tensor : layout.tensors) {
        const SparseOut out = sparse_out(tensor, payload);
        const auto [k, code_bits, index_bits] = tensor.format;
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk) {
            const bool reserved = chunk % 5 == 2;
            std::set<uint32_t> indices;
            while (std::ssize(indices) < k)
                indices.insert(reserved ? static_cast<uint32_t>(indices.size())
                                        : static_cast<uint32_t>(rng.below(tensor.grid.chunk_size())));
            int64_t position = chunk * k;
            for (uint32_t index : indices) {
                put_bits(out.indices, position, index_bits, index);
                if (!reserved)
                    put_bits(out.codes, position, code_bits,
                             static_cast<uint32_t>(rng.below(1 << code_bits)));
                ++position;
            }
            if (!reserved) out.scales[chunk] = static_cast<uint8_t>(1 + rng.below(255));
        }
        out.base_exponent[0] = static_cast<uint8_t>(-40);
        out.base_exponent[1] = 0xff;
    }
    return payload;
}

// Reads everything a consumer would: nothing here may be undefined for a payload that has no fault.
void check_decodes(const Layout& layout, const Bytes& payload) {
    for (const TensorLayout& tensor : layout.tensors)
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk) {
            const SparseIn sparse = sparse_in(tensor, payload);
            int previous = -1;
            for (const CodedValue& kept : decode_chunk(sparse, tensor.grid, chunk)) {
                REQUIRE(kept.index > previous);
                REQUIRE(kept.index < tensor.grid.chunk_size());
                REQUIRE(std::isfinite(kept.value));
                REQUIRE((kept.code == 0) == (sparse.scales[chunk] == 0));
                previous = kept.index;
            }
        }
    const double overlap = index_overlap(layout, payload, payload);
    REQUIRE((overlap >= 0 && overlap <= 1));
}

}  // namespace

TEST_CASE("chunk_edge is the largest divisor up to the target") {
    const int64_t cases[][2] = {{100, 50}, {96, 48}, {80, 40},    {130, 26},   {128, 64},   {67, 1},
                                {1, 1},    {64, 64}, {50257, 29}, {50304, 64}, {32000, 64}, {61, 61}};
    for (auto [n, edge] : cases) CHECK(chunk_edge(n, 64) == edge);
    CHECK(chunk_edge(12, 5) == 4);
}

TEST_CASE("make_layout cuts tensors and places sections one after the other") {
    const Layout layout = make_layout(packed({{"w", {128, 96}}, {"n", {130}}, {"p", {67}}}), {});
    REQUIRE(layout.tensors.size() == 3);
    const TensorLayout& w = layout.tensors[0];
    CHECK(w.grid.edge_rows == 64);
    CHECK(w.grid.edge_cols == 48);
    CHECK(w.grid.chunks() == 4);
    CHECK(w.format.k == 32);
    CHECK(w.format.index_bits == 12);  // of 3072
    CHECK(w.base_exponent == 0);
    CHECK(w.scales == 2);
    CHECK(w.codes == 2 + 4);
    CHECK(w.indices == 6 + 4 * 32);
    const TensorLayout& n = layout.tensors[1];
    CHECK(n.base_exponent == w.indices + 4 * 32 * 12 / 8);
    CHECK(n.grid.rows == 1);
    CHECK(n.grid.edge_rows == 1);
    CHECK(n.grid.edge_cols == 26);
    CHECK(n.format.k == 26);
    CHECK(n.format.index_bits == 5);
    const TensorLayout& p = layout.tensors[2];
    CHECK(p.grid.chunk_size() == 1);
    CHECK(p.format.index_bits == 0);
    CHECK(layout.payload_bytes == p.indices);
    CHECK(layout.parameters == 128 * 96 + 130 + 67);
    CHECK(p.offset == 128 * 96 + 130);
}

TEST_CASE("make_layout counts in 64 bits") {
    // 2^33 elements: 2^21 chunks of 4096, all values kept: 2^33 codes and 12·2^33 bits of indices.
    const Layout layout = make_layout(packed({{"w", {1 << 17, 1 << 16}}}), {.k = 4096});
    CHECK(layout.payload_bytes == 2 + (1LL << 21) + (1LL << 33) + (12LL << 30));
}

TEST_CASE("make_layout refuses impossible codecs and shapes") {
    const auto tensors = packed({{"w", {8, 8}}});
    for (const Codec& codec : {Codec{.k = 0}, Codec{.chunk_edge = 0}, Codec{.chunk_edge = 65},
                               Codec{.code_bits = 3}, Codec{.code_bits = 16}, Codec{.k = -1}})
        CHECK_THROWS_AS(make_layout(tensors, codec), Error);
    CHECK_THROWS_AS(make_layout({{"w", {2, 2, 2}, 0, 8}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {}, 0, 1}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {0}, 0, 0}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {-2, -2}, 0, 4}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {1LL << 32, 1LL << 32}, 0, 0}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {4}, 0, 5}}, {}), Error);
    CHECK_THROWS_AS(make_layout({{"w", {4}, 1, 4}}, {}), Error);
}

TEST_CASE("the layout hash is pinned, and covers names, shapes and codec") {
    const auto tensors = packed({{"w", {128, 96}}, {"n", {130}}});
    const Digest hash = make_layout(tensors, {}).hash;
    ByteWriter bytes;
    bytes.put_bytes(as_bytes("templar.cpp/layout/1"));
    bytes.put<uint8_t>(0);
    for (int32_t value : {32, 64, 8}) bytes.put(value);
    bytes.put<uint8_t>(0);
    bytes.put<uint32_t>(2);
    bytes.put<uint32_t>(1);
    bytes.put_bytes(as_bytes("w"));
    bytes.put<uint32_t>(2);
    bytes.put<int64_t>(128);
    bytes.put<int64_t>(96);
    for (int32_t value : {64, 48, 32}) bytes.put(value);
    bytes.put<uint32_t>(1);
    bytes.put_bytes(as_bytes("n"));
    bytes.put<uint32_t>(1);
    bytes.put<int64_t>(130);
    for (int32_t value : {1, 26, 26}) bytes.put(value);
    CHECK(hash == sha256(bytes.bytes()));

    CHECK(hash != make_layout(packed({{"v", {128, 96}}, {"n", {130}}}), {}).hash);
    CHECK(hash != make_layout(packed({{"w", {96, 128}}, {"n", {130}}}), {}).hash);
    CHECK(hash != make_layout(packed({{"w", {128, 96}}, {"n", {1, 130}}}), {}).hash);
    CHECK(hash != make_layout(tensors, {.k = 31}).hash);
    CHECK(hash != make_layout(tensors, {.chunk_edge = 32}).hash);
    CHECK(hash != make_layout(tensors, {.code_bits = 4}).hash);
}

TEST_CASE("payload_fault accepts well-formed payloads and refuses every other length") {
    for (int code_bits : {8, 4, 2, 1}) {
        const Layout layout = small_layout(code_bits);
        const Bytes payload = random_payload(layout, "valid");
        CHECK(payload_fault(layout, payload) == "");
        check_decodes(layout, payload);
        CHECK(payload_fault(layout, Bytes(payload.size())) != "");  // indices are not ascending
        for (size_t length = 0; length < payload.size(); ++length)
            CHECK(payload_fault(layout, ByteSpan(payload).first(length)) != "");
        for (size_t extra : {1, 2, 1000}) {
            Bytes longer = payload;
            longer.resize(payload.size() + extra);
            CHECK(payload_fault(layout, longer) != "");
        }
    }
}

TEST_CASE("every flipped bit is a fault or another payload that decodes") {
    for (int code_bits : {8, 4, 2, 1}) {
        const Layout layout = small_layout(code_bits);
        const Bytes payload = random_payload(layout, "flip");
        int refused = 0;
        for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
            Bytes flipped = payload;
            flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
            if (payload_fault(layout, flipped) == "")
                check_decodes(layout, flipped);
            else
                ++refused;
        }
        CHECK(refused > 50);
    }
}

TEST_CASE("payload_fault is total on arbitrary bytes") {
    CounterRng rng(sha256(as_bytes("noise")));
    const Layout layout = small_layout(4);
    for (int trial = 0; trial < 2000; ++trial) {
        Bytes noise(trial % 4 == 0 ? rng.below(2 * layout.payload_bytes) : layout.payload_bytes);
        for (uint8_t& byte : noise) byte = static_cast<uint8_t>(rng.next_u32());
        if (payload_fault(layout, noise) == "") check_decodes(layout, noise);
    }
}

TEST_CASE("payload_fault names tensor, chunk, what was expected and what was found") {
    const Layout layout = make_layout(packed({{"w", {6, 10}}}), {.k = 3, .chunk_edge = 5, .code_bits = 2});
    const TensorLayout& w = layout.tensors[0];  // 4 chunks of 3 × 5: 4-bit indices below 15, 24 bits of codes
    const Bytes valid = random_payload(layout, "reasons");
    REQUIRE(payload_fault(layout, valid) == "");
    const auto fault = [&](auto change) {
        Bytes payload = valid;
        change(sparse_out(w, payload));
        return payload_fault(layout, payload);
    };
    CHECK(fault([](SparseOut out) { put_bits(out.indices, 5, 4, 15); }) ==
          "w, chunk 1, value 2: expected an index below 15, found 15");
    CHECK(fault([](SparseOut out) {
              put_bits(out.indices, 3, 4, 7);
              put_bits(out.indices, 4, 4, 7);
          }) == "w, chunk 1, value 1: expected an index above 7, found 7");
    CHECK(fault([](SparseOut out) { put_bits(out.indices, 8, 4, 3); }) ==
          "w, chunk 2, value 2: scale byte 0 expects index 2, found 3");
    CHECK(fault([](SparseOut out) { put_bits(out.codes, 7, 2, 1); }) ==
          "w, chunk 2, value 1: scale byte 0 expects code 0, found 1");
    CHECK(fault([](SparseOut out) { out.base_exponent[1] = 0x7f; }) ==
          "w: expected a base exponent from -190 to 94, found 32728");
    CHECK(fault([&](SparseOut out) {
              for (int64_t chunk = 0; chunk < 4; ++chunk) {
                  out.scales[chunk] = 0;
                  for (int i = 0; i < 3; ++i) {
                      put_bits(out.indices, chunk * 3 + i, 4, static_cast<uint32_t>(i));
                      put_bits(out.codes, chunk * 3 + i, 2, 0);
                  }
              }
          }) == "w: a tensor of zeros expects base exponent 0, found -40");

    const Layout padded = make_layout(packed({{"v", {9}}}), {.k = 3, .chunk_edge = 9, .code_bits = 2});
    Bytes payload = random_payload(padded, "padding");
    REQUIRE(payload_fault(padded, payload) == "");
    payload[static_cast<size_t>(padded.tensors[0].codes)] |= 0x80;
    CHECK(payload_fault(padded, payload) == "v: expected zero bits after the last code, found others");
    payload[static_cast<size_t>(padded.tensors[0].codes)] &= 0x3f;
    payload.back() |= 0x10;
    CHECK(payload_fault(padded, payload) == "v: expected zero bits after the last index, found others");
}

TEST_CASE("decode_chunk gives code·s/2") {
    const Layout layout = make_layout(packed({{"w", {4}}}), {.k = 2, .chunk_edge = 4, .code_bits = 8});
    // X = -3, x = 2, m = 5: s = 13·2^-1. Codes: q 3 positive, q 127 negative; indices 1 and 3 of two bits.
    const Bytes payload = {0xfd, 0xff, 2 << 3 | 5, 3 << 1, 0xff, 1 | 3 << 2};
    REQUIRE(payload_fault(layout, payload) == "");
    const auto kept = decode_chunk(sparse_in(layout.tensors[0], payload), layout.tensors[0].grid, 0);
    CHECK(kept[0].index == 1);
    CHECK(kept[0].code == 7);
    CHECK(kept[0].value == 7 * 6.5 / 2);
    CHECK(kept[1].index == 3);
    CHECK(kept[1].code == -255);
    CHECK(kept[1].value == -255 * 6.5 / 2);
    CHECK_THROWS_AS(decode_chunk(sparse_in(layout.tensors[0], payload), layout.tensors[0].grid, 1), Error);
    CHECK_THROWS_AS(sparse_in(layout.tensors[0], ByteSpan(payload).first(5)), Error);
}

TEST_CASE("index_overlap is 1 for a copy, 0 for independent choice, and leaves out chunks that say nothing") {
    const Layout layout = make_layout(packed({{"w", {64, 1024}}, {"n", {30}}}), {.k = 32, .chunk_edge = 16});
    const Bytes a = random_payload(layout, "a"), b = random_payload(layout, "b");
    CHECK(index_overlap(layout, a, a) == doctest::Approx(1));
    CHECK(index_overlap(layout, a, b) < 0.03);  // 32 of 256 by chance: expected 0, deviation about 0.003
    CHECK(index_overlap(layout, a, b) == index_overlap(layout, b, a));

    // Half of the chunks that count copied: every second one is written over.
    Bytes half = a;
    const TensorLayout& w = layout.tensors[0];
    int counted = 0, copied = 0;
    for (int64_t chunk = 0; chunk < w.grid.chunks(); ++chunk) {
        if (sparse_in(w, a).scales[chunk] == 0) continue;
        ++counted;
        if (chunk % 2 == 0) {
            ++copied;
            continue;
        }
        for (int64_t i = chunk * 32; i < chunk * 32 + 32; ++i)
            put_bits(sparse_out(w, half).indices, i, 8, packed_field(sparse_in(w, b).indices, i, 8));
    }
    CHECK(index_overlap(layout, a, half) == doctest::Approx(1.0 * copied / counted).epsilon(0.05));

    // Chunks that are sent whole, or are zero for one of the two, tell nothing.
    const Layout whole = make_layout(packed({{"n", {30}}}), {});
    CHECK(index_overlap(whole, random_payload(whole, "a"), random_payload(whole, "a")) == 0);
    const Layout single = make_layout(packed({{"w", {16, 16}}}), {});
    Bytes zero = random_payload(single, "zero");
    sparse_out(single.tensors[0], zero).scales[0] = 0;
    CHECK(index_overlap(single, random_payload(single, "zero"), zero) == 0);
}
