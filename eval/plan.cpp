#include "eval/evaluate.h"
#include "eval/text.h"
#include "tokenizer/shards.h"

#include <algorithm>

namespace templar {

namespace {

Item item_of(const Question& question, int64_t i, const Tokenizer& tokenizer, const RequestRules& rules) {
    Item item{
        .i = i, .requests = {}, .gold = question.gold, .characters = {}, .bytes = {}, .subject = question.subject};
    for (size_t answer = 0; answer < question.answers(); ++answer)
        item.requests.push_back(
            make_request(tokenizer, rules, question.context(answer), question.continuation(answer)));
    for (const std::string& choice : question.choices) {
        item.characters.push_back(characters(choice));
        item.bytes.push_back(std::ssize(choice));
    }
    return item;
}

// The same error, beginning with the row it is about.
template <class Function>
auto about(const Row& row, Function&& function) {
    try {
        return function();
    } catch (const Error& error) {
        row.refuse(error.what());
    }
}

void add_document(Workload& work, std::string_view document, const Tokenizer& tokenizer, const RequestRules& rules) {
    for (Request& window : make_windows(tokenizer, rules, document, work.overlap)) {
        Item item;
        item.i = std::ssize(work.items);
        item.requests.push_back(std::move(window));
        work.items.push_back(std::move(item));
    }
    ++work.documents;
    work.words += words(document);
    work.bytes += std::ssize(document);
}

}  // namespace

std::filesystem::path find_data(const Task& task, const std::filesystem::path& folder) {
    std::string names;
    for (const std::string_view name : task.files) {
        if (std::filesystem::exists(folder / name)) return folder / name;
        names += fmt::format("{}{}", names.empty() ? "" : " or ", name);
    }
    fail(ExitCode::input,
         "{}: {} has no {} (docs/evaluation.md says where to get it; --file {}=PATH names another file)", task.name,
         folder.string(), names, task.name);
}

Workload plan_task(const Task& task, const std::filesystem::path& file, int64_t limit, const Tokenizer& tokenizer,
                   const RequestRules& rules) {
    Workload work{.name = std::string(task.name), .task = &task, .file = {}, .items = {}};
    std::filesystem::path labels;
    if (!task.labels.empty()) labels = file.parent_path() / (file.stem().string() + std::string(task.labels));
    if (!std::filesystem::exists(labels)) labels.clear();
    std::map<std::string, int64_t> taken;  // by subject
    int64_t i = 0;
    work.file = for_each_row(file, labels, [&](const Row& row) {
        const Question question = task.question(row);
        if (limit == 0 || taken[question.subject]++ < limit)
            work.items.push_back(about(row, [&] { return item_of(question, i, tokenizer, rules); }));
        ++i;
    });
    return work;
}

Workload plan_text(const std::filesystem::path& file, int64_t limit, int64_t overlap, const Tokenizer& tokenizer,
                   const RequestRules& rules) {
    Workload work{.name = "perplexity " + file.string(), .task = nullptr, .file = {}, .items = {}};
    work.overlap = overlap;
    const auto wanted = [&] { return limit == 0 || work.documents < limit; };
    if (file.extension() == ".jsonl") {
        work.file = for_each_row(file, {}, [&](const Row& row) {
            const std::string text = row.text("text");
            if (wanted()) about(row, [&] { return add_document(work, text, tokenizer, rules), 0; });
        });
    } else {
        const MappedFile text(file);
        check_text(as_text(text.bytes()), file.string());
        work.file = {.path = file, .hash = sha256(text.bytes()), .rows = 0};
        for (const std::string_view document : split_documents(as_text(text.bytes())))
            if (wanted()) add_document(work, document, tokenizer, rules);
    }
    if (work.items.empty()) fail(ExitCode::input, "{} has nothing but white space, expected text", file.string());
    return work;
}

int64_t longest_input(std::span<const Workload> works) {
    int64_t longest = 0;
    for (const Workload& work : works)
        for (const Item& item : work.items)
            for (const Request& request : item.requests) longest = std::max(longest, std::ssize(request.inputs()));
    return longest;
}

}  // namespace templar
