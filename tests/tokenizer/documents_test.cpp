// Documents out of files: every form, every compression, every way in which a file can be bad.
#include "base/error.h"
#include "tests/tokenizer/files.h"
#include "tokenizer/documents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

using namespace templar;
using namespace templar::testing;

namespace {

using Documents = std::vector<std::string_view>;
using Texts = std::vector<std::string>;

// Cuts before white space, as tokenizers do.
size_t cut_at_space(std::string_view text, size_t from) {
    const size_t at = text.find(' ', from);
    return at == std::string_view::npos ? text.size() : at;
}

Texts documents_in(const std::vector<Input>& inputs, size_t block_bytes = 1 << 20, const std::string& field = "text",
                   const Cut& cut = cut_at_space) {
    BlockOptions options;
    options.block_bytes = block_bytes;
    FileBlocks blocks(inputs, cut, options);
    Texts texts;
    Position last;
    bool open = false;
    while (const auto block = blocks.next({})) {
        CHECK((block->begin == last || (last.offset == 0 && block->begin.offset == 3)));  // a byte order mark
        last = block->end;
        for_each_piece(*block, field, [&](const Piece& piece) {
            CHECK(piece.begins != open);
            if (piece.begins) texts.emplace_back();
            texts.back() += piece.text;
            open = !piece.ends;
        });
    }
    CHECK(!open);
    CHECK(last == Position{.input = std::ssize(inputs)});
    return texts;
}
Texts documents_in(const std::string& path, size_t block_bytes = 1 << 20) {
    return documents_in(inputs_from({path}, false), block_bytes);
}

std::string error_in(const Folder& folder, const std::string& name, std::string_view content,
                     size_t block_bytes = 1 << 20) {
    const std::string path = folder.file(name, content);
    return error_of(ExitCode::input, [&] { documents_in(path, block_bytes); });
}

const std::string three_documents =
    "one two\n\nthree\n<|endoftext|>\nfour <|endoftext|>\n<|endoftext|> five\n<|endoftext|>\r\n "
    "\n<|endoftext|>\nsix\xc3\xa9\n";
const Texts the_three = {"one two\n\nthree\n", "four <|endoftext|>\n<|endoftext|> five\n", "six\xc3\xa9\n"};

}  // namespace

TEST_CASE("documents are split at lines of <|endoftext|>") {
    CHECK(split_documents("one\ntwo\n") == Documents{"one\ntwo\n"});
    CHECK(split_documents("a\n<|endoftext|>\nb\n<|endoftext|>\n") == Documents{"a\n", "b\n"});
    CHECK(split_documents("<|endoftext|>\na\n<|endoftext|>") == Documents{"a\n"});
    CHECK(split_documents("a\r\n<|endoftext|>\r\nb") == Documents{"a\r\n", "b"});
    CHECK(split_documents("a\n<|endoftext|>\n<|endoftext|>\n \n<|endoftext|>\n\tb") == Documents{"a\n", "\tb"});
    // Within a line it is text.
    CHECK(split_documents("a <|endoftext|>\nb") == Documents{"a <|endoftext|>\nb"});
    CHECK(split_documents("<|endoftext|> b\n<|endoftext|><|endoftext|>\n").size() == 1);
    // A byte order mark is not text.
    CHECK(split_documents("\xef\xbb\xbf<|endoftext|>\na") == Documents{"a"});
    CHECK(split_documents("").empty());
    CHECK(split_documents("\n\n<|endoftext|>\n").empty());
}

TEST_CASE("text is checked, with the place of the first bad byte") {
    check_text("plain\n", "f.txt");
    check_text("é中😀\x01", "f.txt");
    CHECK_HAS(error_of(ExitCode::input, [] { check_text("", "f.txt"); }), "f.txt is empty");
    CHECK_HAS(error_of(ExitCode::input, [] { check_text(std::string_view("ab\n\0\xff", 5), "f.txt"); }),
              "f.txt has a NUL byte at byte 3 (line 2)");
    CHECK_HAS(error_of(ExitCode::input, [] { check_text("\xff\xfe", "f.txt"); }),
              "f.txt is not UTF-8 text: byte 0 (line 1) is 0xff");
    CHECK_HAS(error_of(ExitCode::input, [] { check_text("a\nb\nc\xc3", "f.txt"); }), "byte 5 (line 3) is 0xc3");
    CHECK_HAS(error_of(ExitCode::input, [] { check_text(std::string_view("\xed\xa0\x80\0", 4), "f.txt"); }),
              "byte 0 (line 1) is 0xed");
}

