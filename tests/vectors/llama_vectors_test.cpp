// The `model` and `train` sections of llama.json: whole models, in float32.
#include "engine/model/llama.h"
#include "engine/optim/adamw.h"
#include "tests/vectors/generator.h"
#include "tests/vectors/vectors.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <map>

using namespace templar;
using namespace templar::vectors;
using test::flat, test::values;
using nlohmann::json;

namespace {

LlamaConfig config_of(const json& c) {
    return {.vocab_size = c.at("vocab_size"),
            .hidden_size = c.at("hidden_size"),
            .intermediate_size = c.at("intermediate_size"),
            .layers = c.at("num_hidden_layers"),
            .heads = c.at("num_attention_heads"),
            .kv_heads = c.at("num_key_value_heads"),
            .head_dim = c.at("head_dim"),
            .rms_norm_eps = c.at("rms_norm_eps"),
            .rope_theta = c.at("rope_theta"),
            .tie_word_embeddings = c.at("tie_word_embeddings")};
}

// The flat arena, each tensor generated from its spec and found by its name.
std::vector<float> weights_of(const json& specs, const std::vector<Parameter>& parameters) {
    REQUIRE(specs.size() == parameters.size());
    std::vector<float> arena(static_cast<size_t>(parameters.back().offset + parameters.back().numel));
    for (const json& spec : specs) {
        const auto found =
            std::find_if(parameters.begin(), parameters.end(),
                         [&](const Parameter& parameter) { return parameter.name == spec.at("name"); });
        REQUIRE_MESSAGE(found != parameters.end(), spec.at("name"));
        REQUIRE(found->shape == spec.at("shape").get<std::vector<int64_t>>());
        const std::vector<float> values = generate(spec);
        for (size_t i = 0; i < spec.at("head").size(); ++i)
            REQUIRE(values[i] == spec.at("head")[i].get<float>());
        std::copy(values.begin(), values.end(), arena.begin() + found->offset);
    }
    return arena;
}

std::span<const float> tensor_of(std::span<const float> arena, const Parameter& parameter) {
    return arena.subspan(static_cast<size_t>(parameter.offset), static_cast<size_t>(parameter.numel));
}

std::vector<int32_t> flatten(const json& rows) {
    std::vector<int32_t> flat;
    for (const json& row : rows)
        for (const json& value : row) flat.push_back(value);
    return flat;
}

double mean_loss(std::span<const float> losses, std::span<const int32_t> labels) {
    double sum = 0, counted = 0;
    for (size_t i = 0; i < labels.size(); ++i)
        if (labels[i] >= 0) sum += losses[i], ++counted;
    return sum / counted;
}

int64_t counted_labels(std::span<const int32_t> labels) {
    return std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label >= 0; });
}

// Collects what an Observer sees under the vectors' names; packed tensors are taken apart.
class Recorder {
  public:
    explicit Recorder(const LlamaConfig& config) : config_(config) {}

    void operator()(std::string_view name, int64_t layer, const Tensor& t) {
        const bool gradient = name.starts_with("d.");
        if (gradient) name.remove_prefix(2);
        auto& into = gradient ? gradients : activations;
        const std::string prefix = layer < 0 ? "" : fmt::format("layers.{}.", layer);
        auto part = [&](const std::string& part_name, int64_t row_size, int64_t begin, int64_t count) {
            std::vector<float>& out = into[prefix + part_name];
            for (int64_t row = 0; row < t.numel() / row_size; ++row)
                out.insert(out.end(), t.f32() + row * row_size + begin,
                           t.f32() + row * row_size + begin + count);
        };
        const int64_t query = config_.heads * config_.head_dim, key = config_.kv_heads * config_.head_dim;
        const int64_t row = query + 2 * key, F = config_.intermediate_size;
        if (name.starts_with("qkv")) {
            const std::string suffix(name.substr(3));
            part("q" + suffix, row, 0, query);
            part("k" + suffix, row, query, key);
            part(gradient || suffix.empty() ? "v" : "v" + suffix, row, query + key, key);
        } else if (name == "gate_up") {
            part("gate", 2 * F, 0, F);
            part("up", 2 * F, F, F);
        } else {
            part(std::string(name), t.numel(), 0, t.numel());
        }
    }

    std::map<std::string, std::vector<float>> activations, gradients;

  private:
    LlamaConfig config_;
};

void check_intermediates(const std::map<std::string, std::vector<float>>& found, const json& expected,
                         const json& limits, uint64_t probe_seed) {
    for (const json& sketch : expected) {
        const std::string name = sketch.at("name");
        INFO(name);
        REQUIRE(found.contains(name));
        CHECK(sketch_fault(found.at(name), sketch, {.value = limits.at("value"), .norm = limits.at("norm")},
                           probe_seed) == "");
    }
}

