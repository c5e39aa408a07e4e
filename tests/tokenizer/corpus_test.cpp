// Files to a corpus: the same bytes on any number of threads, and after any interruption.
#include "base/error.h"
#include "tests/tokenizer/files.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>

using namespace templar;
using namespace templar::testing;
namespace fs = std::filesystem;

namespace {

const Tokenizer& trained() {
    static const ByteLevelBpe tokenizer = train_bpe({sample_text(20000)}, 300);
    return tokenizer;
}

// Every file of a folder, hidden ones too.
std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder))
        files[entry.path().filename()] = read_text_file(entry.path(), 1 << 30);
    return files;
}

// Some inputs of every kind, of several documents each.
std::vector<Input> some_inputs(const Folder& folder) {
    const auto documents = [](uint64_t seed, const std::string& separator) {
        std::string text;
        for (uint64_t i = 0; i < 6; ++i) text += sample_text(1000 + 700 * i, seed + i) + separator;
        return text;
    };
    std::string lines;
    for (uint64_t i = 0; i < 8; ++i) {
        std::string text = sample_text(1500, 50 + i);
        for (size_t at = 0; (at = text.find_first_of("\n\t", at)) != std::string::npos; at += 2)
            text.replace(at, 1, text[at] == '\n' ? "\\n" : "\\t");
        lines += "{\"id\":" + std::to_string(i) + ",\"text\":\"" + text + "\"}\n";
    }
    return inputs_from({folder.file("a.txt", documents(10, "\n<|endoftext|>\n")), folder.file("b.jsonl", lines),
                        folder.file("c.txt.gz", gzip(documents(20, "\n<|endoftext|>\n"))),
                        folder.file("d.jsonl.zst", zstd(lines)), folder.file("e.txt", sample_text(20'000, 30))},
                       false);
}

ShardOptions small(int threads, size_t block_bytes) {
    ShardOptions options{.shard_tokens = 3000, .heldout_share = 0.1};
    options.encode.threads = threads;
    options.blocks.block_bytes = block_bytes;
    options.checkpoint_ms = 0;
    return options;
}

struct Stop {};

// In a process of its own, which dies as by kill -9 when `progress` has been called `calls` times; true when it did.
bool killed_after(int calls, const std::vector<Input>& inputs, const fs::path& folder, ShardOptions options) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        options.progress = [&](const CorpusProgress&) {
            if (--calls <= 0) ::_exit(99);
        };
        try {
            encode_files(trained(), inputs, folder, options);
        } catch (...) {
            ::_exit(98);
        }
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) != 98);
    return WEXITSTATUS(status) == 99;
}

}  // namespace

TEST_CASE("a corpus has the same bytes for any number of threads and any block size") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    const EncodedCorpus corpus = encode_files(trained(), inputs, folder.path() / "one", small(1, 1 << 20));
    const auto expected = contents(folder.path() / "one");
    CHECK(corpus.documents == 6 + 8 + 6 + 8 + 1);
    CHECK(expected.contains("manifest.json"));
    CHECK(!expected.contains("progress.json"));
    check_shards(corpus.manifest, folder.path() / "one");
    for (const auto& [threads, block] : {std::pair(1, 100), {2, 1000}, {5, 1}, {3, 5000}, {8, 1 << 20}}) {
        CAPTURE(threads);
        CAPTURE(block);
        const fs::path other = folder.path() / fmt::format("{}-{}", threads, block);
        encode_files(trained(), inputs, other, small(threads, static_cast<size_t>(block)));
        CHECK(contents(other) == expected);
    }
    // And from memory.
    std::vector<std::string> documents;
    for_each_document(inputs, "text", [&](std::string document, int64_t) { documents.push_back(std::move(document)); });
    CHECK(std::ssize(documents) == corpus.documents);
    write_shards(trained(), {documents.begin(), documents.end()}, folder.path() / "memory", small(2, 3000));
    CHECK(contents(folder.path() / "memory") == expected);
}

