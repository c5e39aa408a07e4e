// Model files made by hand, right and wrong.
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/temporary_folder.h"
#include "engine/model/config.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstring>

namespace templar::test {

// Grouped-query heads, sizes that no other size equals.
inline LlamaConfig small_model(bool tied) {
    return {.vocab_size = 40,
            .hidden_size = 24,
            .intermediate_size = 36,
            .layers = 2,
            .heads = 4,
            .kv_heads = 2,
            .head_dim = 8,
            .rms_norm_eps = 1e-5f,
            .rope_theta = 50000.0f,
            .tie_word_embeddings = tied};
}

inline std::vector<float> random_values(size_t count) {
    CounterRng rng(sha256(as_bytes("weights")));
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(rng.below(1 << 24)) * 0x1p-24f - 0.5f;
    return values;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// One tensor of a safetensors file of any kind.
struct RawTensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    Bytes bytes;
};

inline Bytes raw_safetensors(const std::vector<RawTensor>& tensors) {
    nlohmann::json header = nlohmann::json::object();
    Bytes data;
    for (const RawTensor& tensor : tensors) {
        const size_t begin = data.size();
        data.insert(data.end(), tensor.bytes.begin(), tensor.bytes.end());
        header[tensor.name] = {
            {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    ByteWriter writer;
    writer.put(uint64_t{text.size()});
    writer.put_bytes(as_bytes(text));
    writer.put_bytes(data);
    return writer.take();
}

inline Bytes bytes_of(std::span<const float> values) {
    const auto* data = reinterpret_cast<const uint8_t*>(values.data());
    return {data, data + values.size_bytes()};
}

// The tensors that a file of this model has, F32.
inline std::vector<RawTensor> raw_tensors(const LlamaConfig& config, std::span<const float> params) {
    std::vector<RawTensor> tensors;
    for (const Parameter& p : llama_parameters(config))
        tensors.push_back({p.name, "F32", p.shape,
                           bytes_of(params.subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.numel)))});
    return tensors;
}

// What the Error(input) of `call` says; "accepted" when there is none.
template <class Call>
std::string refusal(Call&& call) {
    try {
        call();
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "accepted";
}

inline bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace templar::test
