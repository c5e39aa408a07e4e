#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/files.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>

using namespace templar;
using templar::testing::error_of, templar::testing::sample_text;
namespace fs = std::filesystem;

namespace {

using Documents = std::vector<std::string_view>;

struct Folder : TemporaryFolder {
    std::set<std::string> files() const {
        std::set<std::string> names;
        for (const auto& entry : fs::directory_iterator(path()))
            names.insert(entry.path().filename().string());
        return names;
    }
};

const Tokenizer& trained() {
    static const ByteLevelBpe tokenizer = [] {
        const std::string text = sample_text(20000);
        return train_bpe({text}, 300);
    }();
    return tokenizer;
}

std::vector<int32_t> tokens_of(const Manifest& manifest, const fs::path& folder, const std::string& split) {
    std::vector<int32_t> ids;
    for (const ShardInfo& shard : manifest.shards) {
        if (shard.split != split) continue;
        const auto part = read_shard(folder / shard.file, manifest.vocab_size);
        ids.insert(ids.end(), part.begin(), part.end());
    }
    return ids;
}

}  // namespace

TEST_CASE("held out: whole documents from the end, or the end of one, after a line's end") {
    std::vector<std::string> bytes;
    for (int byte = 0; byte < 256; ++byte)
        bytes.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    bytes.emplace_back("<|endoftext|>");
    const ByteLevelBpe tokenizer(bytes, {}, "<|endoftext|>");
    const auto divided = [&](const Documents& documents, double share, Separator separator = Separator::end) {
        Folder folder;
        ShardOptions options{.heldout_share = share};
        options.encode.separator = separator;
        const Manifest manifest = write_shards(tokenizer, documents, folder.path(), options);
        std::string text;
        for (const char* split : {"train", "heldout"}) {
            for (const int32_t id : tokens_of(manifest, folder.path(), split)) text += id == 256 ? "#" : tokenizer.decode({id});
            text += '|';
        }
        return text;
    };
    const std::string nine(9, 'x');
    CHECK(divided(Documents(5, nine), 0.2) == "xxxxxxxxx#xxxxxxxxx#xxxxxxxxx#xxxxxxxxx#|xxxxxxxxx#|");
    CHECK(divided(Documents(3, nine), 0.6) == "xxxxxxxxx#xxxxxxxxx#|xxxxxxxxx#|");

    const std::string lines = "1\n2\n3\n4\n5\n6\n7\n8\n9\n0\n";  // 21 tokens with the separator
    CHECK(divided({lines}, 0.25) == "1\n2\n3\n4\n5\n6\n7\n8\n|9\n0\n#|");
    CHECK(divided({lines}, 0.25, Separator::none) == "1\n2\n3\n4\n5\n6\n7\n8\n|9\n0\n|");
    // The last document alone is too long: its end is held out. It is much too short: the end of the one before, too.
    CHECK(divided({nine, lines}, 0.2) == "xxxxxxxxx#1\n2\n3\n4\n5\n6\n7\n8\n|9\n0\n#|");
    CHECK(divided({nine, lines, "z"}, 0.2) == "xxxxxxxxx#1\n2\n3\n4\n5\n6\n7\n8\n9\n|0\n#z#|");
    // No line ends: anywhere, but rather a document that is too short.
    CHECK(divided({nine}, 0.3) == "xxxxxxx|xx#|");
    CHECK(divided({nine + nine, "z"}, 0.4) == nine + nine + "#|z#|");
    CHECK(divided({nine}, 0) == "xxxxxxxxx#||");

    for (const double share : {1.0, -0.5, 2.0, std::numeric_limits<double>::quiet_NaN()})
        CHECK_HAS(error_of(ExitCode::input, [&] { divided({lines}, share); }), "heldout share");
    CHECK_HAS(error_of(ExitCode::input, [&] { divided({"abcd"}, 0.1); }),
                      "cannot hold out 0.1 of 5 tokens: the heldout part would be empty");
    CHECK_HAS(error_of(ExitCode::input, [&] { divided({"x"}, 0.9); }), "part would be empty");
    CHECK_HAS(error_of(ExitCode::input, [&] { divided({}, 0.5); }), "nothing to encode");
}

