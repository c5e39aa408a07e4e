#include "weights/huggingface.h"

#include "tests/weights/model_files.h"

using namespace templar;
using namespace templar::test;
using nlohmann::json;

namespace {

json minimal() {
    return {{"model_type", "llama"},   {"vocab_size", 100},        {"hidden_size", 64},
            {"intermediate_size", 96}, {"num_attention_heads", 8}, {"num_hidden_layers", 3}};
}

HuggingFaceConfig read(const json& config) {
    return config_from_json(config.dump(), "config.json");
}

}  // namespace

TEST_CASE("config.json: what is written is read as the same") {
    for (bool tied : {false, true}) {
        const HuggingFaceConfig config{.model = small_model(tied), .seq = 321, .begin_token = 1, .end_token = 39};
        CHECK(config_from_json(config_to_json(config, DType::bf16), "config.json") == config);
    }
    const HuggingFaceConfig config{.model = {.rms_norm_eps = 3.1415927e-7f, .rope_theta = 123456.789f}};
    const std::string text = config_to_json(config, DType::f32);
    CHECK(config_from_json(text, "config.json") == config);
    const json written = json::parse(text);
    CHECK(written["torch_dtype"] == "float32");
    CHECK(written["bos_token_id"].is_null());
    CHECK(json::parse(config_to_json({.model = small_model(true)}, DType::bf16))["rms_norm_eps"].dump() == "1e-05");
}

TEST_CASE("config.json: defaults are those of Transformers") {
    const HuggingFaceConfig config = read(minimal());
    const LlamaConfig expected{.vocab_size = 100,
                               .hidden_size = 64,
                               .intermediate_size = 96,
                               .layers = 3,
                               .heads = 8,
                               .kv_heads = 8,
                               .head_dim = 8,
                               .rms_norm_eps = 1e-6f,
                               .rope_theta = 10000.0f,
                               .tie_word_embeddings = false};
    CHECK(config.model == expected);
    CHECK(config.seq == 2048);
    CHECK(config.begin_token == -1);

    json nulls = minimal();
    for (const char* key : {"num_key_value_heads", "head_dim", "rope_scaling", "sliding_window", "bos_token_id"})
        nulls[key] = nullptr;
    CHECK(read(nulls) == config);
}

TEST_CASE("config.json: the places where the rotary embedding's base may stand") {
    json config = minimal();
    config["rope_theta"] = 500000;
    CHECK(read(config).model.rope_theta == 500000.0f);
    config["rope_scaling"] = {{"rope_type", "default"}};
    CHECK(read(config).model.rope_theta == 500000.0f);
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
    CHECK(read(config).model.rope_theta == 500000.0f);
    config["rope_parameters"]["rope_theta"] = 10000.0;
    CHECK(has(refusal([&] { read(config); }), "rope_parameters: rope_theta: expected 500000"));
    config.erase("rope_theta");
    CHECK(read(config).model.rope_theta == 10000.0f);
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
        json scaled = minimal();
        scaled[key] = {{"rope_type", "llama3"}, {"factor", 8.0}};
        CHECK(has(refusal([&] { read(scaled); }),
                  "rope_type: expected default: no scaled rotary embedding here, found \"llama3\""));
        scaled[key] = {{"type", "linear"}, {"factor", 2.0}};
        CHECK(has(refusal([&] { read(scaled); }), "type: expected default"));
        scaled[key] = {{"partial_rotary_factor", 0.5}};
        CHECK(has(refusal([&] { read(scaled); }), "partial_rotary_factor"));
        scaled[key] = {{"factor", 4.0}};
        CHECK(has(refusal([&] { read(scaled); }), "factor: expected none without rope_type"));
        scaled[key] = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 1e6}}}};
        CHECK(has(refusal([&] { read(scaled); }), "full_attention: expected none"));
        scaled[key] = {{"rope_type", "default"}, {"factor", nullptr}, {"original_max_position_embeddings", 2048}};
        CHECK(read(scaled).model.rope_theta == 10000.0f);
        scaled[key] = 3;
        CHECK(has(refusal([&] { read(scaled); }), "expected a JSON object"));
    }
}

