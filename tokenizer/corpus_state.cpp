#include "tokenizer/corpus_state.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <sys/stat.h>

namespace templar {

namespace {

constexpr std::string_view format_name = "templar.cpp corpus in the making, version 1";
constexpr std::string_view form_names[] = {"text", "jsonl", "document"};
constexpr int64_t any = INT64_MAX;
constexpr size_t most_files = 1 << 24, longest_name = 1 << 16;

void describe_file(JsonFields& f, ShardInfo& file) {
    f.text("file", file.file, 100);
    f.integer("tokens", file.tokens, 1, any);
    f.digest("sha256", file.hash);
    f.text("split", file.split, 10);
}

void describe(JsonFields& f, CorpusState& state) {
    std::string format(format_name);
    f.text("format", format, 100);
    f.require("format", format == format_name, fmt::format("\"{}\"", format_name));
    f.object("command", [&](JsonFields& g) {
        CorpusCommand& command = state.command;
        g.digest("tokenizer", command.tokenizer);
        g.text("field", command.field, longest_name);
        g.choice("separator", command.separator, separator_names);
        g.integer("shard_tokens", command.shard_tokens, 1, any);
        g.number("heldout_share", command.heldout_share, 0, 1);
        g.boolean("raw", command.raw);
    });
    f.objects("inputs", state.inputs, most_files, [](JsonFields& g, InputState& input) {
        std::string path = to_hex(as_bytes(input.path));  // a name need not be UTF-8
        g.text("path_hex", path, 2 * longest_name);
        input.path = as_text(from_hex(path, path.size() / 2, "path_hex"));
        g.choice("form", input.form, form_names);
        g.integer("bytes", input.bytes, -1, any);
        g.integer("modified_ns", input.modified_ns, INT64_MIN, any);
    });
    f.object("position", [&](JsonFields& g) {
        Position& position = state.position;
        g.integer("input", position.input, 0, std::ssize(state.inputs));
        g.integer("offset", position.offset, 0, any);
        g.integer("line", position.line, 1, any);
        g.boolean("in_document", position.in_document);
        g.boolean("at_line_start", position.at_line_start);
        g.bits("crc", position.crc);
    });
    f.boolean("encoded", state.encoded);
    f.integer("tokens", state.tokens, 0, any);
    f.integer("documents", state.documents, 0, any);
    f.integer("text_bytes", state.text_bytes, 0, any);
    f.objects("finished", state.finished, most_files, describe_file);
    f.objects("divided", state.divided, most_files, describe_file);
}

std::string shown(const InputState& input) {
    return fmt::format("{}{}", shown_path(input.path), input.form == Form::jsonl ? " (JSONL)" : "");
}

}  // namespace

InputState state_of(const Input& input) {
    InputState state{input.path, input.form, input_bytes(input)};
    struct stat info {};
    if (state.bytes >= 0 && ::stat(input.path.c_str(), &info) == 0)
        state.modified_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    return state;
}

std::string state_to_json(const CorpusState& state) {
    CorpusState copy = state;
    return write_json(
        "progress.json", [&](JsonFields& f) { describe(f, copy); }, 2);
}

CorpusState state_from_json(std::string_view json, std::string_view what) {
    CorpusState state;
    read_json(json, what, [&](JsonFields& f) { describe(f, state); });
    return state;
}

void check_same_command(const CorpusState& before, const CorpusState& now, const std::string& folder) {
    const auto check = [&](std::string_view what, const auto& then, const auto& given) {
        if (then == given) return;
        fail(ExitCode::input,
             "{} holds the unfinished work of another command: there {} is {}, here {}. Finish that one, or remove the "
             "folder "
             "to begin anew",
             folder, what, then, given);
    };
    const CorpusCommand &a = before.command, &b = now.command;
    check("the tokenizer's SHA-256", to_hex(a.tokenizer), to_hex(b.tokenizer));
    check("--field", a.field, b.field);
    check("--separator", separator_names[static_cast<size_t>(a.separator)],
          separator_names[static_cast<size_t>(b.separator)]);
    check("--raw", a.raw, b.raw);
    check("--shard-tokens", a.shard_tokens, b.shard_tokens);
    check("--heldout-share", a.heldout_share, b.heldout_share);
    check("the number of inputs", before.inputs.size(), now.inputs.size());
    for (size_t i = 0; i < now.inputs.size(); ++i) {
        const InputState &then = before.inputs[i], &given = now.inputs[i];
        check(fmt::format("input {}", i + 1), shown(then), shown(given));
        if (static_cast<int64_t>(i) < before.position.input && then != given)
            fail(ExitCode::input,
                 "{} has changed since it was encoded into {}: it had {} bytes, now {}, or another time of change. "
                 "Remove the "
                 "folder to begin anew",
                 given.path, folder, then.bytes, given.bytes);
    }
}

}  // namespace templar
