// Objects on their way: in ranges, in parts, and what may happen to them.
#include "base/sha256.h"
#include "tests/net/error_code.h"
#include "tests/net/s3_service.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>

using namespace templar;

namespace {

std::string md5_hex(std::string_view text) {
    std::array<uint8_t, 16> sum;
    REQUIRE(EVP_Digest(text.data(), text.size(), sum.data(), nullptr, EVP_md5(), nullptr) == 1);
    return to_hex(sum);
}

std::string sample(size_t size, uint32_t seed = 1) {
    std::string text(size, 0);
    for (char& c : text) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
    return text;
}

std::string query_value(const AskedOfS3& asked, const std::string& name) {
    const size_t at = asked.target.find(name + "=");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 1;
    return asked.target.substr(begin, asked.target.find('&', begin) - begin);
}

// A small S3 service, right in everything that no test changes.
struct MemoryS3 {
    struct Upload {
        std::string path;
        std::map<int, std::string> parts;
    };
    std::map<std::string, std::string> objects;  // by path: "/bucket/key"
    std::map<std::string, Upload> uploads;
    int uploads_begun = 0;
    // An answer instead; "-" for a connection that ends without one after the work was done, "!" before it;
    // "" for none of these.
    std::function<std::string(const AskedOfS3&, size_t)> instead = [](auto&&...) { return ""; };
    ScriptedS3 service{[this](const AskedOfS3& asked, size_t before) {
        std::string other = instead(asked, before);
        if (other == "!") return std::string();
        if (!other.empty() && other != "-") return other;
        const std::string answer = serve(asked);
        return other == "-" ? std::string() : answer;
    }};

    static std::string etag_line(std::string_view etag) { return fmt::format("ETag: \"{}\"\r\n", etag); }

    std::string etag_of_path(const std::string& path) const {
        const auto found = etags.find(path);
        return found == etags.end() ? md5_hex(objects.at(path)) : found->second;
    }
    std::map<std::string, std::string> etags;  // of objects from parts

    std::string serve(const AskedOfS3& asked) {
        const std::string path = asked.target.substr(0, asked.target.find('?'));
        if (asked.asks("uploadId=") || asked.asks("uploads=")) return serve_upload(asked, path);
        if (asked.method == "PUT") {
            if (asked.header("if-none-match") == "*" && objects.count(path))
                return s3_error(412, "PreconditionFailed");
            etags.erase(path);
            objects[path] = asked.body;
            return s3_answer(200, "", etag_line(md5_hex(asked.body)));
        }
        if (asked.method == "DELETE") return objects.erase(path), s3_answer(204);
        if (!objects.count(path)) return asked.method == "HEAD" ? s3_answer(404) : s3_error(404, "NoSuchKey");
        const std::string& object = objects[path];
        const std::string etag = etag_line(etag_of_path(path));
        if (asked.method == "HEAD")
            return s3_answer(200, "", etag + fmt::format("Content-Length: {}\r\n", object.size()));
        if (const std::string match = asked.header("if-match");
            !match.empty() && etag != "ETag: " + match + "\r\n")
            return s3_error(412, "PreconditionFailed");
        const std::string range = asked.header("range");
        if (range.empty()) return s3_answer(200, object, etag);
        size_t begin = 0, last = 0;
        REQUIRE(std::sscanf(range.c_str(), "bytes=%zu-%zu", &begin, &last) == 2);
        if (begin >= object.size())
            return s3_error(416, "InvalidRange", "",
                            fmt::format("Content-Range: bytes */{}\r\n", object.size()));
        last = std::min(last, object.size() - 1);
        return s3_answer(206, object.substr(begin, last - begin + 1),
                         etag + fmt::format("Content-Range: bytes {}-{}/{}\r\n", begin, last, object.size()));
    }