TEST_CASE("what a file's name says about its form") {
    const auto form = [](const std::string& path) { return inputs_from({path}, false).at(0).form; };
    for (const char* name :
         {"a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz", "c4-train.00000-of-01024.json.gz", "a.jsonl.zst"})
        CHECK(form(name) == Form::jsonl);
    for (const char* name : {"a.txt", "a.txt.gz", "a", "-", "jsonl", "a.jsonl.txt", "a.gz"})
        CHECK(form(name) == Form::text);
    CHECK(inputs_from({"-"}, true).at(0).form == Form::jsonl);
}

TEST_CASE("documents of a text file are the same for every block size") {
    const Folder folder;
    const std::string path = folder.file("a.txt", three_documents);
    for (size_t block = 1; block < three_documents.size() + 3; ++block) {
        CAPTURE(block);
        CHECK(documents_in(path, block) == the_three);
    }
    // What split_documents gives for a text in memory.
    for (uint64_t seed = 1; seed < 40; ++seed) {
        Draw draw(seed);
        std::string text;
        const std::string parts[] = {
            "a", " ",      "\n",          "word ", "<|endoftext|>", "\n<|endoftext|>\n", "\r\n", "<|endoftext|>\r\n",
            "é", "\n\n\n", "<|endoftext", "|>"};
        for (int i = 0; i < 60; ++i) text += parts[draw.below(std::size(parts))];
        const std::string random = folder.file("random.txt", text);
        const Documents expected = split_documents(text);
        for (const size_t block : {1, 2, 7, 16, 31, 64, 1000}) {
            CAPTURE(text);
            CAPTURE(block);
            CHECK(documents_in(random, block) == Texts(expected.begin(), expected.end()));
        }
    }
}

TEST_CASE("documents of a JSONL file are the same for every block size") {
    const Folder folder;
    const std::string lines =
        "{\"text\":\"one\\ntwo\"}\n\n{\"id\":1,\"text\":\" \"}\r\n  "
        "\n{\"text\":\"<|endoftext|>\\n\"}\n{\"text\":\"é\"}";
    const std::string path = folder.file("a.jsonl", lines);
    for (size_t block = 1; block < lines.size() + 3; ++block)
        CHECK(documents_in(path, block) == Texts{"one\ntwo", "<|endoftext|>\n", "é"});
    const std::string other = folder.file("b", "{\"text\":1,\"body\":\"x\"}\n");
    CHECK(documents_in(inputs_from({other}, true), 1, "body") == Texts{"x"});
}

