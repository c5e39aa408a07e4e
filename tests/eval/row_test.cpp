#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/eval/toy.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;

namespace {

std::vector<std::string> texts(std::string_view jsonl, std::string_view labels = {}) {
    std::vector<std::string> found;
    for_each_row(jsonl, labels, "f.jsonl",
                 [&](const Row& row) { found.push_back(row.text("t") + (labels.empty() ? "" : row.text("label"))); });
    return found;
}

}  // namespace

TEST_CASE("rows: one object a line, empty lines and the last line's end do not matter") {
    CHECK(texts("{\"t\":\"a\"}\n\n  \n{\"t\":\"b\"}\r\n{\"t\":\"c\"}") == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("rows that are not objects of JSON are refused with their line") {
    for (const char* bad :
         {"{\"t\":\"a\"", "[1]", "3", "{\"t\":\"\xff\"}", "{\"t\":\"\\ud800\"}", "{\"t\":\"a\"} x", "\xef\xbb\xbf x"}) {
        CAPTURE(bad);
        const std::string message =
            refusal([&] { texts("{\"t\":\"a\"}\n\n" + std::string(bad) + "\n{\"t\":\"a\"}\n"); });
        CHECK(message.find("f.jsonl line 3") == 0);
    }
    CHECK(refusal([] { texts("\n \n"); }).find("no rows") != std::string::npos);
    CHECK(refusal([] { texts(std::string(200'000, '[')); }).find("line 1") != std::string::npos);
    const std::string deep = "{\"t\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
    CHECK(refusal([&] { texts(deep); }) == "f.jsonl line 1: nested deeper than 16 levels");
}

TEST_CASE("a file of labels goes along with the rows") {
    CHECK(texts("{\"t\":\"a\"}\n{\"t\":\"b\"}\n", "0\n1\n") == std::vector<std::string>{"a0", "b1"});
    CHECK(refusal([] { texts("{\"t\":\"a\"}\n{\"t\":\"b\"}\n", "0\n"); }).find("no line for it") != std::string::npos);
    CHECK(refusal([] { texts("{\"t\":\"a\"}\n", "0\n1\n"); }).find("more lines") != std::string::npos);
}

TEST_CASE("a file of rows has the hash of its bytes") {
    const TemporaryFolder folder;
    write_file(folder.path() / "f", as_bytes("{}\n{}\n"));
    const RowFile file = for_each_row(folder.path() / "f", {}, [](const Row&) {});
    CHECK(file.hash == sha256(as_bytes("{}\n{}\n")));
    CHECK(file.rows == 2);
    CHECK(refusal([&] { for_each_row(folder.path() / "g", {}, [](const Row&) {}); }).find("cannot open") == 0);
}