TEST_CASE("a shard byte by byte") {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    tokens.insert(tokens.end(), {"ab", "<|endoftext|>"});
    const ByteLevelBpe tokenizer(tokens, {{'a', 'b'}}, "<|endoftext|>");
    Folder folder;
    const Manifest manifest =
        write_shards(tokenizer, {"abc", "b"}, folder.path(), {.heldout_share = 0.4});
    CHECK(folder.files() ==
          std::set<std::string>{"train_000000.bin", "heldout_000000.bin", "manifest.json", "tokenizer.json"});
    Bytes expected(1024, 0);
    const Bytes start = {0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 3, 0, 0, 0};  // 20240520, version 1, 3 tokens
    std::copy(start.begin(), start.end(), expected.begin());
    const Bytes body = {0x00, 0x01, 'c', 0, 0x01, 0x01};  // 256, 'c', 257
    expected.insert(expected.end(), body.begin(), body.end());
    CHECK(read_file(folder.path() / "train_000000.bin", 1 << 20) == expected);
    CHECK(manifest.shards.at(0).hash == sha256(expected));
    CHECK(manifest.shards.at(0).tokens == 3);
    CHECK(manifest.shards.at(0).split == "train");
    CHECK(manifest.shards.at(1).file == "heldout_000000.bin");
    CHECK(read_shard(folder.path() / "heldout_000000.bin", 258) == std::vector<int32_t>{'b', 257});
    CHECK(manifest.tokenizer == sha256(read_file(folder.path() / "tokenizer.json", 1 << 20)));
    CHECK(manifest.vocab_size == 258);
    CHECK(manifest.end_token == 257);
}

TEST_CASE("vocabularies above 65536 use four bytes and version 7") {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    for (int i = 0; tokens.size() < 65536; ++i) tokens.push_back(fmt::format("unused{}", i));
    tokens.emplace_back("<|endoftext|>");
    const ByteLevelBpe tokenizer(tokens, {}, "<|endoftext|>");
    Folder folder;
    const Manifest manifest =
        write_shards(tokenizer, {"x", "y"}, folder.path(), {.heldout_share = 0.5});
    const Bytes file = read_file(folder.path() / "train_000000.bin", 1 << 20);
    CHECK(file.size() == 1024 + 8);
    CHECK(file[4] == 7);
    CHECK(Bytes(file.begin() + 1024, file.end()) == Bytes{'x', 0, 0, 0, 0, 0, 1, 0});
    CHECK(read_shard(folder.path() / "train_000000.bin", tokenizer.vocab_size()) ==
          std::vector<int32_t>{'x', 65536});
    check_shards(manifest, folder.path());
}

TEST_CASE("a corpus: shards hold the encoded documents, in order, each followed by the end token") {
    const std::string a = sample_text(9000, 4), b = sample_text(5000000, 5), c = sample_text(40000, 6);
    const Documents documents{a, b, c};
    Folder folder;
    int64_t last = 0, calls = 0;
    ShardOptions options{.shard_tokens = 400000, .heldout_share = 0.05};
    options.progress = [&](const CorpusProgress& now) {
        CHECK(now.text_bytes >= last);
        CHECK(now.total_bytes == static_cast<int64_t>(a.size() + b.size() + c.size()));
        last = now.text_bytes;
        ++calls;
    };
    const Manifest manifest = write_shards(trained(), documents, folder.path() / "new" / "corpus", options);
    const fs::path corpus = folder.path() / "new" / "corpus";
    CHECK(last == static_cast<int64_t>(a.size() + b.size() + c.size()));
    CHECK(calls >= 6);  // the long document in parts
    std::vector<int32_t> expected;
    for (const std::string_view document : documents) {
        trained().encode(document, expected);
        expected.push_back(trained().end_token());
    }
    std::vector<int32_t> found = tokens_of(manifest, corpus, "train");
    const std::vector<int32_t> heldout = tokens_of(manifest, corpus, "heldout");
    CHECK(found.size() > 19 * heldout.size());
    CHECK(found.size() < 20 * heldout.size());
    CHECK(trained().token_text(found.back()).ends_with('\n'));
    found.insert(found.end(), heldout.begin(), heldout.end());
    CHECK(found == expected);
    for (size_t i = 0; i + 1 < manifest.shards.size(); ++i)
        if (manifest.shards[i].split == manifest.shards[i + 1].split)
            CHECK(manifest.shards[i].tokens == 400000);
    CHECK(manifest.shards.size() > 3);
    check_shards(manifest, corpus);
    const std::string json = read_text_file(corpus / "manifest.json", 1 << 20);
    CHECK(json == manifest_to_json(manifest));
    CHECK(manifest_to_json(manifest_from_json(json, "manifest.json")) == json);

    // The same input gives the same bytes.
    options.encode.threads = 1;
    options.blocks.block_bytes = 10'000;
    options.progress = {};
    write_shards(trained(), documents, folder.path() / "again", options);
    CHECK(read_text_file(folder.path() / "again" / "manifest.json", 1 << 20) == json);
}