TEST_CASE("killed anywhere, the same command ends with the same bytes") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    const ShardOptions options = small(2, 3000);
    encode_files(trained(), inputs, folder.path() / "whole", options);
    const auto expected = contents(folder.path() / "whole");
    // Once after each block; and again and again in one folder.
    const fs::path often = folder.path() / "often";
    int deaths = 0;
    for (int calls = 1;; ++calls) {
        CAPTURE(calls);
        const fs::path once = folder.path() / "once";
        fs::remove_all(once);
        const bool died = killed_after(calls, inputs, once, options);
        CHECK(fs::exists(once / "progress.json") == died);
        CHECK(fs::exists(once / "manifest.json") != died);
        if (died) encode_files(trained(), inputs, once, options);
        CHECK(contents(once) == expected);
        if (!died) break;
        deaths += fs::exists(often / "manifest.json") ? 0 : killed_after(3, inputs, often, small(1 + calls % 3, 3000));
    }
    CHECK(deaths > 5);
    if (!fs::exists(often / "manifest.json")) encode_files(trained(), inputs, often, options);
    CHECK(contents(often) == expected);
}

TEST_CASE("an error thrown by the progress callback leaves what the same command goes on from") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    ShardOptions options = small(2, 3000);
    options.checkpoint_ms = 1'000'000;  // only what is saved on the way out
    encode_files(trained(), inputs, folder.path() / "whole", options);
    int64_t first = 0;
    ShardOptions stopping = options;
    stopping.progress = [&](const CorpusProgress& now) {
        first = now.tokens;
        if (now.tokens > 4000) throw Stop();
    };
    CHECK_THROWS_AS(encode_files(trained(), inputs, folder.path() / "stopped", stopping), Stop);
    int64_t second = 0;
    stopping.progress = [&](const CorpusProgress& now) {
        if (second == 0) second = now.tokens;
    };
    encode_files(trained(), inputs, folder.path() / "stopped", stopping);
    CHECK(second > first);  // it did not begin again
    CHECK(contents(folder.path() / "stopped") == contents(folder.path() / "whole"));
}

TEST_CASE("the division at the end is done again after a crash at any of its steps") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    const ShardOptions options = small(1, 1 << 20);
    encode_files(trained(), inputs, folder.path() / "whole", options);
    const auto expected = contents(folder.path() / "whole");
    const fs::path corpus = folder.path() / "corpus";
    // A folder stands where a file is to be written: the command fails there as it would for want of space.
    const auto fail_at = [&](const std::string& file) {
        ShardOptions blocked = options;
        blocked.progress = [&](const CorpusProgress&) { fs::create_directories(corpus / file / "x"); };
        CHECK_HAS(error_of(ExitCode::storage, [&] { encode_files(trained(), inputs, corpus, blocked); }), file);
        fs::remove_all(corpus / file);
    };
    fail_at("heldout_000000.bin");
    encode_files(trained(), inputs, corpus, options);
    CHECK(contents(corpus) == expected);

    fs::remove_all(corpus);
    fail_at("manifest.json");
    const std::string state = read_text_file(corpus / "progress.json", 1 << 20);
    encode_files(trained(), inputs, corpus, options);
    CHECK(contents(corpus) == expected);
    // Killed before progress.json was removed.
    write_file(corpus / "progress.json", as_bytes(state));
    encode_files(trained(), inputs, corpus, options);
    CHECK(contents(corpus) == expected);
}