TEST_CASE("config.json: the first of several end tokens") {
    json config = minimal();
    config["bos_token_id"] = 98;
    config["eos_token_id"] = {97, 96};
    CHECK(read(config).begin_token == 98);
    CHECK(read(config).end_token == 97);
    config["eos_token_id"] = json::array();
    CHECK(read(config).end_token == -1);
    for (const json& bad : {json(100), json(-2), json(1.5), json("2")}) {
        config["eos_token_id"] = bad;
        CHECK(has(refusal([&] { read(config); }), "eos_token_id: expected a token below vocab_size 100"));
    }
}

TEST_CASE("config.json: Mistral without a window that matters is Llama") {
    json config = minimal();
    config["model_type"] = "mistral";
    config["architectures"] = {"MistralForCausalLM"};
    config["sliding_window"] = nullptr;
    json llama = minimal();
    CHECK(read(config).model == read(llama).model);
    config["max_position_embeddings"] = 8192;
    config["sliding_window"] = 8191;
    CHECK(has(refusal([&] { read(config); }), "sliding_window: expected null, or max_position_embeddings (8192)"));
    config["sliding_window"] = 8192;
    CHECK(read(config).seq == 8192);
    config.erase("sliding_window");  // 4096
    CHECK(has(refusal([&] { read(config); }), "sliding_window"));
}

TEST_CASE("config.json: what this engine does not compute is refused by field") {
    const std::pair<const char*, json> wrong[] = {
        {"model_type", "qwen2"},
        {"model_type", nullptr},
        {"architectures", {"LlamaForSequenceClassification"}},
        {"hidden_act", "gelu"},
        {"attention_bias", true},
        {"mlp_bias", true},
        {"mlp_bias", "no"},
        {"quantization_config", {{"quant_method", "gptq"}}},
        {"vocab_size", nullptr},
        {"vocab_size", 0},
        {"vocab_size", -5},
        {"vocab_size", 1e30},
        {"hidden_size", 63},
        {"hidden_size", "64"},
        {"intermediate_size", 1.5},
        {"num_hidden_layers", uint64_t{1} << 63},
        {"num_attention_heads", 0},
        {"num_key_value_heads", 3},
        {"head_dim", 7},
        {"head_dim", 0},
        {"rms_norm_eps", -1},
        {"rms_norm_eps", "1e-5"},
        {"rope_theta", 0},
        {"partial_rotary_factor", 0.5},
        {"max_position_embeddings", 0},
        {"sliding_window", 5},
        {"tie_word_embeddings", 1},
    };
    for (const auto& [key, value] : wrong) {
        json config = minimal();
        config[key] = value;
        const std::string message = refusal([&config = config] { read(config); });
        CAPTURE(message);
        CHECK(message.starts_with("config.json: "));
        CHECK(has(message, key));
        CHECK(message.size() < 300);
    }
    for (const char* text : {"", "[]", "{", "null", "{\"a\":1,\"a\":2}", "{}"})
        CHECK(refusal([&] { config_from_json(text, "config.json"); }).starts_with("config.json: "));
    json huge = minimal();
    for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers"}) huge[key] = 1 << 20;
    CHECK(has(refusal([&] { read(huge); }), "parameters"));
}

TEST_CASE("generation_config.json: for tokens that config.json does not have") {
    const TemporaryFolder folder;
    json config = minimal();
    config["eos_token_id"] = 5;
    write_file(folder.path() / "config.json", as_bytes(config.dump()));
    CHECK(load_config(folder.path()).begin_token == -1);
    write_file(folder.path() / "generation_config.json", as_bytes(R"({"bos_token_id": 3, "eos_token_id": [7, 8]})"));
    CHECK(load_config(folder.path()).begin_token == 3);
    CHECK(load_config(folder.path()).end_token == 5);
    write_file(folder.path() / "generation_config.json", as_bytes("[]"));
    CHECK(has(refusal([&] { load_config(folder.path()); }), "generation_config.json: expected a JSON object"));
}