TEST_CASE("gzip and zstd are told by their first bytes, of many members and frames too") {
    const Folder folder;
    const std::string a = three_documents.substr(0, 30), b = three_documents.substr(30);
    const std::string skippable("\x52\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
    const std::pair<const char*, std::string> cases[] = {
        {"named.txt", gzip(three_documents)},
        {"members.txt", gzip(a) + gzip("") + gzip(b)},
        {"padded.txt", gzip(a) + gzip(b) + std::string(700, '\0')},
        {"frames.txt", zstd(a) + zstd("") + zstd(b)},
        {"skippable.txt", skippable + zstd(a) + skippable + zstd(b) + skippable},
        {"plain.gz", three_documents},
    };
    for (const auto& [name, content] : cases) {
        CAPTURE(name);
        const std::string path = folder.file(name, content);
        for (const size_t block : {1, 10, 1000}) CHECK(documents_in(path, block) == the_three);
    }
    const std::string big = sample_text(3 << 20);
    CHECK(documents_in(folder.file("big.gz", gzip(big))) == Texts{big});
    CHECK(documents_in(folder.file("big.zst", zstd(big)), 100'000) == Texts{big});
    CHECK(documents_in(folder.file("a.jsonl.zst", zstd("{\"text\":\"x\"}\n"))) == Texts{"x"});
}

TEST_CASE("damaged and truncated compressed files are errors, wherever they end") {
    const Folder folder;
    const std::string text = sample_text(20'000);
    for (const auto& [kind, good] : {std::pair("gzip", gzip(text)), std::pair("zstd", zstd(text))}) {
        CAPTURE(kind);
        for (size_t length = 4; length < good.size(); length += length < 40 || length + 40 > good.size() ? 1 : 397) {
            CAPTURE(length);
            CHECK_HAS(error_in(folder, "cut", good.substr(0, length)),
                      "ends in the middle of its " + std::string(kind) + " data");
        }
        std::string bad = good;
        bad[good.size() / 2] ^= 4;
        CHECK(error_in(folder, "bad", bad) != "no error");
        CHECK_HAS(error_in(folder, "tail", good + "more"),
                  kind == std::string("gzip") ? "damaged gzip data" : "zstd data");
    }
    std::string crc = gzip(text);
    crc[crc.size() - 6] ^= 1;
    CHECK_HAS(error_in(folder, "crc", crc), "damaged gzip data at about byte");
}

TEST_CASE("kinds of files that are not read here are named, with what to do") {
    const Folder folder;
    CHECK_HAS(error_in(folder, "a.parquet", std::string_view("PAR1\x15\x04\x15\x10", 8)),
              "Parquet file: pipe it as JSONL");
    CHECK_HAS(error_in(folder, "a.xz", std::string_view("\xfd\x37zXZ\0", 6)), "an xz file");
    CHECK_HAS(error_in(folder, "a.bz2", "BZh91AY&SYxxxx"), "a bzip2 file");
    CHECK_HAS(error_in(folder, "a.zip", "PK\x03\x04"), "a zip file");
    CHECK(documents_in(folder.file("b", "PAR1 is how Parquet begins; BZh9 bzip2")).size() == 1);
    CHECK_HAS(error_in(folder, "utf16", "\xff\xfeh"), "byte 0 (line 1) is 0xff");
    CHECK_HAS(error_of(ExitCode::input, [&] { documents_in((folder.path() / "none").string()); }), "cannot open");
    CHECK_HAS(error_of(ExitCode::input, [&] { documents_in(folder.path().string()); }), "is a folder");
    CHECK_HAS(error_of(ExitCode::input, [&] { input_bytes({folder.file("empty", "")}); }), "is empty");
}

TEST_CASE("bad bytes are named by file, line and byte, for every block size") {
    const Folder folder;
    std::string text;
    for (int line = 1; line < 200; ++line)
        text += "some words in a line\n" + std::string(line % 9 ? "" : "<|endoftext|>\n");
    const size_t at = text.size() / 2;
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n');
    for (const size_t block : {1, 50, 1 << 20}) {
        std::string bad = text;
        bad[at] = '\xfe';
        CHECK_HAS(error_in(folder, "a.txt", bad, block),
                  fmt::format("a.txt is not UTF-8 text: byte {} (line {}) is 0xfe", at, line));
        bad[at] = '\0';
        CHECK_HAS(error_in(folder, "a.txt", gzip(bad), block),
                  fmt::format("a.txt has a NUL byte at byte {} (line {})", at, line));
        const std::string lines = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n";
        CHECK_HAS(error_in(folder, "a.jsonl", lines + "{\"text\":\"\xff\"}\n", block),
                  "a.jsonl line 4: byte 9: not UTF-8 (0xff)");
        CHECK_HAS(error_in(folder, "a.jsonl", lines + "{\"text\":3}", block),
                  "a.jsonl line 4: byte 8: expected a text");
        CHECK_HAS(error_in(folder, "a.jsonl", lines + "{\"txet\":\"x\"}\n", block),
                  "line 4: byte 0: no field \"text\"");
        CHECK_HAS(error_in(folder, "a.jsonl", lines + "{\"text\":\"x", block),
                  "line 4: byte 8: a text that begins here");
    }
    CHECK_HAS(error_in(folder, "end.txt", "a\nb\xe4\xb8"), "byte 3 (line 2) is 0xe4");
}

TEST_CASE("a byte order mark at a file's beginning is left out, line ends are kept") {
    const Folder folder;
    const std::string mark = "\xef\xbb\xbf";
    for (const size_t block : {1, 100}) {
        CHECK(documents_in(folder.file("a.txt", mark + "<|endoftext|>\r\na\r\nb\r\n<|endoftext|>\r\n" + mark + "c"),
                           block) == Texts{"a\r\nb\r\n", mark + "c"});
        CHECK(documents_in(folder.file("a.jsonl", mark + "{\"text\":\"a\"}\r\n"), block) == Texts{"a"});
        CHECK(documents_in(folder.file("b.txt", gzip(mark)), block).empty());
    }
}

TEST_CASE("memory stays bounded: a document that cannot be cut may not pass the limit") {
    const Folder folder;
    const std::string bomb = folder.file("bomb.gz", gzip(std::string(30 << 20, 'x')));
    const std::string line = folder.file("bomb.jsonl", gzip("{}\n" + std::string(30 << 20, 'x')));
    BlockOptions options{.block_bytes = 1 << 16, .largest_document = 4 << 20};
    const auto first = [&](const std::string& path) {
        FileBlocks blocks(inputs_from({path}, false), cut_at_space, options);
        while (blocks.next({})) {
        }
    };
    CHECK_HAS(error_of(ExitCode::input, [&] { first(bomb); }), "bomb.gz line 1: a document of more than 4194304 bytes");
    CHECK_HAS(error_of(ExitCode::input, [&] { first(line); }), "bomb.jsonl line 2: a line of more than 4194304 bytes");
    options.largest_document = 64 << 20;
    CHECK(error_of(ExitCode::input, [&] { first(bomb); }) == "no error");
    // One that can be cut has no limit, and comes in small blocks.
    options.largest_document = 1 << 18;
    FileBlocks blocks(inputs_from({folder.file("words.gz", gzip(sample_text(8 << 20)))}, false), cut_at_space, options);
    while (const auto block = blocks.next({})) CHECK(block->text.size() <= 1 << 17);
}

TEST_CASE("reading goes on from any place between blocks") {
    const Folder folder;
    const std::vector<Input> inputs = inputs_from(
        {folder.file("a.txt", three_documents), folder.file("b.gz", gzip(three_documents + "\n" + three_documents)),
         folder.file("c.jsonl", "{\"text\":\"x\"}\n{\"text\":\"y\"}\n")},
        false);
    const BlockOptions options{.block_bytes = 8};
    std::vector<Block> all;
    FileBlocks whole(inputs, cut_at_space, options);
    while (auto block = whole.next({})) all.push_back(*block);
    REQUIRE(all.size() > 10);
    for (size_t i = 0; i < all.size(); ++i) {
        for (const int64_t unchanged : {int64_t{-1}, all[i].begin.input}) {
            FileBlocks rest(inputs, cut_at_space, options, all[i].begin, unchanged);
            for (size_t j = i; j < all.size(); ++j) {
                const auto block = rest.next({});
                REQUIRE(block);
                CHECK(block->text == all[j].text);
                CHECK(block->end == all[j].end);
            }
            CHECK(!rest.next({}));
        }
    }
    // What was read before has changed.
    const Position inside = all[1].begin;
    REQUIRE(inside.offset > 0);
    folder.file("a.txt", "O" + three_documents.substr(1));
    FileBlocks changed(inputs, cut_at_space, options, inside);
    CHECK_HAS(error_of(ExitCode::input, [&] { changed.next({}); }), "a.txt is not what it was: its first");
    folder.file("a.txt", "on");
    FileBlocks shorter(inputs, cut_at_space, options, inside);
    CHECK_HAS(error_of(ExitCode::input, [&] { shorter.next({}); }), "is not what it was");
}

TEST_CASE("a pipe is read as it comes, and a stop ends the wait for it") {
    const Folder folder;
    const std::string path = (folder.path() / "pipe").string();
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(input_bytes({path}) == -1);
    const auto write = [](const Descriptor& pipe, std::string_view text) {
        CHECK(::write(pipe.get(), text.data(), text.size()) == std::ssize(text));
    };
    std::jthread writer([&] {
        const Descriptor pipe(::open(path.c_str(), O_WRONLY));
        for (const char c : three_documents) write(pipe, std::string_view(&c, 1));
    });
    CHECK(documents_in(path, 10) == the_three);

    std::stop_source stop;
    std::jthread silent([&] {
        const Descriptor pipe(::open(path.c_str(), O_WRONLY));
        write(pipe, "one two three four five");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        stop.request_stop();
        std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the reader must not wait for this end
    });
    FileBlocks blocks(inputs_from({path}, false), cut_at_space, {});
    CHECK(!blocks.next(stop.get_token()));
}
