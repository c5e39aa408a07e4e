#include "engine/data/corpus.h"

#include "base/error.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>

#include <numeric>
#include <set>
#include <string>

using namespace templar;

namespace {

struct Folder : TemporaryFolder {
    std::filesystem::path write(const std::string& name, const Bytes& bytes) const {
        write_file(path() / name, bytes);
        return path() / name;
    }
};

Bytes shard(int32_t version, const std::vector<uint32_t>& tokens, int32_t magic = 20240520,
            int64_t count = -1) {
    ByteWriter writer;
    writer.put(magic);
    writer.put(version);
    writer.put(static_cast<int32_t>(count < 0 ? static_cast<int64_t>(tokens.size()) : count));
    writer.put_zeros(253 * 4);
    for (uint32_t token : tokens) {
        if (version == 7)
            writer.put(token);
        else
            writer.put(static_cast<uint16_t>(token));
    }
    return writer.take();
}

std::vector<uint32_t> run_of(uint32_t first, int count) {
    std::vector<uint32_t> tokens(count);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
}

// What the error says, "" when there is none.
template <class Function>
std::string error_of(Function function) {
    try {
        function();
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        return error.what();
    }
    return "";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

// Tokens 0 … 20 in three shards of different widths.
struct SmallCorpus {
    Folder folder;
    Corpus corpus{{folder.write("a.bin", shard(1, run_of(0, 5))),
                   folder.write("b.bin", shard(7, run_of(5, 1))),
                   folder.write("c.bin", shard(1, run_of(6, 15)))}};
};

}  // namespace

TEST_CASE("Corpus reads any range across shards") {
    const SmallCorpus small;
    CHECK(small.corpus.tokens() == 21);
    for (int64_t first = 0; first <= 21; ++first)
        for (int64_t count = 0; first + count <= 21; ++count) {
            std::vector<int32_t> out(count), expected(count);
            std::iota(expected.begin(), expected.end(), static_cast<int32_t>(first));
            small.corpus.read(first, out);
            REQUIRE(out == expected);
        }
}

TEST_CASE("Corpus refuses ranges outside itself") {
    const SmallCorpus small;
    std::vector<int32_t> out(3);
    for (int64_t first : {int64_t{-1}, int64_t{19}, int64_t{22}, INT64_MAX, INT64_MIN})
        CHECK(contains(error_of([&] { small.corpus.read(first, out); }), "inside its 21 tokens"));
}

TEST_CASE("Corpus keeps the full width of tokens, and refuses what no int32 holds") {
    const Folder folder;
    const Corpus wide({folder.write("a.bin", shard(1, {65535})),
                       folder.write("b.bin", shard(7, {70000, 0x7fffffff})),
                       folder.write("c.bin", shard(7, {0x80000000}))});
    std::vector<int32_t> out(3);
    wide.read(0, out);
    CHECK(out == std::vector<int32_t>{65535, 70000, 0x7fffffff});
    CHECK(contains(error_of([&] { wide.read(1, out); }), "below 2^31, found 2147483648 at position 3"));
}

TEST_CASE("Corpus refuses hostile shards and says why") {
    const Folder folder;
    auto refused = [&](const Bytes& bytes) {
        const std::string message = error_of([&] { Corpus({folder.write("x.bin", bytes)}); });
        CHECK(contains(message, "x.bin"));
        return message;
    };
    const std::vector<uint32_t> four = {1, 2, 3, 4};
    const Bytes good = shard(1, four);

    CHECK(contains(refused({}), "expected a header of 1024 bytes, found a file of 0"));
    CHECK(contains(refused(Bytes(good.begin(), good.begin() + 1023)), "found a file of 1023"));
    CHECK(contains(refused(shard(1, four, 20240521)), "magic 20240520"));
    CHECK(contains(refused(shard(2, four)), "version 1 (uint16 tokens) or 7 (uint32 tokens), found 2"));
    CHECK(contains(refused(shard(1, {})), "at least 1 token"));
    CHECK(contains(refused(shard(1, four, 20240520, 0x80000000)),
                   "at least 1 token, found a count of -2147483648"));
    CHECK(contains(refused(shard(1, four, 20240520, 0x7fffffff)), "expected 4294968318 bytes"));
    CHECK(contains(refused(shard(7, four, 20240520, 0x7fffffff)), "expected 8589935612 bytes"));
    CHECK(contains(refused(Bytes(good.begin(), good.end() - 1)),
                   "expected 1032 bytes for 4 tokens, found 1031"));
    Bytes longer = good;
    longer.push_back(0);
    CHECK(contains(refused(longer), "expected 1032 bytes for 4 tokens, found 1033"));

    CHECK(contains(error_of([&] {
                       Corpus({folder.write("good.bin", good), "no/such/shard.bin"});
                   }),
                   "shard.bin"));
    CHECK(contains(error_of([] { Corpus({}); }), "at least one shard"));
}

TEST_CASE("page_count leaves room for the last target") {
    const SmallCorpus small;  // 21 tokens
    CHECK(page_count(small.corpus, {2, 5}) == 2);
    CHECK(page_count(small.corpus, {1, 20}) == 1);
    CHECK(page_count(small.corpus, {1, 1}) == 20);
    CHECK(contains(error_of([&] {
                       page_count(small.corpus, {3, 7});
                   }),
                   "one page of 3 × 7 + 1 tokens, found 21"));
    CHECK(contains(error_of([&] { page_count(small.corpus, {0, 7}); }), "impossible shape"));
    CHECK(contains(error_of([&] { page_count(small.corpus, {3, -7}); }), "impossible shape"));
    CHECK(contains(error_of([&] { page_count(small.corpus, {INT64_MAX, 2}); }), "impossible shape"));
}

TEST_CASE("read_sequence: inputs, shifted labels, no target that ends a document") {
    const SmallCorpus small;
    const PageShape shape{2, 5};
    std::vector<int32_t> inputs(5), labels(5);
    read_sequence(small.corpus, shape, 0, 0, -1, inputs, labels);
    CHECK(inputs == std::vector<int32_t>{0, 1, 2, 3, 4});
    CHECK(labels == std::vector<int32_t>{1, 2, 3, 4, 5});
    // The last sequence of the last page ends with the corpus' last token as its target.
    read_sequence(small.corpus, shape, 1, 1, 18, inputs, labels);
    CHECK(inputs == std::vector<int32_t>{15, 16, 17, 18, 19});
    CHECK(labels == std::vector<int32_t>{16, 17, -100, 19, 20});
    read_sequence(small.corpus, shape, 1, 1, 20, inputs, labels);
    CHECK(labels == std::vector<int32_t>{16, 17, 18, 19, -100});
}

TEST_CASE("read_sequence refuses pages, sequences and shapes that are not there") {
    const SmallCorpus small;
    const PageShape shape{2, 5};
    std::vector<int32_t> inputs(5), labels(5);
    for (auto [page, s] : {std::pair<int64_t, int64_t>{2, 0}, {-1, 0}, {0, 2}, {0, -1}, {INT64_MAX, 0}})
        CHECK(contains(error_of([&] { read_sequence(small.corpus, shape, page, s, -1, inputs, labels); }),
                       "a page below 2 and a sequence below 2"));
    std::vector<int32_t> brief(4);
    CHECK_THROWS_AS(read_sequence(small.corpus, shape, 0, 0, -1, brief, labels), Error);
    CHECK_THROWS_AS(read_sequence(small.corpus, shape, 0, 0, -1, inputs, brief), Error);
}

TEST_CASE("PageAssignment: the same list for the same key, another for any other, every page in reach") {
    const Digest run = sha256(as_bytes("run")), root = sha256(as_bytes("root")),
                 key = sha256(as_bytes("hotkey"));
    auto draws = [](PageAssignment assignment) {
        std::vector<int64_t> pages;
        for (int i = 0; i < 200; ++i) pages.push_back(assignment.next());
        return pages;
    };
    const std::vector<int64_t> list = draws({run, root, key, 3, 10});
    CHECK(list == draws({run, root, key, 3, 10}));
    CHECK(list != draws({root, root, key, 3, 10}));
    CHECK(list != draws({run, run, key, 3, 10}));
    CHECK(list != draws({run, root, root, 3, 10}));
    CHECK(list != draws({run, root, key, 4, 10}));
    const std::set<int64_t> seen(list.begin(), list.end());
    CHECK(seen.size() == 10);
    CHECK(*seen.begin() == 0);
    CHECK(*seen.rbegin() == 9);

    // The formula of docs/protocol.md §4, once in full.
    ByteWriter writer;
    writer.put_bytes(as_bytes("assign"));
    writer.put_bytes(run);
    writer.put_bytes(root);
    writer.put_bytes(key);
    writer.put(uint64_t{3});
    CounterRng rng(sha256(writer.bytes()));
    for (int64_t page : list) REQUIRE(page == static_cast<int64_t>(rng.below(10)));

    CHECK(contains(error_of([&] { PageAssignment(run, root, key, 3, 0); }), "at least one page"));
}
