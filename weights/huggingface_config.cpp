// config.json, the model's description: only what changes a logit is read, and what this engine cannot do is refused.
#include "weights/huggingface.h"

#include "base/error.h"
#include "base/file.h"
#include "base/strict_json.h"

#include <nlohmann/json.hpp>

#include <cstdlib>

namespace templar {

namespace {

using nlohmann::json;

constexpr int64_t max_config_bytes = 1 << 20;
constexpr int64_t largest_size = int64_t{1} << 40;  // check_config() says what can be

// The fields of an object that others write: unknown ones are passed over, null is the same as absent.
class Config {
  public:
    Config(const json& in, std::string what) : in_(in), what_(std::move(what)) {
        if (!in_.is_object()) fail(ExitCode::input, "{}: expected a JSON object", what_);
    }

    const json* find(const char* key) const {
        const auto found = in_.find(key);
        return found == in_.end() || found->is_null() ? nullptr : &*found;
    }
    bool has(const char* key) const { return in_.contains(key); }
    int64_t integer(const char* key) const {
        if (!find(key)) fail(ExitCode::input, "{}: {} is missing", what_, key);
        return integer(key, 0);
    }
    int64_t integer(const char* key, int64_t otherwise) const {
        const json* value = find(key);
        if (!value) return otherwise;
        if (!value->is_number_unsigned() || value->get<uint64_t>() > uint64_t{largest_size})
            wrong(key, "a whole number");
        return value->get<int64_t>();
    }
    double number(const char* key, double otherwise) const {
        const json* value = find(key);
        if (!value) return otherwise;
        if (!value->is_number()) wrong(key, "a number");
        return value->get<double>();
    }
    std::string text(const char* key, std::string otherwise) const {
        const json* value = find(key);
        if (!value) return otherwise;
        if (!value->is_string()) wrong(key, "a text");
        return value->get<std::string>();
    }
    bool flag(const char* key) const {
        const json* value = find(key);
        if (value && !value->is_boolean()) wrong(key, "true or false");
        return value && value->get<bool>();
    }
    // A token's id, the first of a list, -1 when there is none.
    int32_t token(const char* key, int64_t vocab_size) const {
        const json* value = find(key);
        if (value && value->is_array()) value = value->empty() ? nullptr : &value->front();
        if (!value || *value == -1) return -1;
        if (!value->is_number_unsigned() || value->get<uint64_t>() >= static_cast<uint64_t>(vocab_size))
            wrong(key, fmt::format("a token below vocab_size {}", vocab_size));
        return value->get<int32_t>();
    }
    void require(bool good, const char* key, std::string_view expected) const {
        if (!good) wrong(key, expected);
    }

  private:
    [[noreturn]] void wrong(const char* key, std::string_view expected) const {
        const json* value = find(key);
        const std::string found = value ? value->dump(-1, ' ', true, json::error_handler_t::replace) : "nothing";
        fail(ExitCode::input, "{}: {}: expected {}, found {}", what_, key, expected, found.substr(0, 100));
    }

