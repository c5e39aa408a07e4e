// tokenize as a user meets it: pipes, compressed files, kills, Ctrl-C, what it says.
#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/text.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <map>

using namespace templar;

namespace {

struct Result {
    int code;
    std::string output;  // stdout and stderr
};

struct Workplace : TemporaryFolder {
    // A shell line in this folder; `tokenize` is the program.
    Result run(const std::string& line) const {
        const std::string log = (path() / "log").string();
        const int status = std::system(fmt::format("cd {} && PATH={}:$PATH && {{ {} ; }} >{} 2>&1 </dev/null",
                                                   path().string(), TEMPLAR_BIN_DIR, line, log)
                                           .c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text_file(log, 1 << 28)};
    }
    std::string read(const std::string& name) const { return read_text_file(path() / name, 1 << 28); }
    void write(const std::string& name, std::string_view content) const {
        write_file(path() / name, as_bytes(content));
    }
    std::map<std::string, std::string> contents(const std::string& name) const {
        std::map<std::string, std::string> files;
        for (const auto& entry : std::filesystem::directory_iterator(path() / name))
            files[entry.path().filename()] = read_text_file(entry.path(), 1 << 28);
        return files;
    }
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tokenize: from a text to a corpus and back") {
    const Workplace place;
    std::string text;
    for (uint64_t i = 0; i < 30; ++i) text += testing::sample_text(3000, i + 1) + "\n<|endoftext|>\n";
    place.write("book.txt", text);
    REQUIRE(place.run("tokenize train --vocab-size 400 --out tok.json book.txt").code == 0);
    const Result encoded = place.run("tokenize encode --tokenizer tok.json --out corpus --shard-tokens 9000 book.txt");
    CHECK(encoded.code == 0);
    CHECK(contains(encoded.output, "corpus/manifest.json: 30 documents"));
    CHECK(place.run("tokenize decode corpus/train_*.bin corpus/heldout_*.bin").output == text);
    const Result counted = place.run("tokenize count --tokenizer tok.json book.txt book.txt");
    CHECK(contains(counted.output, "book.txt\n"));
    CHECK(contains(counted.output, "in all"));
    // Every way of giving the same documents makes the same corpus, but for what the folder is called.
    const auto expected = place.contents("corpus");
    for (const char* way :
         {"gzip -c book.txt | tokenize encode --tokenizer tok.json --out other --shard-tokens 9000 -",
          "cat book.txt | tokenize encode --tokenizer tok.json --out other --shard-tokens 9000 --threads 1 -",
          "gzip -kf book.txt && tokenize encode --tokenizer tok.json --out other --shard-tokens 9000 book.txt.gz",
          "tokenize encode --tokenizer tok.json --out other --shard-tokens 9000 --threads 5 - <book.txt"}) {
        CAPTURE(way);
        std::filesystem::remove_all(place.path() / "other");
        CHECK(place.run(way).code == 0);
        CHECK(place.contents("other") == expected);
    }
    CHECK(place.run("tokenize encode --tokenizer tok.json --out raw --raw book.txt").code == 0);
    CHECK(place.run("tokenize decode raw/train.u16 raw/heldout.u16").output == text);
}

TEST_CASE("tokenize: killed or interrupted, the same command goes on to the same bytes") {
    const Workplace place;
    place.write("a.txt", testing::sample_text(6 << 20, 1));
    place.write("b.jsonl", "{\"text\":\"" + std::string(100, 'x') + "\"}\n");
    REQUIRE(place.run("gzip -k a.txt && tokenize train --vocab-size 300 --out tok.json b.jsonl a.txt").code == 0);
    const std::string command =
        "tokenize encode --threads 1 --tokenizer tok.json --shard-tokens 100000 a.txt b.jsonl a.txt.gz a.txt --out ";
    REQUIRE(place.run(command + "whole").code == 0);
    const auto expected = place.contents("whole");
    for (const char* signal : {"KILL", "INT"}) {
        const std::string folder = std::string("by-") + signal;
        Result result{1, ""};
        for (int tenths = 1; tenths < 600 && result.code != 0; tenths += tenths / 4 + 1) {
            result = place.run(fmt::format("timeout --preserve-status -s {} {}.{} {}{}", signal, tenths / 10,
                                           tenths % 10, command, folder));
            CAPTURE(result.output);
            CHECK((result.code == 0 || result.code == (std::string(signal) == "INT" ? 130 : 137)));
            if (result.code == 130) CHECK(contains(result.output, "the same command goes on where this one was"));
        }
        CHECK(place.contents(folder) == expected);
    }
}

TEST_CASE("tokenize: one clear line for what is wrong") {
    const Workplace place;
    place.write("a.txt", testing::sample_text(20'000));
    REQUIRE(place.run("tokenize train --vocab-size 300 --out tok.json a.txt").code == 0);
    place.write("bad.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"\n");
    const std::pair<const char*, const char*> cases[] = {
        {"tokenize encode --tokenizer tok.json --out c bad.jsonl", "bad.jsonl line 2: byte 11: expected ',' or '}'"},
        {"tokenize encode --tokenizer tok.json --out c --field body bad.jsonl", "line 1: byte 0: no field \"body\""},
        {"printf 'a\\377' | tokenize encode --tokenizer tok.json --out e -",
         "standard input is not UTF-8 text: byte 1 (line 1) is 0xff"},
        {"gzip -c a.txt | head -c 3000 | tokenize count --tokenizer tok.json -",
         "standard input ends in the middle of its gzip data"},
        {"tokenize encode --tokenizer tok.json --out f a.txt none.txt", "cannot open none.txt"},
        {"tokenize encode --tokenizer none.json --out f a.txt", "none.json"},
        {"tokenize encode --tokenizer tok.json --out f --separator begin a.txt", "no token that begins a document"},
        {"tokenize train --vocab-size 300 --out x.json bad.jsonl", "bad.jsonl line 2"},
    };
    for (const auto& [line, expected] : cases) {
        CAPTURE(line);
        const Result result = place.run(line);
        CHECK(result.code == 3);
        CHECK_MESSAGE(contains(result.output, expected), result.output);
        CHECK(std::count(result.output.begin(), result.output.end(), '\n') == 1);
    }
    CHECK(place.run("tokenize encode --tokenizer tok.json --out f --separator middle a.txt").code == 2);
    CHECK(contains(place.run("tokenize encode --help").output, "Parquet"));
    CHECK(place.run("tokenize encode --tokenizer tok.json --out /dev/null/x a.txt").code == 5);
    CHECK(place.run("tokenize decode --tokenizer tok.json c/manifest.json").code == 3);
}