void check_model(Device& device, const json& c, const json& limits, uint64_t probe_seed) {
    const LlamaConfig config = config_of(c.at("config"));
    const std::vector<Parameter> parameters = llama_parameters(config);
    const std::vector<float> params = weights_of(c.at("params"), parameters);
    const std::vector<int32_t> tokens = flatten(c.at("input_ids")), labels = flatten(c.at("labels"));
    const int64_t counted = counted_labels(labels);
    REQUIRE(counted == c.at("counted"));

    Llama model(device, config, c.at("batch"), c.at("seq"), Pass::training);
    std::vector<float> grads(params.size()), losses(tokens.size()), losses_only(tokens.size());
    std::vector<float> logits(tokens.size() * static_cast<size_t>(config.vocab_size));
    Recorder recorder(config);
    model.observe(std::ref(recorder));
    const float scale = 1.0f / static_cast<float>(counted);
    std::ranges::copy(model.forward_backward(flat(params), flat(grads), tokens, labels, scale).wait(), losses.begin());
    model.observe({});
    std::ranges::copy(model.losses(flat(params), tokens, labels).wait(), losses_only.begin());
    model.logits(flat(params), tokens, logits);

    CHECK(std::abs(mean_loss(losses, labels) - c.at("loss").get<double>()) <= limits.at("loss"));
    const auto exact_losses = c.at("token_losses").get<std::vector<double>>();
    CHECK(largest_error(losses, exact_losses, 1.0) <= limits.at("token_loss"));
    CHECK(largest_error(losses_only, exact_losses, 1.0) <= limits.at("token_loss"));
    const json& logit_limits = limits.at("logits");
    CHECK(sketch_fault(logits, c.at("logits"),
                       {.value = logit_limits.at("value"), .norm = logit_limits.at("norm")},
                       probe_seed) == "");

    double squares = 0;
    for (float grad : grads) squares += static_cast<double>(grad) * grad;
    const double grad_norm = c.at("grad_norm");
    CHECK(std::abs(std::sqrt(squares) - grad_norm) <= limits.at("grad_norm").get<double>() * grad_norm);
    REQUIRE(c.at("grads").size() == parameters.size());
    for (const Parameter& parameter : parameters) {
        INFO(parameter.name);
        const json& grad_limits = limits.at("grads");
        const Tolerance tolerance{.value = grad_limits.at("value"),
                                  .norm = grad_limits.at("norm"),
                                  .zero = limits.at("zero_grad").get<double>() * grad_norm};
        CHECK(sketch_fault(tensor_of(grads, parameter), c.at("grads").at(parameter.name), tolerance,
                           probe_seed) == "");
    }
    if (c.contains("activations"))
        check_intermediates(recorder.activations, c.at("activations"), limits.at("activations"), probe_seed);
    if (c.contains("activation_grads"))
        check_intermediates(recorder.gradients, c.at("activation_grads"), limits.at("activation_grads"),
                            probe_seed);
}

void check_training(Device& device, const json& c, const json& limits, uint64_t probe_seed) {
    const LlamaConfig config = config_of(c.at("config"));
    const std::vector<Parameter> parameters = llama_parameters(config);
    std::vector<float> params = weights_of(c.at("params"), parameters);
    const json& o = c.at("optimizer");
    AdamW optimizer(device, parameters,
                    {.beta1 = o.at("beta1"),
                     .beta2 = o.at("beta2"),
                     .eps = o.at("eps"),
                     .weight_decay = o.at("weight_decay"),
                     .clip = o.at("clip")});
    const auto decayed = c.at("decayed").get<std::vector<std::string>>();
    for (const Parameter& parameter : parameters)
        REQUIRE((parameter.shape.size() > 1) ==
                (std::find(decayed.begin(), decayed.end(), parameter.name) != decayed.end()));

    Llama model(device, config, c.at("batch"), c.at("seq"), Pass::training);
    double rates = 0;
    for (const json& step : c.at("steps")) {
        const std::vector<int32_t> tokens = flatten(step.at("input_ids")),
                                   labels = flatten(step.at("labels"));
        std::vector<float> grads(params.size()), losses(tokens.size());
        const float scale = 1.0f / static_cast<float>(counted_labels(labels));
        std::ranges::copy(model.forward_backward(flat(params), flat(grads), tokens, labels, 1.0f).wait(), losses.begin());
        const double norm = optimizer.step(flat(params), {}, flat(grads), step.at("lr"), scale);
        CHECK(std::abs(mean_loss(losses, labels) - step.at("loss").get<double>()) <= limits.at("loss"));
        const double expected_norm = step.at("grad_norm");
        CHECK(std::abs(norm - expected_norm) <= limits.at("grad_norm").get<double>() * expected_norm);
        rates += step.at("lr").get<double>();
        for (const Parameter& parameter : parameters) {
            INFO(parameter.name);
            const Tolerance tolerance{.value = limits.at("param").at("value"),
                                      .norm = limits.at("param").at("norm"),
                                      .value_scale = rates,
                                      .norm_scale = rates * std::sqrt(static_cast<double>(parameter.numel))};
            CHECK(sketch_fault(tensor_of(params, parameter), step.at("params").at(parameter.name), tolerance,
                               probe_seed) == "");
        }
    }
    const json& moment = limits.at("moment");
    const Tolerance tolerance{.value = moment.at("value"), .norm = moment.at("norm")};
    for (const Parameter& parameter : parameters) {
        INFO(parameter.name);
        CHECK(sketch_fault(tensor_of(values(optimizer.m()), parameter), c.at("final_m").at(parameter.name), tolerance,
                           probe_seed) == "");
        CHECK(sketch_fault(tensor_of(values(optimizer.v()), parameter), c.at("final_v").at(parameter.name), tolerance,
                           probe_seed) == "");
    }
}

}  // namespace

TEST_CASE("models of llama.json: loss, logits, every gradient and activation") {
    for_each_file("llama", [](const json& file) {
        REQUIRE(!file.at("model").empty());
        for (Device* device : runnable_devices())
            for (const json& c : file.at("model")) {
                INFO(device->description() << ": " << c.at("id"));
                check_model(*device, c, file.at("tolerance").at("float32"), file.at("probe_seed"));
            }
    });
}

TEST_CASE("training runs of llama.json: five AdamW steps") {
    for_each_file("llama", [](const json& file) {
        REQUIRE(!file.at("train").empty());
        for (Device* device : runnable_devices())
            for (const json& c : file.at("train")) {
                INFO(device->description() << ": " << c.at("id"));
                check_training(*device, c, file.at("tolerance").at("float32").at("train"),
                               file.at("probe_seed"));
            }
    });
}