    const json& in_;
    std::string what_;
};

constexpr const char* llama = "llama";
constexpr const char* mistral = "mistral";

void check_architecture(const Config& config) {
    const std::string type = config.text("model_type", "");
    config.require(type == llama || type == mistral, "model_type", "llama (or mistral)");
    if (const json* all = config.find("architectures"))
        for (const json& one : *all)
            config.require(one == "LlamaForCausalLM" || one == "LlamaModel" || one == "MistralForCausalLM" ||
                               one == "MistralModel",
                           "architectures", "LlamaForCausalLM (or MistralForCausalLM)");
    config.require(config.text("hidden_act", "silu") == "silu", "hidden_act", "silu");
    for (const char* key : {"attention_bias", "mlp_bias"})
        config.require(!config.flag(key), key, "false: no biases here");
    config.require(!config.find("quantization_config"), "quantization_config", "none: weights as F32, BF16 or F16");
}

// Transformers 4 and 5 differ in where it may stand, too.
void check_whole_rotation(const Config& config) {
    config.require(config.number("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor",
                   "1: all of a head turns");
}

// Files of Transformers 4 have rope_theta and rope_scaling, Transformers 5 puts both into rope_parameters.
double rope_theta(const Config& config, std::string_view what) {
    double theta = config.number("rope_theta", 10000.0);
    check_whole_rotation(config);
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
        const json* value = config.find(key);
        if (!value) continue;
        const Config rope(*value, fmt::format("{}: {}", what, key));
        for (const char* type : {"rope_type", "type"})
            rope.require(rope.text(type, "default") == "default", type, "default: no scaled rotary embedding here");
        // What no type explains would scale (factor), or name a base for each kind of layer.
        const bool typed = rope.find("rope_type") || rope.find("type");
        for (const auto& [field, setting] : value->items())
            if (field != "rope_theta" && field != "partial_rotary_factor" && (setting.is_object() || !typed))
                rope.require(setting.is_null(), field.c_str(),
                             "none without rope_type: no scaled rotary embedding here");
        check_whole_rotation(rope);
        const double inner = rope.number("rope_theta", theta);
        rope.require(!config.find("rope_theta") || inner == theta, "rope_theta", fmt::format("{} as outside", theta));
        theta = inner;
    }
    return theta;
}

// The window of attention must not cut off anything. Mistral's is 4096 where the key is missing.
void check_sliding_window(const Config& config, const std::string& type, int64_t seq) {
    const int64_t otherwise = type == mistral && !config.has("sliding_window") ? 4096 : seq;
    config.require(config.integer("sliding_window", otherwise) >= seq, "sliding_window",
                   fmt::format("null, or max_position_embeddings ({}) and more", seq));
}

}  // namespace

HuggingFaceConfig config_from_json(std::string_view text, std::string_view what) {
    const json parsed = parse_json(text, what);
    const Config config(parsed, std::string(what));
    check_architecture(config);
    HuggingFaceConfig out;
    LlamaConfig& model = out.model;
    model.vocab_size = config.integer("vocab_size");
    model.hidden_size = config.integer("hidden_size");
    model.intermediate_size = config.integer("intermediate_size");
    model.layers = config.integer("num_hidden_layers");
    model.heads = config.integer("num_attention_heads");
    model.kv_heads = config.integer("num_key_value_heads", model.heads);
    config.require(model.heads > 0, "num_attention_heads", "1 or more");
    if (!config.find("head_dim"))
        config.require(model.hidden_size % model.heads == 0, "hidden_size", "a multiple of num_attention_heads");
    model.head_dim = config.integer("head_dim", model.hidden_size / model.heads);
    model.rms_norm_eps = static_cast<float>(config.number("rms_norm_eps", 1e-6));
    model.rope_theta = static_cast<float>(rope_theta(config, what));
    model.tie_word_embeddings = config.flag("tie_word_embeddings");
    try {
        check_config(model);
    } catch (const Error& error) {
        fail(error.code(), "{}: {}", what, error.what());
    }
    out.seq = config.integer("max_position_embeddings", 2048);
    config.require(out.seq > 0, "max_position_embeddings", "1 or more");
    check_sliding_window(config, config.text("model_type", ""), out.seq);
    out.begin_token = config.token("bos_token_id", model.vocab_size);
    out.end_token = config.token("eos_token_id", model.vocab_size);
    return out;
}

std::string config_to_json(const HuggingFaceConfig& config, DType dtype) {
    // The shortest decimal number that is read back as the same float, as a person would write it.
    auto decimal = [](float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); };
    auto token = [](int32_t id) { return id < 0 ? json() : json(id); };
    const LlamaConfig& model = config.model;
    const nlohmann::ordered_json out = {
        {"architectures", {"LlamaForCausalLM"}},
        {"model_type", llama},
        {"vocab_size", model.vocab_size},
        {"hidden_size", model.hidden_size},
        {"intermediate_size", model.intermediate_size},
        {"num_hidden_layers", model.layers},
        {"num_attention_heads", model.heads},
        {"num_key_value_heads", model.kv_heads},
        {"head_dim", model.head_dim},
        {"max_position_embeddings", config.seq},
        {"rms_norm_eps", decimal(model.rms_norm_eps)},
        {"rope_theta", decimal(model.rope_theta)},
        {"rope_scaling", nullptr},
        {"hidden_act", "silu"},
        {"attention_bias", false},
        {"mlp_bias", false},
        {"tie_word_embeddings", model.tie_word_embeddings},
        {"bos_token_id", token(config.begin_token)},
        {"eos_token_id", token(config.end_token)},
        {"torch_dtype", dtype == DType::f32 ? "float32" : "bfloat16"},
    };
    return out.dump(2) + "\n";
}

HuggingFaceConfig load_config(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "config.json", generation = folder / "generation_config.json";
    HuggingFaceConfig config = config_from_json(read_text_file(path, max_config_bytes), path.string());
    if ((config.begin_token >= 0 && config.end_token >= 0) || !std::filesystem::exists(generation)) return config;
    const json parsed = parse_json(read_text_file(generation, max_config_bytes), generation.string());
    const Config tokens(parsed, generation.string());
    const int64_t vocab_size = config.model.vocab_size;
    if (config.begin_token < 0) config.begin_token = tokens.token("bos_token_id", vocab_size);
    if (config.end_token < 0) config.end_token = tokens.token("eos_token_id", vocab_size);
    return config;
}

}  // namespace templar