TEST_CASE("another command in the same folder is refused, saying what differs") {
    const Folder folder;
    std::vector<Input> inputs = some_inputs(folder);
    const fs::path corpus = folder.path() / "corpus";
    ShardOptions options = small(1, 3000);
    REQUIRE(killed_after(12, inputs, corpus, options));
    const auto error_with = [&](const auto& change) {
        std::vector<Input> other = inputs;
        ShardOptions changed = options;
        change(changed, other);
        return error_of(ExitCode::input, [&] { encode_files(trained(), other, corpus, changed); });
    };
    CHECK_HAS(error_with([](ShardOptions& o, auto&) { o.encode.field = "body"; }), "there --field is text, here body");
    CHECK_HAS(error_with([](ShardOptions& o, auto&) { o.encode.separator = Separator::none; }),
              "there --separator is end, here none");
    CHECK_HAS(error_with([](ShardOptions& o, auto&) { o.shard_tokens = 5; }), "there --shard-tokens is 3000, here 5");
    CHECK_HAS(error_with([](ShardOptions& o, auto&) { o.heldout_share = 0.2; }),
              "there --heldout-share is 0.1, here 0.2");
    CHECK_HAS(error_with([](ShardOptions& o, auto&) { o.raw = true; }), "there --raw is false, here true");
    CHECK_HAS(error_with([](ShardOptions&, auto& i) { i.pop_back(); }), "there the number of inputs is 5, here 4");
    CHECK_HAS(error_with([](ShardOptions&, auto& i) { std::swap(i[0], i[4]); }), "there input 1 is");
    CHECK_HAS(error_with([](ShardOptions&, auto& i) { i[4].form = Form::jsonl; }), "e.txt, here");
    const ByteLevelBpe other = train_bpe({sample_text(20000)}, 301);
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(other, inputs, corpus, options); }),
              "the tokenizer's SHA-256 is");
    // An input that has been encoded has changed; one that has not may.
    const std::string first = read_text_file(inputs[0].path, 1 << 20);
    write_file(inputs[0].path, as_bytes(first + "x"));
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(trained(), inputs, corpus, options); }),
              "a.txt has changed since");
    REQUIRE(!fs::exists(corpus / "manifest.json"));
    // Where nothing had been encoded yet any command may begin.
    const fs::path begun = folder.path() / "begun";
    const std::vector<Input> bad = inputs_from({folder.file("bad.jsonl", "{}\n")}, false);
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(trained(), bad, begun, options); }), "no field");
    options.heldout_share = 0;
    encode_files(trained(), {inputs[1]}, begun, options);
    CHECK(fs::exists(begun / "manifest.json"));
}

TEST_CASE("a bad line is mended and the same command goes on") {
    const Folder folder;
    const std::string good = "{\"text\":\"one two\"}\n", more = sample_text(5000);
    const std::vector<Input> inputs =
        inputs_from({folder.file("a.txt", more), folder.file("b.jsonl", good + good + "{\"text\":3}\n" + good),
                     folder.file("c.txt", more)},
                    false);
    const ShardOptions options = small(3, 10);
    const fs::path corpus = folder.path() / "corpus";
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(trained(), inputs, corpus, options); }),
              "b.jsonl line 3: byte 8");
    CHECK_HAS(read_text_file(corpus / "progress.json", 1 << 20), "\"input\": 1");
    folder.file("b.jsonl", good + good + "{\"text\":\"three\"}\n" + good);
    encode_files(trained(), inputs, corpus, options);
    encode_files(trained(), inputs, folder.path() / "whole", options);
    CHECK(contents(corpus) == contents(folder.path() / "whole"));
    // Where the part that was encoded is no more what it was, nothing goes on.
    const fs::path other = folder.path() / "other";
    folder.file("b.jsonl", good + good + "{\"text\":3}\n");
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(trained(), inputs, other, options); }), "line 3");
    folder.file("b.jsonl", "{\"text\":\"One two\"}\n" + good + good);
    CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(trained(), inputs, other, options); }),
              "b.jsonl is not what it was");
}

