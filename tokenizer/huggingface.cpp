// The files beside a model from which Hugging Face's AutoTokenizer makes a tokenizer.
#include "base/file.h"
#include "tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

namespace templar {

void write_huggingface_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder, int64_t max_length) {
    using nlohmann::ordered_json;
    ordered_json special = ordered_json::object();
    if (tokenizer.begin_token() >= 0) special["bos_token"] = tokenizer.token_text(tokenizer.begin_token());
    if (tokenizer.end_token() >= 0) special["eos_token"] = tokenizer.token_text(tokenizer.end_token());
    ordered_json config = special;
    config["clean_up_tokenization_spaces"] = false;  // else decoding changes a text: " ." becomes "."
    config["model_max_length"] = max_length;
    config["tokenizer_class"] = "PreTrainedTokenizerFast";  // what tokenizer.json says, and nothing added to it
    std::filesystem::create_directories(folder);
    tokenizer.save(folder / "tokenizer.json");
    write_file(folder / "tokenizer_config.json", as_bytes(config.dump(2) + "\n"));
    write_file(folder / "special_tokens_map.json", as_bytes(special.dump(2) + "\n"));
}

}  // namespace templar
