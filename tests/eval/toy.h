// A tokenizer and rows small enough to follow by hand.
#pragma once

#include "base/error.h"
#include "eval/task.h"
#include "tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

namespace templar::test {

// A token for each byte, one for the pair "ab", a begin and an end token.
class ToyTokenizer : public Tokenizer {
  public:
    static constexpr int32_t ab = 256, begin = 257, end = 258;
    explicit ToyTokenizer(bool special = true) : special_(special) {}

    using Tokenizer::decode, Tokenizer::encode;
    void encode(std::string_view text, std::vector<int32_t>& out) const override {
        for (size_t at = 0; at < text.size(); ++at) {
            const bool pair = text.substr(at).starts_with("ab");
            out.push_back(pair ? ab : static_cast<uint8_t>(text[at]));
            at += pair;
        }
    }
    std::string decode(std::span<const int32_t> ids) const override {
        std::string text;
        for (const int32_t id : ids) text += token_text(id);
        return text;
    }
    std::string token_text(int32_t id) const override {
        return id == ab ? "ab" : id == begin ? "<s>" : id == end ? "</s>" : std::string(1, static_cast<char>(id));
    }
    int64_t vocab_size() const override { return 259; }
    int32_t begin_token() const override { return special_ ? begin : -1; }
    int32_t end_token() const override { return special_ ? end : -1; }
    std::string to_json() const override { return "{}"; }

  private:
    bool special_;
};

// What the task makes of one row.
inline Question question_of(const char* task, const nlohmann::json& row) {
    return find_task(task).question(Row(row, "rows.jsonl line 1"));
}

// The message of the Error(input) that `function` throws, "" when it throws none.
template <class Function>
std::string refusal(Function&& function) {
    try {
        function();
    } catch (const Error& error) {
        return error.code() == ExitCode::input ? error.what() : "another exit code: " + std::string(error.what());
    }
    return "";
}

}  // namespace templar::test