    std::string serve_upload(const AskedOfS3& asked, const std::string& path) {
        if (asked.method == "POST" && asked.asks("uploads=")) {
            const std::string id = fmt::format("upload{}", ++uploads_begun);
            uploads[id] = {path, {}};
            return s3_answer(200, fmt::format("<InitiateMultipartUploadResult><UploadId>{}</UploadId>"
                                              "</InitiateMultipartUploadResult>",
                                              id));
        }
        if (asked.asks("uploads=")) {
            std::string text = "<ListMultipartUploadsResult>";
            for (const auto& [id, upload] : uploads)
                text += fmt::format(
                    "<Upload><Key>{}</Key><UploadId>{}</UploadId>"
                    "<Initiated>2023-11-14T22:13:20.000Z</Initiated></Upload>",
                    upload.path.substr(8), id);
            return s3_answer(200, text + "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>");
        }
        const auto found = uploads.find(query_value(asked, "uploadId"));
        if (found == uploads.end() || found->second.path != path) return s3_error(404, "NoSuchUpload");
        Upload& upload = found->second;
        if (asked.method == "DELETE") return uploads.erase(found), s3_answer(204);
        if (asked.method == "PUT") {
            upload.parts[std::stoi(query_value(asked, "partNumber"))] = asked.body;
            return s3_answer(200, "", etag_line(md5_hex(asked.body)));
        }
        if (asked.method == "GET") {
            std::string text = "<ListPartsResult>";
            for (const auto& [number, part] : upload.parts)
                text +=
                    fmt::format("<Part><PartNumber>{}</PartNumber><ETag>\"{}\"</ETag><Size>{}</Size></Part>",
                                number, md5_hex(part), part.size());
            return s3_answer(200, text + "<IsTruncated>false</IsTruncated></ListPartsResult>");
        }
        if (asked.header("if-none-match") == "*" && objects.count(path)) {
            uploads.erase(found);
            return s3_error(412, "PreconditionFailed");
        }
        std::string whole, sums;
        for (const auto& [number, part] : upload.parts) {
            whole += part;
            const Bytes sum = from_hex(md5_hex(part), 16, "MD5");
            sums.append(sum.begin(), sum.end());
        }
        etags[path] = fmt::format("{}-{}", md5_hex(sums), upload.parts.size());
        objects[path] = whole;
        uploads.erase(found);
        return s3_answer(200, fmt::format("<CompleteMultipartUploadResult><ETag>&quot;{}&quot;</ETag>"
                                          "</CompleteMultipartUploadResult>",
                                          etags[path]));
    }