TEST_CASE("the first error in the order of the text is the one that is told, on any number of threads") {
    const Folder folder;
    std::string text;
    for (int i = 0; i < 200; ++i) text += sample_text(300, 7) + (i == 100 || i == 101 || i > 150 ? "\xff" : "") + "\n";
    const std::vector<Input> inputs = inputs_from({folder.file("a.txt", text)}, false);
    std::string first;
    for (int round = 0; round < 12; ++round) {
        const std::string error = error_of(ExitCode::input, [&] {
            encode_files(trained(), inputs, folder.path() / std::to_string(round), small(1 + round % 6, 500));
        });
        if (round == 0) first = error;
        CHECK(error == first);
    }
    CHECK_HAS(first, fmt::format("byte {} ", text.find('\xff')));
}

TEST_CASE("separators around documents") {
    const Folder folder;
    const std::vector<Input> inputs =
        inputs_from({folder.file("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")}, false);
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    tokens.emplace_back("<|endoftext|>");
    const ByteLevelBpe tokenizer(tokens, {}, "<|endoftext|>");
    // With a token that begins documents: 258 at the beginning.
    struct WithBegin : Tokenizer {
        const ByteLevelBpe& inner;
        explicit WithBegin(const ByteLevelBpe& other) : inner(other) {}
        using Tokenizer::encode, Tokenizer::decode;
        void encode(std::string_view text, std::vector<int32_t>& out) const override { inner.encode(text, out); }
        std::string decode(std::span<const int32_t> ids) const override { return inner.decode(ids); }
        std::string token_text(int32_t id) const override { return id == 257 ? "<s>" : inner.token_text(id); }
        int64_t vocab_size() const override { return 258; }
        int32_t begin_token() const override { return 257; }
        int32_t end_token() const override { return inner.end_token(); }
        std::string to_json() const override { return inner.to_json(); }
    };
    const WithBegin both(tokenizer);
    int count = 0;
    const auto ids_with = [&](const Tokenizer& with, Separator separator) {
        ShardOptions options{.heldout_share = 0, .raw = true};
        options.encode.separator = separator;
        const fs::path corpus = folder.path() / std::to_string(count++);
        encode_files(with, inputs, corpus, options);
        CHECK(!fs::exists(corpus / "manifest.json"));
        return read_raw_tokens(corpus / "train.u16", with.vocab_size());
    };
    CHECK(ids_with(both, Separator::end) == std::vector<int32_t>{'a', 256, 'b', 256});
    CHECK(ids_with(both, Separator::begin) == std::vector<int32_t>{257, 'a', 257, 'b'});
    CHECK(ids_with(both, Separator::both) == std::vector<int32_t>{257, 'a', 256, 257, 'b', 256});
    CHECK(ids_with(both, Separator::none) == std::vector<int32_t>{'a', 'b'});
    CHECK_HAS(error_of(ExitCode::input, [&] { ids_with(tokenizer, Separator::begin); }), "choose --separator end");
    // Held out are whole documents, whatever separates them.
    for (const Separator separator : {Separator::end, Separator::begin, Separator::both}) {
        ShardOptions options{.heldout_share = 0.5, .raw = true};
        options.encode.separator = separator;
        const fs::path corpus = folder.path() / std::to_string(count++);
        encode_files(both, inputs, corpus, options);
        CHECK(read_raw_tokens(corpus / "heldout.u16", 258).size() == read_raw_tokens(corpus / "train.u16", 258).size());
        CHECK_HAS(error_of(ExitCode::input, [&] { encode_files(both, inputs, corpus, options); }),
                  "holds a corpus already (train.u16)");
    }
}