TEST_CASE("a long document is encoded in parts that leave no trace") {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    tokens.insert(tokens.end(), {"\n\n", "  ", "<|endoftext|>"});
    const ByteLevelBpe tokenizer(tokens, {{'\n', '\n'}, {' ', ' '}}, "<|endoftext|>");
    // "\n\n" is one token at the end of a text only: before a letter the split leaves the last space to what
    // follows.
    for (const std::string piece : {"ab\n\n", "a  ", "\u3000\u3000 \n", "é é  "}) {
        std::string document;
        while (document.size() < 3 << 20) document += piece;
        Folder folder;
        const Manifest manifest = write_shards(tokenizer, {document}, folder.path(), {.heldout_share = 0});
        auto expected = tokenizer.encode(document);
        expected.push_back(tokenizer.end_token());
        CHECK(tokens_of(manifest, folder.path(), "train") == expected);
    }
}

TEST_CASE("write_shards refuses what would not make a corpus") {
    Folder folder;
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    const ShardOptions options{.heldout_share = 0.5};
    const auto none = [&] { write_shards(ByteLevelBpe(tokens, {}, ""), {"a", "b"}, folder.path(), options); };
    CHECK_HAS(error_of(ExitCode::input, none), "no token that ends a document");
    CHECK_HAS(
        error_of(ExitCode::input, [&] { write_shards(trained(), {"a"}, folder.path(), options); }),
        "would be empty");
    CHECK_HAS(
        error_of(ExitCode::input,
                 [&] {
                     write_shards(trained(), {"a", "b"}, folder.path(), {.shard_tokens = 0});
                 }),
        "0 tokens per shard");
    CHECK(!folder.files().contains("manifest.json"));
    write_file(folder.path() / "file", as_bytes("x"));
    CHECK_HAS(error_of(ExitCode::storage,
                               [&] {
                                   write_shards(trained(), {"a", "b"}, folder.path() / "file" / "x", options);
                               }),
                      "cannot create the folder");
}

TEST_CASE("damaged, missing and swapped shards are found") {
    Folder folder;
    const std::string text = sample_text(9000, 7);
    Manifest manifest = write_shards(trained(), {text}, folder.path(),
                                     {.shard_tokens = 1000, .heldout_share = 0.1});
    check_shards(manifest, folder.path());
    const auto check = [&] {
        return error_of(ExitCode::input, [&] { check_shards(manifest, folder.path()); });
    };
    const fs::path first = folder.path() / "train_000000.bin", second = folder.path() / "train_000001.bin";
    const Bytes good = read_file(first, 1 << 20);
    for (const size_t at : {size_t{0}, size_t{600}, good.size() - 1}) {
        Bytes bad = good;
        bad[at] ^= 1;
        write_file(first, bad);
        CHECK_HAS(check(), "train_000000.bin has SHA-256");
    }
    write_file(first, ByteSpan(good).first(good.size() - 2));
    CHECK_HAS(check(), "expected 3024 (1000 tokens)");
    write_file(first, read_file(second, 1 << 20));
    CHECK_HAS(check(), "train_000000.bin has SHA-256");
    fs::remove(first);
    CHECK_HAS(check(), "cannot open");
    fs::create_directory(first);
    CHECK_HAS(check(), "not a regular file");
    manifest.shards[0].file = "../train_000000.bin";
    CHECK_HAS(check(), "not a plain one");
}

TEST_CASE("read_shard names what is wrong") {
    Folder folder;
    const fs::path path = folder.path() / "s.bin";
    Bytes good(1024 + 4, 0);
    const Bytes start = {0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 2, 0, 0, 0};
    std::copy(start.begin(), start.end(), good.begin());
    good[1026] = 9;
    const auto error_with = [&](size_t at, uint8_t value) {
        Bytes bad = good;
        bad[at] = value;
        write_file(path, bad);
        return error_of(ExitCode::input, [&] { read_shard(path, 300); });
    };
    CHECK(error_with(1024, 5) == "no error");
    CHECK(read_shard(path, 300) == std::vector<int32_t>{5, 9});
    CHECK_HAS(error_with(0, 0), "not a token shard");
    CHECK_HAS(error_with(4, 7), "version 7, expected 1");
    CHECK_HAS(error_with(8, 3), "says it has 3 tokens");
    CHECK_HAS(error_with(11, 0xff), "tokens, but has 1028 bytes");
    CHECK_HAS(error_with(1025, 2), "token 512, expected less than 300");
    write_file(path, ByteSpan(good).first(900));
    CHECK_HAS(error_of(ExitCode::input, [&] { read_shard(path, 300); }), "900 bytes, too few");
}