    int64_t count(std::string_view method, std::string_view part = "") const {
        const auto asked = service.asked();
        return std::count_if(asked.begin(), asked.end(),
                             [&](const AskedOfS3& one) { return one.method == method && one.asks(part); });
    }
};

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
    for (const int times : {1, 2}) {
        damaged = times;
        CHECK(as_text(client.fetch("key", 5000, 0, check)->first) == truth);
        CHECK(s3.service.asked().back().header("range") == "bytes=2500-2599");
    }
    damaged = 3;
    CHECK(code_of([&] { client.fetch("key", 5000, 0, check); }, "bytes [2500, 2600)") == ExitCode::input);
    CHECK(s3.count("GET") == 6 + 7 + 7);

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

TEST_CASE("s3 put: Content-MD5 always, a signed hash of what is short") {
    MemoryS3 s3;
    S3Client client = s3.service.client({});
    client.put("key", as_bytes("hello"));
    CHECK(s3.objects[path] == "hello");
    const AskedOfS3 small = s3.service.asked().back();
    CHECK(small.header("content-md5") == "XUFAKrxLKna5cZ2REBfFkg==");
    CHECK(small.header("x-amz-content-sha256") == to_hex(sha256(as_bytes("hello"))));
    CHECK(small.header("authorization").find("content-md5;host;") != std::string::npos);
    client.put("key", as_bytes(std::string((1 << 20) + 1, 'x')));
    CHECK(s3.service.asked().back().header("x-amz-content-sha256") == "UNSIGNED-PAYLOAD");
    CHECK(s3.service.asked().back().header("content-md5").size() == 24);
    CHECK(client.stats().class_a == 2);
    CHECK(client.stats().bytes_up == 5 + (1 << 20) + 1);
    client.remove("key");
    CHECK(s3.objects.empty());
    CHECK(client.stats().deletes == 1);
}

TEST_CASE("s3 put: an ETag that is another object's is an error, one that is no MD5 is none") {
    MemoryS3 s3;
    std::string headers = "ETag: \"00000000000000000000000000000000\"\r\n";
    s3.instead = [&](const AskedOfS3&, size_t) { return s3_answer(200, "", headers); };
    S3Client client = s3.service.client();
    CHECK(code_of([&] { client.put("key", as_bytes("x")); }, "ETag") == ExitCode::storage);
    CHECK(s3.service.requests() == 3);
    headers += "x-amz-server-side-encryption: aws:kms\r\n";
    client.put("key", as_bytes("x"));
    headers = "ETag: \"abc-1\"\r\n";
    client.put("key", as_bytes("x"));
    headers = "";  // who stores something says so
    CHECK(code_of([&] { client.put("key", as_bytes("x")); }, "without an ETag") == ExitCode::storage);
    CHECK(s3.service.requests() == 8);
}

TEST_CASE("s3 create: true only for who created it") {
    MemoryS3 s3;
    S3Client client = s3.service.client();
    CHECK(client.create("key", as_bytes("mine")));
    CHECK_FALSE(client.create("key", as_bytes("mine")));
    CHECK_FALSE(client.create("key", as_bytes("theirs")));
    CHECK(s3.objects[path] == "mine");
    CHECK(s3.service.requests() == 3);  // no answer was lost: nothing to compare
    CHECK(s3.service.asked()[0].header("if-none-match") == "*");
}

TEST_CASE("s3 create: a lost answer is no lost object") {
    for (const bool by_status : {false, true})
        for (const char* meanwhile : {"", "mine", "them", "longer"}) {
            CAPTURE(meanwhile);
            MemoryS3 s3;
            s3.instead = [&](const AskedOfS3& asked, size_t before) -> std::string {
                if (asked.method != "PUT" || before > 0) return "";
                if (*meanwhile) s3.objects[path] = meanwhile;
                if (by_status && !*meanwhile) s3.objects[path] = asked.body;
                return by_status ? s3_error(500, "InternalError") : "-";
            };
            S3Client client = s3.service.client();
            const bool ours = !*meanwhile || std::string(meanwhile) == "mine";
            CHECK(client.create("key", as_bytes("mine")) == ours);
            CHECK(s3.objects[path] == (*meanwhile ? meanwhile : "mine"));
        }
}

TEST_CASE("s3 parts: a long object goes up in equal parts and is one object") {
    MemoryS3 s3;
    S3Client client = s3.service.client();
    for (const size_t size : {3001, 4000, 10'500}) {
        const std::string object = sample(size);
        const int64_t parts = (static_cast<int64_t>(size) + 999) / 1000;
        const int64_t before = s3.count("PUT", "partNumber=");
        client.put("key", as_bytes(object));
        CHECK(s3.objects[path] == object);
        CHECK(s3.count("PUT", "partNumber=") - before == parts);
        CHECK(s3.uploads.empty());
        CHECK_FALSE(client.create("key", as_bytes(object)));
        s3.objects.clear();
        CHECK(client.create("key", as_bytes(object)));
        CHECK(s3.service.asked().back().header("if-none-match") == "*");
        CHECK(s3.objects[path] == object);
    }
    for (const AskedOfS3& asked : s3.service.asked())
        if (asked.asks("partNumber=")) CHECK(asked.header("content-md5").size() == 24);

    // More than 10,000 parts are too many: they grow.
    S3Policy policy = hasty_policy();
    policy.put_part_bytes = 1;
    policy.multipart_bytes = 1;
    policy.budget_ms = 60'000;
    const std::string object = sample(10'001);
    S3Client fine = s3.service.client(policy);
    fine.put("key", as_bytes(object));
    CHECK(s3.objects[path] == object);
    CHECK(s3.service.asked().back().asks("uploadId="));
    CHECK(query_value(*(s3.service.asked().rbegin() + 1), "partNumber").size() <= 4);
}

TEST_CASE("s3 parts: an upload that was cut off goes on where it was") {
    MemoryS3 s3;
    const std::string object = sample(10'500);
    MemoryS3::Upload cut{path, {}};
    for (const int number : {1, 2, 3, 5, 7, 11})
        cut.parts[number] = object.substr(static_cast<size_t>(number - 1) * 1000, 1000);
    cut.parts[5][0] ^= 1;      // other bytes
    cut.parts[7].resize(500);  // another length
    cut.parts[12] = "no part of ours";
    s3.uploads["other1"] = {path, {{1, "something else"}}};
    s3.uploads["resumed"] = cut;
    s3.uploads["second"] = cut;                                          // one is enough
    s3.uploads["longer"] = {path + "x", {{1, object.substr(0, 1000)}}};  // of another key
    // The service puts into the object what it is told to, and no more.
    s3.instead = [&](const AskedOfS3& asked, size_t) {
        if (asked.method == "POST") s3.uploads["resumed"].parts.erase(12);
        if (asked.method == "POST") CHECK(asked.body.find("<PartNumber>12<") == std::string::npos);
        return "";
    };
    S3Client client = s3.service.client();
    CHECK(client.create("key", as_bytes(object)));
    CHECK(s3.objects[path] == object);
    CHECK(s3.uploads_begun == 0);
    CHECK(s3.count("PUT") == 7);
    std::string left;
    for (const auto& [id, upload] : s3.uploads) left += id + " ";
    CHECK(left == "longer other1 second ");  // may be somebody's who is still at it
}

TEST_CASE("s3 parts: who may not look for unfinished uploads writes all the same") {
    MemoryS3 s3;
    s3.instead = [](const AskedOfS3& asked, size_t) {
        return asked.method == "GET" && asked.asks("uploads=") ? s3_error(403, "AccessDenied") : "";
    };
    S3Client client = s3.service.client();
    client.put("key", as_bytes(sample(5000)));
    CHECK(s3.objects[path] == sample(5000));
}

TEST_CASE("s3 parts: an upload that the service forgot is begun again, once") {
    for (const int times : {1, 2}) {
        MemoryS3 s3;
        int left = times;
        s3.instead = [&](const AskedOfS3& asked, size_t) {
            if (query_value(asked, "partNumber") == "4" && left-- > 0) s3.uploads.clear();
            return "";
        };
        S3Client client = s3.service.client();
        const std::string object = sample(5000);
        if (times == 1)
            CHECK(client.create("key", as_bytes(object)));
        else
            CHECK(code_of([&] { client.create("key", as_bytes(object)); }, "removed twice") ==
                  ExitCode::storage);
        CHECK(s3.objects[path] == (times == 1 ? object : ""));
        CHECK(s3.uploads_begun == 2);
    }
}

TEST_CASE("s3 parts: a completion whose answer was lost is looked for before it is repeated") {
    const std::string hidden = s3_answer(200, "<Error><Code>InternalError</Code></Error>");
    for (const std::string& answer : {std::string("-"), hidden, s3_error(504, "GatewayTimeout")})
        for (const bool done : {true, false}) {
            MemoryS3 s3;
            bool lost = false;
            s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
                if (asked.method != "POST" || asked.body.empty() || lost) return "";
                lost = true;
                if (done && answer != "-") s3.serve(asked);
                if (!done && answer == "-") return "!";
                return answer;
            };
            S3Client client = s3.service.client();
            const std::string object = sample(5000);
            CHECK(client.create("key", as_bytes(object)));
            CHECK(s3.objects[path] == object);
            CHECK(s3.uploads_begun == 1);
            CHECK(s3.count("POST", "uploadId=") <= (done ? 1 : 2));
        }
}

TEST_CASE("s3 parts: who comes second when it is completed has not created it") {
    MemoryS3 s3;
    s3.instead = [&](const AskedOfS3& asked, size_t) {
        if (asked.method == "POST" && !asked.body.empty()) s3.objects[path] = "theirs";
        return "";
    };
    S3Client client = s3.service.client();
    CHECK_FALSE(client.create("key", as_bytes(sample(5000))));
    CHECK(s3.objects[path] == "theirs");
}

TEST_CASE("s3 parts: a failure and a stop leave nothing behind") {
    for (const bool stopped : {false, true}) {
        MemoryS3 s3;
        std::atomic<bool> stop{false};
        s3.instead = [&](const AskedOfS3& asked, size_t) -> std::string {
            if (query_value(asked, "partNumber") != "3") return "";
            if (stopped) stop = true;
            return stopped ? s3_error(503, "SlowDown") : s3_error(403, "AccessDenied");
        };
        S3Client client = s3.service.client(hasty_policy(), test_key, &stop);
        CHECK(code_of([&] { client.put("key", as_bytes(sample(5000))); }) ==
              (stopped ? ExitCode::interrupted : ExitCode::storage));
        CHECK(s3.uploads.empty());
        CHECK(s3.objects.empty());
    }
}

TEST_CASE("s3: what takes long is told of") {
    MemoryS3 s3;
    S3Policy policy = hasty_policy();
    policy.get_part_bytes = policy.put_part_bytes = 500'000;
    policy.multipart_bytes = 1'000'000;
    s3.instead = [&](const AskedOfS3&, size_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        return "";
    };
    S3Client client = s3.service.client(policy);
    std::vector<int64_t> told;
    client.progress = [&](const std::string& key, int64_t done, int64_t total) {
        CHECK(key == "key");
        CHECK(total == 3'000'000);
        told.push_back(done);
    };
    const std::string object = sample(3'000'000);
    client.put("key", as_bytes(object));
    CHECK(as_text(client.fetch("key", 3'000'000, 0, nullptr)->first) == object);
    REQUIRE(told.size() >= 2);
    CHECK(told.size() <= 12);
    CHECK(told.back() == 3'000'000);
    CHECK(std::count(told.begin(), told.end(), 3'000'000) == 2);
}
