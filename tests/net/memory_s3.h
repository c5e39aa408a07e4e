// A small S3 service in memory, right in everything that no test changes.
#pragma once

#include "tests/net/s3_service.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>

namespace templar {

inline std::string md5_hex(std::string_view text) {
    std::array<uint8_t, 16> sum;
    REQUIRE(EVP_Digest(text.data(), text.size(), sum.data(), nullptr, EVP_md5(), nullptr) == 1);
    return to_hex(sum);
}

inline std::string sample(size_t size, uint32_t seed = 1) {
    std::string text(size, 0);
    for (char& c : text) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
    return text;
}

inline std::string query_value(const AskedOfS3& asked, const std::string& name) {
    const size_t at = asked.target.find(name + "=");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 1;
    return asked.target.substr(begin, asked.target.find('&', begin) - begin);
}

struct MemoryS3 {
    struct Upload {
        std::string path;
        std::map<int, std::string> parts;
    };
    std::map<std::string, std::string> objects;  // by path: "/bucket/key"
    std::map<std::string, std::string> etags;    // of objects from parts
    std::map<std::string, Upload> uploads;
    int uploads_begun = 0;
    // An answer instead; "-" for a connection that ends without one after the work was done, "!" before it;
    // "" for none of these.
    std::function<std::string(const AskedOfS3&, size_t)> instead = [](auto&&...) { return ""; };
    // Its threads use all above.
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

}  // namespace templar
