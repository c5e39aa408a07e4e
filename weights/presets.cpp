#include "weights/presets.h"

#include "base/error.h"

namespace templar {

const std::vector<Preset>& presets() {
    static const std::vector<Preset> all = {
        {"tiny",
         "0.15 M parameters: tests",
         {.vocab_size = 512,
          .hidden_size = 64,
          .intermediate_size = 160,
          .layers = 2,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 16},
         64},
        {"demo",
         "0.9 M parameters: a whole swarm on a laptop",
         {.vocab_size = 1024,
          .hidden_size = 128,
          .intermediate_size = 352,
          .layers = 4,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 32,
          .tie_word_embeddings = true},
         128},
        {"llama-110m",
         "110 M parameters, of the size of GPT-2 small",
         {.vocab_size = 32000,
          .hidden_size = 768,
          .intermediate_size = 2048,
          .layers = 12,
          .heads = 12,
          .kv_heads = 12,
          .head_dim = 64,
          .tie_word_embeddings = true},
         1024},
        {"smollm2-135m",
         "135 M parameters: SmolLM2's shape",
         {.vocab_size = 49152,
          .hidden_size = 576,
          .intermediate_size = 1536,
          .layers = 30,
          .heads = 9,
          .kv_heads = 3,
          .head_dim = 64,
          .rms_norm_eps = 1e-5f,
          .rope_theta = 100000.0f,
          .tie_word_embeddings = true},
         8192},
        {"tinyllama",
         "1.1 B parameters: TinyLlama's shape",
         {.vocab_size = 32000,
          .hidden_size = 2048,
          .intermediate_size = 5632,
          .layers = 22,
          .heads = 32,
          .kv_heads = 4,
          .head_dim = 64,
          .rms_norm_eps = 1e-5f},
         2048},
        {"templar-1b",
         "1.2 B parameters: the original network's model",
         {.vocab_size = 32000,
          .hidden_size = 2048,
          .intermediate_size = 8192,
          .layers = 16,
          .heads = 8,
          .kv_heads = 8,
          .head_dim = 256},
         2048},
    };
    return all;
}

const Preset& find_preset(std::string_view name) {
    std::string names;
    for (const Preset& preset : presets()) {
        if (preset.name == name) return preset;
        names += names.empty() ? "" : ", ";
        names += preset.name;
    }
    fail(ExitCode::usage, "unknown preset {}: expected one of {}", name, names);
}

}  // namespace templar
