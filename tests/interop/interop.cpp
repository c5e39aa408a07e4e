// What the Python checks ask of this project: a random model, logits, token ids, questions.
//   interop random-model DIR VOCAB_SIZE     a grouped-query tied model, fp32, sharded
//   interop logits DIR IDS OUT LENGTH       of int32 ids in rows of LENGTH: fp32 (rows, LENGTH, vocabulary)
//   interop ids DIR TEXT OUT                int32 ids of a file's text
//   interop questions TASK FILE OUT         a line for each row: what eval asks, [[context, continuation], …], and gold
#include "base/error.h"
#include "base/file.h"
#include "engine/model/llama.h"
#include "eval/task.h"
#include "tokenizer/tokenizer.h"
#include "weights/huggingface.h"

#include <nlohmann/json.hpp>

#include <cstdio>

using namespace templar;

namespace {

constexpr int64_t max_bytes = 1 << 30;

template <class Value>
void write_values(const std::string& path, std::span<const Value> values) {
    write_file(path, {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()});
}

void write_random_model(const std::string& folder, int64_t vocab_size) {
    const HuggingFaceConfig config{.model = {.vocab_size = vocab_size,
                                             .hidden_size = 48,
                                             .intermediate_size = 80,
                                             .layers = 3,
                                             .heads = 6,
                                             .kv_heads = 2,
                                             .head_dim = 16,  // not hidden_size / heads
                                             .rms_norm_eps = 1e-5f,
                                             .rope_theta = 500000.0f,
                                             .tie_word_embeddings = true},
                                   .seq = 256};
    std::vector<float> params = genesis_weights(config.model, 7);
    for (float& value : params) value *= 2;  // norms that are not 1
    export_huggingface(folder, config, params, {.dtype = DType::f32, .shard_bytes = 40'000, .progress = {}});
}

void write_logits(const std::string& folder, const std::string& ids_path, const std::string& out, int64_t length) {
    const SavedModel saved = load_model(folder);
    const Bytes bytes = read_file(ids_path, max_bytes);
    std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
    std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int32_t));
    const std::unique_ptr<Device> device = cpu_device();
    Llama model(*device, saved.config, std::ssize(ids) / length, length, Pass::inference);
    DeviceArray weights(*device, DType::f32, std::ssize(saved.params));
    weights.upload(saved.params);
    std::vector<float> logits(ids.size() * static_cast<size_t>(saved.config.vocab_size));
    model.logits(weights.tensor(), ids, logits);
    write_values<float>(out, logits);
}

void write_questions(const std::string& task, const std::string& rows, const std::string& out) {
    std::string lines;
    for_each_row(rows, {}, [&](const Row& row) {
        const Question question = find_task(task).question(row);
        nlohmann::json asked = nlohmann::json::array();
        for (size_t answer = 0; answer < question.answers(); ++answer)
            asked.push_back({question.context(answer), question.continuation(answer)});
        lines += nlohmann::json{{"asked", asked}, {"gold", question.gold}}.dump() + "\n";
    });
    write_file(out, as_bytes(lines));
}

int run(const std::vector<std::string>& words) {
    if (words.size() == 3 && words[0] == "random-model")
        write_random_model(words[1], std::stoll(words[2]));
    else if (words.size() == 5 && words[0] == "logits")
        write_logits(words[1], words[2], words[3], std::stoll(words[4]));
    else if (words.size() == 4 && words[0] == "ids")
        write_values<int32_t>(words[3], load_tokenizer(words[1])->encode(read_text_file(words[2], max_bytes)));
    else if (words.size() == 4 && words[0] == "questions")
        write_questions(words[1], words[2], words[3]);
    else
        fail(ExitCode::usage, "see the first lines of interop.cpp");
    return 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run({words + 1, words + count});
    } catch (const Error& error) {
        std::fprintf(stderr, "interop: %s\n", error.what());
        return static_cast<int>(error.code());
    }
}
