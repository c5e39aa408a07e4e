// tokenize: trains a tokenizer, turns text into token shards and back, counts.
#include "base/file.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

namespace templar {

namespace {

namespace fs = std::filesystem;

struct Options {
    std::vector<std::string> files;
    std::string tokenizer, out;
    int64_t vocab_size = 0;
    ShardOptions shards;
    int64_t first = 0, count = 0;
};

void stop_when_asked() {
    if (stop_requested()) fail(ExitCode::interrupted, "stopped; files that were not finished are not there");
}

// The text files, mapped and checked, and the documents in them.
struct Texts {
    std::vector<MappedFile> files;
    std::vector<std::string_view> documents;
    int64_t bytes = 0;
};

Texts open_texts(const std::vector<std::string>& paths) {
    Texts texts;
    for (const std::string& path : paths) {
        const MappedFile& file = texts.files.emplace_back(path);
        const std::string_view text = as_text(file.bytes());
        check_text(text, path);
        stop_when_asked();
        const auto documents = split_documents(text);
        if (documents.empty()) fail(ExitCode::input, "{} has nothing but white space, expected text", path);
        texts.documents.insert(texts.documents.end(), documents.begin(), documents.end());
        texts.bytes += static_cast<int64_t>(text.size());
    }
    return texts;
}

double per(int64_t bytes, int64_t tokens) {
    return tokens > 0 ? static_cast<double>(bytes) / static_cast<double>(tokens) : 0.0;
}

int train(const Options& options) {
    const Texts texts = open_texts(options.files);
    std::unique_ptr<Progress> progress;
    std::string current;
    const auto report = [&](std::string_view stage, int64_t done, int64_t total) {
        stop_when_asked();
        if (stage != current) {
            progress.reset();
            current = stage;
            progress = stage == "count"
                           ? std::make_unique<Progress>("counting words", "B", static_cast<double>(total))
                           : std::make_unique<Progress>("merging", "tokens", static_cast<double>(total));
        }
        progress->update(static_cast<double>(done));
    };
    const ByteLevelBpe tokenizer = train_bpe(texts.documents, options.vocab_size, report);
    progress.reset();
    tokenizer.save(options.out);
    fmt::print("{}: {} tokens, trained on {}B in {} documents\n", options.out, tokenizer.vocab_size(),
               short_count(static_cast<double>(texts.bytes)), texts.documents.size());
    return 0;
}

int encode(Options options) {
    const fs::path folder = options.out;
    if (fs::exists(folder / "manifest.json"))
        fail(ExitCode::input,
             "{} holds a corpus already (manifest.json): remove that folder or choose another --out",
             options.out);
    const auto tokenizer = load_tokenizer(options.tokenizer);
    const Texts texts = open_texts(options.files);
    Manifest manifest;
    {
        Progress progress("encoding", "B", static_cast<double>(texts.bytes));
        options.shards.progress = [&](int64_t done, int64_t) {
            stop_when_asked();
            progress.update(static_cast<double>(done));
        };
        manifest = write_shards(*tokenizer, texts.documents, folder, options.shards);
    }
    int64_t total = 0;
    for (const ShardInfo& shard : manifest.shards) {
        fmt::print("{:<20} {:>12} tokens\n", shard.file, shard.tokens);
        total += shard.tokens;
    }
    fmt::print("{}: {} documents, {}B, {} tokens, {:.3f} bytes per token\n",
               (folder / "manifest.json").string(), texts.documents.size(),
               short_count(static_cast<double>(texts.bytes)), total, per(texts.bytes, total));
    return 0;
}

void print_bytes(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
        fail(ExitCode::storage,
             "cannot write the text to standard output: disk full, or its reader has gone");
}

int decode(const Options& options) {
    for (const std::string& path : options.files) {
        const fs::path beside = fs::path(path).parent_path() / "tokenizer.json";
        const auto tokenizer =
            load_tokenizer(options.tokenizer.empty() ? beside : fs::path(options.tokenizer));
        std::vector<int32_t> ids = read_shard(path, tokenizer->vocab_size());
        const auto size = static_cast<int64_t>(ids.size());
        if (options.first > size)
            fail(ExitCode::input, "{} has {} tokens, so --first {} is past its end", path, size,
                 options.first);
        const int64_t last =
            options.count > 0 && options.count < size - options.first ? options.first + options.count : size;
        // An end token stands on a line of its own, the form that `tokenize encode` reads.
        std::string text;
        for (int64_t i = options.first; i < last; ++i) {
            const int32_t id = ids[static_cast<size_t>(i)];
            const bool is_end = id == tokenizer->end_token();
            if (is_end && !text.empty() && text.back() != '\n') text += '\n';
            text += tokenizer->decode({id});
            if (is_end) text += '\n';
        }
        print_bytes(text);
    }
    if (std::fflush(stdout) != 0)
        fail(ExitCode::storage, "cannot write the text to standard output: disk full?");
    return 0;
}

int count(const Options& options) {
    const auto tokenizer = load_tokenizer(options.tokenizer);
    int64_t all_bytes = 0, all_tokens = 0;
    for (const std::string& path : options.files) {
        const Texts texts = open_texts({path});
        if (path == options.files.front())
            fmt::print("{:>14} {:>14} {:>10} {:>16}  file\n", "bytes", "tokens", "documents",
                       "bytes per token");
        int64_t bytes = 0, tokens = 0;
        Progress progress(path, "B", static_cast<double>(texts.bytes));
        std::vector<int32_t> ids;
        for (const std::string_view document : texts.documents) {
            stop_when_asked();
            ids.clear();
            tokenizer->encode(document, ids);
            tokens += static_cast<int64_t>(ids.size());
            bytes += static_cast<int64_t>(document.size());
            progress.update(static_cast<double>(bytes));
        }
        fmt::print("{:>14} {:>14} {:>10} {:>16.3f}  {}\n", bytes, tokens, texts.documents.size(),
                   per(bytes, tokens), path);
        all_bytes += bytes;
        all_tokens += tokens;
    }
    if (options.files.size() > 1)
        fmt::print("{:>14} {:>14} {:>10} {:>16.3f}  in all\n", all_bytes, all_tokens, "",
                   per(all_bytes, all_tokens));
    return 0;
}

void add_files(CLI::App* command, const std::string& name, const std::string& description, Options& options) {
    command->add_option(name, options.files, description)->required()->type_name("")->default_str("");
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& example) {
    CLI::App* command = app.add_subcommand(name, description);
    command->footer("Example:\n  " + example);
    return command;
}

std::function<int()> define(CLI::App& app) {
    const auto options = std::make_shared<Options>();
    app.require_subcommand(1);
    app.footer(
        "From a text to a corpus:\n"
        "  tokenize train --vocab-size 4096 --out tokenizer.json book.txt\n"
        "  tokenize encode --tokenizer tokenizer.json --out corpus book.txt\n"
        "  tokenize decode --count 200 corpus/heldout_000000.bin\n\n"
        "Text files are UTF-8; documents are separated by lines that hold only <|endoftext|>.\n\n" +
        app.get_footer());

    CLI::App* command =
        add_command(app, "train", "Train a byte-level BPE tokenizer on text",
                    "tokenize train --vocab-size 4096 --out tokenizer.json book.txt more.txt");
    command
        ->add_option(
            "--vocab-size", options->vocab_size,
            "tokens in all: 256 bytes, merges, <|endoftext|>; 4096 suits some MB of text, 32000 some GB")
        ->required();
    command->add_option("--out", options->out, "tokenizer.json to write (loads in Hugging Face's tokenizers)")
        ->required()
        ->type_name("FILE");
    add_files(command, "TEXT", "text files", *options);

    command = add_command(app, "encode",
                          "Turn text into token shards (llm.c's format), manifest.json and tokenizer.json",
                          "tokenize encode --tokenizer tokenizer.json --out corpus book.txt");
    command->add_option("--tokenizer", options->tokenizer, "tokenizer.json of a byte-level BPE")
        ->required()
        ->type_name("FILE");
    command->add_option("--out", options->out, "folder to write; must not hold a corpus yet")
        ->required()
        ->type_name("FOLDER");
    command->add_option("--heldout-share", options->shards.heldout_share,
                        "part of the text kept for evaluation, from the end");
    command->add_option("--shard-tokens", options->shards.shard_tokens, "tokens per shard");
    add_files(command, "TEXT", "text files", *options);

    command = add_command(app, "decode", "Print the text of token shards",
                          "tokenize decode --first 1000 --count 200 corpus/train_000000.bin");
    command
        ->add_option("--tokenizer", options->tokenizer, "tokenizer.json; default: the one beside the shard")
        ->type_name("FILE");
    command->add_option("--first", options->first, "first token")->check(CLI::NonNegativeNumber);
    command->add_option("--count", options->count, "number of tokens; 0 means all")
        ->check(CLI::NonNegativeNumber);
    add_files(command, "SHARD", "shard files (.bin)", *options);

    command = add_command(app, "count", "Count tokens and bytes per token",
                          "tokenize count --tokenizer tokenizer.json book.txt");
    command->add_option("--tokenizer", options->tokenizer, "tokenizer.json of a byte-level BPE")
        ->required()
        ->type_name("FILE");
    add_files(command, "TEXT", "text files", *options);

    return [&app, options] {
        const std::string chosen = app.get_subcommands().front()->get_name();
        if (chosen == "train") return train(*options);
        if (chosen == "encode") return encode(*options);
        return chosen == "decode" ? decode(*options) : count(*options);
    };
}

}  // namespace

}  // namespace templar

int main(int argc, char** argv) {
    return templar::run_program(argc, argv, "tokenize",
                                "Text to tokens and back: train a tokenizer, make and read token shards.",
                                templar::define);
}
