// tokenize: trains a tokenizer, turns text into token shards and back, counts.
#include "base/file.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace templar {

namespace {

namespace fs = std::filesystem;

struct Options {
    std::vector<std::string> files;
    bool jsonl = false;
    std::string tokenizer, out, separator = "end";
    int64_t vocab_size = 0;
    ShardOptions shards;
    int64_t first = 0, count = 0;

    std::vector<Input> inputs() const { return inputs_from(files, jsonl); }
};

void stop_when_asked() {
    if (stop_requested()) fail(ExitCode::interrupted, "stopped");
}

double per(int64_t bytes, int64_t tokens) {
    return tokens > 0 ? static_cast<double>(bytes) / static_cast<double>(tokens) : 0.0;
}

// Bytes of all inputs; -1 where one is a pipe.
double total_bytes(const std::vector<Input>& inputs) {
    double total = 0;
    for (const Input& input : inputs) {
        const int64_t bytes = input_bytes(input);
        if (bytes < 0) return -1;
        total += static_cast<double>(bytes);
    }
    return total;
}

// Progress in bytes of text, whatever the files are compressed with.
class TextProgress {
  public:
    explicit TextProgress(std::string what) : what_(std::move(what)) {}
    void update(const CorpusProgress& now) {
        const auto text = static_cast<double>(now.text_bytes), read = static_cast<double>(now.read_bytes);
        const double total = now.total_bytes < 0 || read <= 0 ? -1 : text * static_cast<double>(now.total_bytes) / read;
        if (!line_) line_.emplace(what_, "B", total, text);
        line_->update(text, total, fmt::format("  {} tokens", short_count(static_cast<double>(now.tokens))));
    }