TEST_CASE("raw files hold the tokens of the shards") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    ShardOptions options = small(2, 3000);
    const EncodedCorpus shards = encode_files(trained(), inputs, folder.path() / "shards", options);
    options.raw = true;
    const EncodedCorpus raw = encode_files(trained(), inputs, folder.path() / "raw", options);
    REQUIRE(raw.manifest.shards.size() == 2);
    for (const ShardInfo& file : raw.manifest.shards) {
        std::vector<int32_t> expected;
        for (const ShardInfo& shard : shards.manifest.shards) {
            if (shard.split != file.split) continue;
            const auto part = read_shard(folder.path() / "shards" / shard.file, 300);
            expected.insert(expected.end(), part.begin(), part.end());
        }
        CHECK(read_raw_tokens(folder.path() / "raw" / file.file, 300) == expected);
    }
    folder.file("odd.u16", "abc");
    CHECK_HAS(error_of(ExitCode::input, [&] { read_raw_tokens(folder.path() / "odd.u16", 300); }),
              "has 3 bytes, expected 2 for each");
    CHECK_HAS(error_of(ExitCode::input, [&] { read_raw_tokens(folder.path() / "raw" / "train.u16", 70000); }),
              "bytes, expected 4");
    CHECK_HAS(error_of(ExitCode::input, [&] { read_raw_tokens(folder.path() / "raw" / "train.u16", 50); }),
              "expected less than 50");
}

TEST_CASE("disk full: a clear error, and with space again the same command goes on") {
    const Folder folder;
    const std::vector<Input> inputs = some_inputs(folder);
    ShardOptions options = small(2, 3000);
    options.shard_tokens = 100'000;
    const fs::path corpus = folder.path() / "corpus";
    // A limit on the size of files is the disk that is full; it holds for the whole process, so in a child.
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit limit{30'000, 30'000};
        std::signal(SIGXFSZ, SIG_IGN);
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int code = 0;
        try {
            encode_files(trained(), inputs, corpus, options);
        } catch (const Error& error) {
            code = std::string(error.what()).find("the same command again") != std::string::npos
                       ? static_cast<int>(error.code())
                       : 99;
        }
        ::_exit(code);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == static_cast<int>(ExitCode::storage));
    CHECK_HAS(read_text_file(corpus / "progress.json", 1 << 20), "\n  \"tokens\": 1");
    encode_files(trained(), inputs, corpus, options);
    encode_files(trained(), inputs, folder.path() / "whole", options);
    CHECK(contents(corpus) == contents(folder.path() / "whole"));
}

TEST_CASE("hostile and empty inputs") {
    const Folder folder;
    const auto make = [&](const std::string& name, std::string_view content) {
        const fs::path corpus = folder.path() / ("corpus-" + name);
        const EncodedCorpus made = encode_files(trained(), inputs_from({folder.file(name, content)}, false), corpus,
                                                {.shard_tokens = 1 << 20, .heldout_share = 0});
        return made.text_bytes;
    };
    CHECK_HAS(error_of(ExitCode::input, [&] { make("empty.txt", ""); }), "empty.txt is empty");
    CHECK_HAS(error_of(ExitCode::input, [&] { make("blank.txt", " \n\n<|endoftext|>\n"); }), "nothing but white space");
    CHECK_HAS(error_of(ExitCode::input, [&] { make("blank.jsonl", "{\"text\":\" \"}\n"); }), "nothing but white space");
    CHECK_HAS(error_of(ExitCode::input, [&] { make("blank.gz", gzip("")); }), "nothing but white space");
    const std::string spaced = sample_text(20 << 20), line(20 << 20, 'x');
    CHECK(make("line.txt", spaced) == std::ssize(spaced));
    CHECK(make("words.jsonl", "{\"text\":\"" + line.substr(0, 1 << 20) + "\"}") == 1 << 20);
    // Two at once would write into each other's files.
    const fs::path corpus = folder.path() / "locked";
    const std::vector<Input> inputs = some_inputs(folder);
    ShardOptions options = small(1, 3000);
    std::string error;
    options.progress = [&](const CorpusProgress&) {
        if (error.empty())
            error = error_of(ExitCode::input, [&] { encode_files(trained(), inputs, corpus, small(1, 3000)); });
    };
    encode_files(trained(), inputs, corpus, options);
    CHECK_HAS(error, "another command is at work");
}
