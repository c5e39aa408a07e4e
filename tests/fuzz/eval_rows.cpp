// Rows of benchmarks: <task's number><rows, a JSON object a line>; 'L' first: <labels, up to a zero byte> before the
// rows. 'F': a file of answers.
#include "eval/requests.h"
#include "eval/rows_file.h"
#include "eval/task.h"
#include "eval/text.h"
#include "tests/fuzz/memory_file.h"
#include "tokenizer/bpe.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

const Tokenizer& bytes_as_tokens() {
    static const ByteLevelBpe tokenizer = [] {
        std::vector<std::string> tokens;
        for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
        tokens.emplace_back("<|endoftext|>");
        return ByteLevelBpe(std::move(tokens), {}, "<|endoftext|>");
    }();
    return tokenizer;
}

void judge(const Question& question) {
    require(question.gold >= 0 && question.gold < std::ssize(question.choices), "the right answer is one of them");
    require(question.answers() == question.choices.size(), "every choice has a continuation");
    const RequestRules rules{.length = 64, .prefix = 256, .bos = false};
    for (size_t k = 0; k < question.answers(); ++k) {
        const std::string &context = question.context(k), &continuation = question.continuation(k);
        require(trailing_space(strip(context)) == 0 && strip(strip(context)) == strip(context),
                "what is stripped is stripped");
        require(characters(capitalize(context)) == characters(context), "a letter becomes one letter");
        const auto request = accepted([&] { return make_request(bytes_as_tokens(), rules, context, continuation); });
        if (!request) continue;
        require(std::ssize(request->tokens) <= rules.length + 1 && request->scored >= 1 &&
                    request->scored < std::ssize(request->tokens) &&
                    request->scored <= request->context + request->scored,
                "a request fits the model and scores something");
    }
}

void rows_of(Input& input, const Task& task, std::string_view labels) {
    const std::string_view rows = input.rest_text();
    int64_t count = 0;
    refused([&] {
        for_each_row(rows, labels, "rows", [&](const Row& row) {
            ++count;
            judge(task.question(row));
        });
    });
    require(count <= std::ssize(rows), "a row has bytes");
}

void file_of_answers(ByteSpan bytes) {
    const MemoryFile memory(bytes);
    const nlohmann::json header = {{"model", "m"}};
    const auto file = accepted([&] { return std::make_unique<RowsFile>(memory.path(), header); });
    if (!file) return;
    refused([&] { (*file)->begin("piqa", {{"version", 1}}); });
    (*file)->find("piqa", 0);
    const std::string again = read_text_file(memory.path(), 1 << 20);
    require(again.ends_with('\n') && again.starts_with("{"), "a file of answers is whole lines");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    uint8_t form = input.number();
    if (form == 'F') return file_of_answers(input.rest()), 0;
    std::string labels;
    if (form == 'L') {
        while (const uint8_t byte = input.number()) labels += static_cast<char>(byte);
        form = input.number();
    }
    const std::span<const Task> tasks = all_tasks();
    rows_of(input, tasks[form % tasks.size()], labels);
    return 0;
}
