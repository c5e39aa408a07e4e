// Objects on their way here: in ranges, and what may happen to them.
#include "tests/net/error_code.h"
#include "tests/net/memory_s3.h"

using namespace templar;

namespace {

const std::string path = "/bucket/key";
const std::vector<ByteRange> nothing_bad;

}  // namespace

TEST_CASE("s3 fetch: ranges side by side, all of the first one's version") {
    MemoryS3 s3;
    s3.objects[path] = sample(10'500);
    S3Client client = s3.service.client();
    std::vector<ByteRange> arrived;
    const auto here = std::this_thread::get_id();
    const auto found = client.fetch("key", 10'500, 0, [&](ByteSpan object, ByteRange range) {
        CHECK(std::this_thread::get_id() == here);
        CHECK(object.size() == 10'500);
        CHECK(as_text(object.subspan(range.begin, range.end - range.begin)) ==
              s3.objects[path].substr(range.begin, range.end - range.begin));
        arrived.push_back(range);
        return nothing_bad;
    });
    REQUIRE(found);
    CHECK(as_text(found->first) == s3.objects[path]);
    CHECK(found->second.modified_ms == object_time_s * 1000);
    CHECK(found->second.size == 10'500);
    std::sort(arrived.begin(), arrived.end(), [](auto a, auto b) { return a.begin < b.begin; });
    REQUIRE(arrived.size() == 11);
    for (size_t i = 0; i < arrived.size(); ++i)
        CHECK(arrived[i] ==
              ByteRange{int64_t(i) * 1000, std::min<int64_t>(int64_t(i) * 1000 + 1000, 10'500)});
    const auto asked = s3.service.asked();
    CHECK(asked.size() == 11);
    CHECK(asked[0].header("range") == "bytes=0-999");
    CHECK(asked[0].header("if-match").empty());
    for (size_t i = 1; i < asked.size(); ++i)
        CHECK(asked[i].header("if-match") == "\"" + md5_hex(s3.objects[path]) + "\"");
    CHECK(client.stats().bytes_down == 10'500);

    // What fits into one range, an object of nothing among it, is asked for as it is.
    for (const int64_t size : {0, 1, 1000}) {
        s3.objects[path] = sample(static_cast<size_t>(size));
        CHECK(as_text(client.fetch("key", size, 0, nullptr)->first) == s3.objects[path]);
        CHECK(s3.service.asked().back().header("range").empty());
    }
    CHECK(s3.service.requests() == 14);
}

TEST_CASE("s3 fetch: another length is found out before the body") {
    MemoryS3 s3;
    S3Client client = s3.service.client();
    for (const size_t size : {0, 1, 999, 1000, 1001, 4999, 5001, 100'000}) {
        CAPTURE(size);
        s3.objects[path] = sample(size);
        CHECK(code_of([&] { client.fetch("key", 5000, 0, nullptr); }) == ExitCode::input);
        CHECK(code_of([&] { client.fetch("key", 998, 0, nullptr); }) == ExitCode::input);
    }
    CHECK(s3.service.requests() == 16);
}

TEST_CASE("s3 fetch: an object that changes is read again, once") {
    for (const int changes : {1, 2, 3}) {
        MemoryS3 s3;
        s3.objects[path] = sample(5000);
        int left = changes;
        s3.instead = [&](const AskedOfS3& asked, size_t) {
            if (asked.header("range").starts_with("bytes=2000-") && left-- > 0)
                s3.objects[path] = sample(5000, static_cast<uint32_t>(left) + 7);
            return "";
        };
        S3Client client = s3.service.client();
        if (changes == 1)
            CHECK(as_text(client.fetch("key", 5000, 0, nullptr)->first) == s3.objects[path]);
        else
            CHECK(code_of([&] { client.fetch("key", 5000, 0, nullptr); }, "changed twice") ==
                  ExitCode::input);
    }
    // Removed in the middle: there is none.
    MemoryS3 s3;
    s3.objects[path] = sample(5000);
    s3.instead = [&](const AskedOfS3& asked, size_t) {
        if (!asked.header("if-match").empty()) s3.objects.clear();
        return "";
    };
    CHECK_FALSE(s3.service.client().fetch("key", 5000, 0, nullptr));
}

TEST_CASE("s3 fetch: If-Match may be ignored; another ETag is seen all the same") {
    MemoryS3 s3;
    s3.objects[path] = sample(5000);
    s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
        const std::string range = asked.header("range");
        if (!range.starts_with("bytes=3000-")) return "";
        return s3_answer(206, sample(1000, 9), "ETag: \"0\"\r\nContent-Range: bytes 3000-3999/5000\r\n");
    };
    S3Client client = s3.service.client();
    CHECK(code_of([&] { client.fetch("key", 5000, 0, nullptr); }, "changed twice") == ExitCode::input);
}

TEST_CASE("s3 fetch: a range that is another one is not believed") {
    const std::string part = sample(1000, 5);
    for (const char* wrong :
         {"Content-Range: bytes 2001-3000/5000\r\n", "Content-Range: bytes 2000-2998/5000\r\n",
          "Content-Range: 2000-2999/5000\r\n", "Content-Range: bytes 2000-2999/*\r\n",
          "Content-Range: bytes 2000-2999/99999999999999999999\r\n", ""}) {
        CAPTURE(wrong);
        for (const int times : {2, 1000}) {
            MemoryS3 s3;
            s3.objects[path] = sample(5000);
            int left = times;
            s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
                if (!asked.header("range").starts_with("bytes=2000-") || left-- <= 0) return "";
                return s3_answer(206, part, MemoryS3::etag_line(md5_hex(s3.objects[path])) + wrong);
            };
            S3Client client = s3.service.client();
            if (times == 2)
                CHECK(as_text(client.fetch("key", 5000, 0, nullptr)->first) == s3.objects[path]);
            else
                CHECK(code_of([&] { client.fetch("key", 5000, 0, nullptr); }) == ExitCode::storage);
            CHECK(s3.count("GET") <= 8);
        }
    }
}

TEST_CASE("s3 fetch: a service without ranges or ETags is asked for all at once") {
    for (const bool without_ranges : {true, false}) {
        MemoryS3 s3;
        s3.objects[path] = sample(5000);
        s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
            if (asked.header("range").empty() || without_ranges) return s3_answer(200, s3.objects[path]);
            return s3_answer(206, s3.objects[path].substr(0, 1000), "Content-Range: bytes 0-999/5000\r\n");
        };
        S3Client client = s3.service.client();
        int calls = 0;
        const auto found = client.fetch("key", 5000, 0, [&](ByteSpan, ByteRange arrived) {
            if (arrived.end == 0) return nothing_bad;  // it begins again
            CHECK(arrived == ByteRange{0, 5000});
            return ++calls == 1 ? std::vector<ByteRange>{{10, 20}} : nothing_bad;
        });
        CHECK(as_text(found->first) == s3.objects[path]);
        CHECK(calls == 2);
        CHECK(s3.service.requests() == 3);
        // A part of it cannot be had from such a service, a whole can.
        if (without_ranges) CHECK(code_of([&] { client.get_range("key", 10, 20); }) == ExitCode::storage);
        CHECK(as_text(*client.get_range("key", 0, 5000)) == s3.objects[path]);
    }
}

TEST_CASE("s3 fetch: what arrived damaged is fetched again alone, twice at most") {
    MemoryS3 s3;
    s3.objects[path] = sample(5000);
    int damaged = 0;
    const std::string truth = s3.objects[path];
    s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
        const std::string range = asked.header("range");
        size_t begin = 0, last = 0;
        std::sscanf(range.c_str(), "bytes=%zu-%zu", &begin, &last);
        if (begin > 2500 || last < 2500 || damaged-- <= 0) return "";
        std::string body = truth.substr(begin, last - begin + 1);
        body[2500 - begin] ^= 1;
        return s3_answer(206, body,
                         MemoryS3::etag_line(md5_hex(truth)) +
                             fmt::format("Content-Range: bytes {}-{}/5000\r\n", begin, last));
    };
    const auto check = [&](ByteSpan object, ByteRange arrived) {
        std::vector<ByteRange> bad;
        for (int64_t at = arrived.begin / 100 * 100; at < arrived.end; at += 100)
            if (as_text(object.subspan(at, 100)) != truth.substr(at, 100)) bad.push_back({at, at + 100});
        return bad;
    };
    S3Client client = s3.service.client();
    const auto repairs = [&] {  // not always the last to be asked for: other parts may still be under way
        return std::ranges::count_if(s3.service.asked(), [](const AskedOfS3& asked) {
            return asked.header("range") == "bytes=2500-2599";
        });
    };
    for (const int times : {1, 2}) {
        const auto before = repairs();
        damaged = times;
        CHECK(as_text(client.fetch("key", 5000, 0, check)->first) == truth);
        CHECK(repairs() == before + times);
    }
    damaged = 3;
    CHECK(code_of([&] { client.fetch("key", 5000, 0, check); }, "bytes [2500, 2600)") == ExitCode::input);
    CHECK(repairs() == 1 + 2 + 2);
    CHECK(s3.count("GET") <= 6 + 7 + 7);  // fewer when the failure came before the other parts were asked for

    const size_t before = s3.service.requests();
    CHECK(code_of(
              [&] {
                  client.fetch("key", 5000, 0, [](ByteSpan, ByteRange) -> std::vector<ByteRange> {
                      fail(ExitCode::input, "enough");
                  });
              },
              "enough") == ExitCode::input);
    CHECK(s3.service.requests() - before <= 5);
}

TEST_CASE("s3 range: any part of an object, exactly") {
    MemoryS3 s3;
    s3.objects[path] = sample(10'000);
    S3Client client = s3.service.client();
    for (const auto& [offset, length] :
         {std::pair<int64_t, int64_t>{0, 1}, {9'999, 1}, {1, 4'321}, {0, 10'000}})
        CHECK(as_text(*client.get_range("key", offset, length)) == s3.objects[path].substr(offset, length));
    CHECK(client.get_range("key", 10'000, 0)->empty());
    for (const auto& [offset, length] : {std::pair<int64_t, int64_t>{0, 10'001},
                                         {9'999, 2},
                                         {10'000, 1},
                                         {10'001, 0},
                                         {-1, 1},
                                         {0, -1},
                                         {INT64_MAX, INT64_MAX},
                                         {5, 20'000}})
        CHECK(code_of([&] { client.get_range("key", offset, length); }) == ExitCode::input);
}