TEST_CASE("manifest.json is read strictly") {
    const std::string hash(64, 'a');
    const Manifest manifest{digest_from_hex(hash, "hash"),
                            300,
                            299,
                            {{"train_000000.bin", 5, digest_from_hex(hash, "hash"), "train"}}};
    const std::string good = manifest_to_json(manifest);
    const auto error_with = [&](const std::string& from, const std::string& to) {
        std::string bad = good;
        const size_t at = bad.find(from);
        REQUIRE(at != std::string::npos);
        bad.replace(at, from.size(), to);
        return error_of(ExitCode::input, [&] { manifest_from_json(bad, "m.json"); });
    };
    CHECK(error_with("300", "301") == "no error");
    CHECK_HAS(error_with("version 1", "version 2"),
                      "m.json: format: expected \"templar.cpp token shards, version 1\"");
    CHECK_HAS(error_with("\"tokenizer\"", "\"tokeniser\""),
                      "m.json: tokenizer: expected this key, found none");
    const std::string tokenizer = "\"tokenizer\": \"";
    for (const std::string& name : {"b" + hash, std::string(64, 'g'), std::string(64, 'A')})
        CHECK_HAS(error_with(tokenizer + hash, tokenizer + name),
                          "m.json: tokenizer: expected 64 lower-case");
    const std::string sha256 = "\"sha256\": \"";
    CHECK_HAS(error_with(sha256 + hash, sha256 + "b" + hash),
                      "m.json: shards[0].sha256: expected 64 lower-case");
    CHECK_HAS(error_with("300", "0"), "m.json: vocab_size");
    CHECK_HAS(error_with("300", "300.0"), "m.json: vocab_size");
    CHECK_HAS(error_with("299", "300"),
                      "m.json: end_token: expected an integer from -1 to 299, found 300");
    CHECK_HAS(error_with("\"tokens\": 5", "\"tokens\": 0"), "m.json: shards[0].tokens");
    CHECK_HAS(error_with("\"tokens\": 5", "\"tokens\": -5"), "m.json: shards[0].tokens");
    CHECK_HAS(error_with("\"tokens\": 5", "\"tokens\": 2147483648"), "m.json: shards[0].tokens");
    CHECK_HAS(error_with("\"tokens\": 5", "\"tokens\": 5, \"tokens\": 5"), "stands twice");
    CHECK_HAS(error_with("\"tokens\": 5", "\"token\": 5"),
                      "m.json: shards[0].tokens: expected this key, found none");
    CHECK_HAS(error_with("\"tokens\": 5", "\"tokens\": 5, \"more\": 1"),
                      "m.json: shards[0]: expected no key \"more\", found 1");
    CHECK_HAS(error_with("\"train\"", "\"test\""), "m.json: shards[0].split");
    for (const char* name : {"", "../x.bin", "a/b", ".hidden", "a b", "..", "a\\\\b", "\\u0000"})
        CHECK_HAS(error_with("train_000000.bin", name),
                          "m.json: shards[0].file: expected a plain file name");
    const std::string shard = good.substr(good.find("    {"), good.find("\n  ]") - good.find("    {"));
    CHECK_HAS(error_with(shard, shard + "," + shard),
                      "m.json: shards[1].file: expected every file once");
    CHECK_HAS(error_with(shard, ""), "m.json: shards: expected at least one shard");
    for (size_t length = 0; length + 2 < good.size(); ++length)
        CHECK(error_of(ExitCode::input, [&] { manifest_from_json(good.substr(0, length), "m.json"); }) !=
              "no error");
}

TEST_CASE("disk full: a clear error, and no partial shard") {
    Folder folder;
    const std::string text = sample_text(400000, 8);
    const std::string before = "an older manifest";
    write_file(folder.path() / "manifest.json", as_bytes(before));
    // A limit on the size of files is the disk that is full; it holds for the whole process, so in a child.
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit limit{100000, 100000};
        std::signal(SIGXFSZ, SIG_IGN);
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int code = 0;
        try {
            write_shards(trained(), {text}, folder.path(),
                         {.shard_tokens = 100000, .heldout_share = 0.1});
        } catch (const Error& error) {
            const bool names_file = std::string(error.what()).find("train_000000.bin") != std::string::npos;
            code = names_file ? static_cast<int>(error.code()) : 99;
        }
        ::_exit(code);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == static_cast<int>(ExitCode::storage));
    CHECK(folder.files() == std::set<std::string>{"tokenizer.json"});
}