  private:
    std::string what_;
    std::optional<Progress> line_;
};

int train(const Options& options) {
    std::vector<std::string> documents;
    int64_t bytes = 0;
    std::optional<Progress> progress;
    progress.emplace("reading", "B", total_bytes(options.inputs()));
    for_each_document(options.inputs(), options.shards.encode.field, [&](std::string document, int64_t read) {
        stop_when_asked();
        bytes += std::ssize(document);
        documents.push_back(std::move(document));
        progress->update(static_cast<double>(read));
    });
    std::string current;
    const auto report = [&](std::string_view stage, int64_t done, int64_t total) {
        stop_when_asked();
        if (stage != current) {
            current = stage;
            progress.emplace(stage == "count" ? "counting words" : "merging", stage == "count" ? "B" : "tokens",
                             static_cast<double>(total));
        }
        progress->update(static_cast<double>(done));
    };
    const std::vector<std::string_view> views(documents.begin(), documents.end());
    const ByteLevelBpe tokenizer = train_bpe(views, options.vocab_size, report);
    progress.reset();
    tokenizer.save(options.out);
    fmt::print("{}: {} tokens, trained on {}B in {} documents\n", options.out, tokenizer.vocab_size(),
               short_count(static_cast<double>(bytes)), documents.size());
    return 0;
}

int encode(Options options) {
    const fs::path folder = options.out;
    options.shards.encode.separator =
        static_cast<Separator>(std::ranges::find(separator_names, options.separator) - std::begin(separator_names));
    const auto tokenizer = load_tokenizer(options.tokenizer);
    EncodedCorpus corpus;
    {
        TextProgress progress("encoding");
        options.shards.progress = [&](const CorpusProgress& now) {
            if (stop_requested()) fail(ExitCode::interrupted, "stopped; the same command goes on where this one was");
            progress.update(now);
        };
        corpus = encode_files(*tokenizer, options.inputs(), folder, options.shards);
    }
    int64_t total = 0;
    for (const ShardInfo& shard : corpus.manifest.shards) {
        fmt::print("{:<20} {:>12} tokens\n", shard.file, shard.tokens);
        total += shard.tokens;
    }
    fmt::print("{}: {} documents, {}B of text, {} tokens, {:.3f} bytes per token\n",
               options.shards.raw ? options.out : (folder / "manifest.json").string(), corpus.documents,
               short_count(static_cast<double>(corpus.text_bytes)), total, per(corpus.text_bytes, total));
    return 0;
}

void print_bytes(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
        fail(ExitCode::storage, "cannot write the text to standard output: disk full, or its reader has gone");
}

// Documents as `tokenize encode` reads them: a line of <|endoftext|> between them, whatever tokens separate them here.
std::string text_of(const Tokenizer& tokenizer, std::span<const int32_t> ids, bool begins) {
    std::string text;
    bool separated = true;
    const auto separate = [&] {
        if (!separated) text += text.ends_with('\n') ? "<|endoftext|>\n" : "\n<|endoftext|>\n";
        separated = true;
    };
    for (size_t at = 0; at < ids.size();) {
        if (ids[at] == tokenizer.begin_token() || ids[at] == tokenizer.end_token()) {
            separate();
            begins = true;
            ++at;
            continue;
        }
        size_t end = at;
        while (end < ids.size() && ids[end] != tokenizer.begin_token() && ids[end] != tokenizer.end_token()) ++end;
        // A document's beginning may be written in another way than its middle.
        if (begins)
            text += tokenizer.decode(ids.subspan(at, end - at));
        else
            for (const int32_t id : ids.subspan(at, end - at)) text += tokenizer.token_text(id);
        separated = begins = false;
        at = end;
    }
    return text;
}

int decode(const Options& options) {
    for (const std::string& path : options.files) {
        const fs::path beside = fs::path(path).parent_path() / "tokenizer.json";
        const auto tokenizer = load_tokenizer(options.tokenizer.empty() ? beside : fs::path(options.tokenizer));
        const bool raw = path.ends_with(".u16") || path.ends_with(".u32");
        const std::vector<int32_t> all =
            raw ? read_raw_tokens(path, tokenizer->vocab_size()) : read_shard(path, tokenizer->vocab_size());
        const auto size = static_cast<int64_t>(all.size());
        if (options.first > size)
            fail(ExitCode::input, "{} has {} tokens, so --first {} is past its end", path, size, options.first);
        std::span<const int32_t> ids = std::span(all).subspan(static_cast<size_t>(options.first));
        if (options.count > 0) ids = ids.first(std::min(ids.size(), static_cast<size_t>(options.count)));
        print_bytes(text_of(*tokenizer, ids, options.first == 0));
    }
    if (std::fflush(stdout) != 0) fail(ExitCode::storage, "cannot write the text to standard output: disk full?");
    return 0;
}

int count(const Options& options) {
    const auto tokenizer = load_tokenizer(options.tokenizer);
    EncodeOptions encode = options.shards.encode;
    encode.separator = Separator::none;
    CorpusProgress all;
    bool first = true;
    for (const Input& input : options.inputs()) {
        CorpusProgress now{.total_bytes = input_bytes(input)};
        {
            TextProgress progress(shown_path(input.path));
            const auto cut = [&](std::string_view text, size_t from) { return tokenizer->cut(text, from); };
            FileBlocks blocks({input}, cut, options.shards.blocks);
            const int64_t width = bytes_per_token(tokenizer->vocab_size());
            const auto add = [&](const Encoded& block) {
                stop_when_asked();
                now.read_bytes = block.consumed;
                now.documents += block.documents;
                now.text_bytes += block.text_bytes;
                now.tokens += std::ssize(block.tokens) / width;
                progress.update(now);
            };
            encode_blocks(*tokenizer, blocks, encode, options.shards.blocks, add, stop_when_asked);
        }
        if (std::exchange(first, false))
            fmt::print("{:>14} {:>14} {:>10} {:>16}  file\n", "bytes", "tokens", "documents", "bytes per token");
        fmt::print("{:>14} {:>14} {:>10} {:>16.3f}  {}\n", now.text_bytes, now.tokens, now.documents,
                   per(now.text_bytes, now.tokens), shown_path(input.path));
        all.text_bytes += now.text_bytes;
        all.tokens += now.tokens;
        all.documents += now.documents;
    }
    if (options.files.size() > 1)
        fmt::print("{:>14} {:>14} {:>10} {:>16.3f}  in all\n", all.text_bytes, all.tokens, all.documents,
                   per(all.text_bytes, all.tokens));
    return 0;
}

void add_files(CLI::App* command, const std::string& name, const std::string& description, Options& options) {
    command->add_option(name, options.files, description)->required()->type_name("")->default_str("");
}

void add_texts(CLI::App* command, Options& options) {
    add_files(command, "TEXT", "text or JSONL files, perhaps compressed (gzip, zstd); - is standard input", options);
    command->add_flag(
        "--jsonl", options.jsonl,
        "every input is JSONL, one object a line (by itself: names in .jsonl, .ndjson, .json, perhaps + .gz, .zst)");
    command->add_option("--field", options.shards.encode.field, "JSONL: the field that holds the text")
        ->type_name("NAME");
}

void add_tokenizer(CLI::App* command, Options& options) {
    command
        ->add_option("--tokenizer", options.tokenizer, "tokenizer.json, tokenizer.model, or a folder with a tokenizer")
        ->required()
        ->type_name("PATH");
    command->add_option("--threads", options.shards.encode.threads, "threads that encode; 0: one for each processor")
        ->check(CLI::Range(0, 1024));
    command
        ->add_option("--largest-document", options.shards.blocks.largest_document,
                     "bytes of memory for a document that cannot be encoded in parts")
        ->check(CLI::PositiveNumber);
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& example) {
    CLI::App* command = app.add_subcommand(name, description);
    command->footer("Example:\n" + example);
    return command;
}

void define_train(CLI::App& app, Options& options) {
    CLI::App* command = add_command(app, "train", "Train a byte-level BPE tokenizer on text (which it holds in memory)",
                                    "  tokenize train --vocab-size 4096 --out tokenizer.json book.txt more.jsonl.gz");
    command
        ->add_option("--vocab-size", options.vocab_size,
                     "tokens in all: 256 bytes, merges, <|endoftext|>; 4096 suits some MB of text, 32000 some GB")
        ->required();
    command->add_option("--out", options.out, "tokenizer.json to write (loads in Hugging Face's tokenizers)")
        ->required()
        ->type_name("FILE");
    add_texts(command, options);
}

void define_encode(CLI::App& app, Options& options) {
    CLI::App* command = add_command(
        app, "encode", "Turn text into token shards (llm.c's format), manifest.json and tokenizer.json",
        "  tokenize encode --tokenizer tokenizer.json --out corpus book.txt\n"
        "  tokenize encode --tokenizer llama2/tokenizer.model --separator begin --out corpus part-*.jsonl.zst\n"
        "  curl -s https://host/crawl.jsonl.gz | tokenize encode --tokenizer gpt2/ --jsonl --out corpus -\n"
        "Parquet, by any tool that reads it:\n"
        "  duckdb -c \"COPY (SELECT text FROM 'part-*.parquet') TO '/dev/stdout' (FORMAT json)\" |\n"
        "    tokenize encode --tokenizer tokenizer.json --jsonl --out corpus -\n"
        "After Ctrl-C, a kill or a full disk the same command goes on where it was (a pipe must bring the same text "
        "again).");
    command->add_option("--out", options.out, "folder to write; must not hold a corpus yet")
        ->required()
        ->type_name("FOLDER");
    add_tokenizer(command, options);
    add_texts(command, options);
    command
        ->add_option("--separator", options.separator,
                     "special tokens around each document: its end token, its begin token, both or none")
        ->check([](const std::string& name) {
            return std::ranges::find(separator_names, name) != std::end(separator_names)
                       ? ""
                       : "expected end, begin, both or none";
        })
        ->type_name("NAME");
    command->add_option("--heldout-share", options.shards.heldout_share,
                        "part of the tokens kept for evaluation, from the end; 0: none");
    command->add_option("--shard-tokens", options.shards.shard_tokens, "tokens per shard");
    command->add_flag("--raw", options.shards.raw,
                      "write nothing but tokens: train.u16 and heldout.u16 (.u32 above 65536)");
}

void define_decode(CLI::App& app, Options& options) {
    CLI::App* command = add_command(app, "decode", "Print the text of token shards",
                                    "  tokenize decode --first 1000 --count 200 corpus/train_000000.bin");
    command
        ->add_option("--tokenizer", options.tokenizer,
                     "the tokenizer's file or folder; default: tokenizer.json beside the shard")
        ->type_name("PATH");
    command->add_option("--first", options.first, "first token")->check(CLI::NonNegativeNumber);
    command->add_option("--count", options.count, "number of tokens; 0 means all")->check(CLI::NonNegativeNumber);
    add_files(command, "SHARD", "shard files (.bin), or tokens alone (.u16, .u32)", options);
}

void define_count(CLI::App& app, Options& options) {
    CLI::App* command = add_command(app, "count", "Count tokens and bytes per token, separators left out",
                                    "  tokenize count --tokenizer tokenizer.json book.txt more.jsonl.gz");
    add_tokenizer(command, options);
    add_texts(command, options);
}

std::function<int()> define(CLI::App& app) {
    const auto options = std::make_shared<Options>();
    app.require_subcommand(1);
    app.footer(
        "From a text to a corpus:\n"
        "  tokenize train --vocab-size 4096 --out tokenizer.json book.txt\n"
        "  tokenize encode --tokenizer tokenizer.json --out corpus book.txt\n"
        "  tokenize decode --count 200 corpus/heldout_000000.bin\n\n"
        "Texts are UTF-8: plain, documents separated by lines that hold only <|endoftext|>, or JSONL; either\n"
        "compressed by gzip or zstd; - is standard input. More examples: tokenize encode --help.\n\n" +
        app.get_footer());
    define_train(app, *options);
    define_encode(app, *options);
    define_decode(app, *options);
    define_count(app, *options);

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
