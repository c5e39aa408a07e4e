// Uploads in parts, with R2's rules: judged when they are completed.
#include "tests/system/s3_server_service.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

namespace templar::s3test {
namespace {

// The text of every <name>…</name>, in order.
std::vector<std::string> texts_of(std::string_view xml, const std::string& name) {
    const std::string open = "<" + name + ">", close = "</" + name + ">";
    std::vector<std::string> texts;
    for (size_t at = xml.find(open); at != std::string_view::npos; at = xml.find(open, at)) {
        at += open.size();
        const size_t end = xml.find(close, at);
        if (end == std::string_view::npos) break;
        texts.emplace_back(xml.substr(at, end - at));
    }
    return texts;
}

std::string without_quotes(std::string text) {
    for (const std::string_view quote : {"&quot;", "&#34;", "\""})
        for (size_t at = text.find(quote); at != std::string::npos; at = text.find(quote))
            text.erase(at, quote.size());
    return text;
}

Response document(const std::string& name, const std::string& content) {
    Response response;
    response.set("Content-Type", "application/xml");
    response.text = fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><{} "
        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</{}>",
        name, content, name);
    return response;
}

constexpr const char* no_such_upload =
    "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have "
    "been aborted "
    "or completed.";

}  // namespace

Response Service::create_upload(const Target& target) {
    std::lock_guard lock(mutex_);
    // Not in the alphabet of plain names, so that a client that forgets to encode it is found out.
    const std::string id = fmt::format("{:06}+/=&upload", next_upload_++);
    shelf(target.bucket)->uploads[id] = {target.key, now_ms(), {}};
    return document("InitiateMultipartUploadResult",
                    fmt::format("<Bucket>{}</Bucket><Key>{}</Key><UploadId>{}</UploadId>", target.bucket,
                                xml_text(target.key), xml_text(id)));
}

Response Service::upload_part(const Request& request, const Target& target) {
    const int64_t part = std::atoll(target.parameter("partNumber").c_str());
    if (part < 1 || part > 10'000)
        return refuse(target, 400, "InvalidArgument", "Part number must be an integer between 1 and 10000");
    Part received{request.body, md5(request.body)};
    Response response;
    response.set("ETag", "\"" + to_hex(as_bytes(received.md5)) + "\"");
    std::lock_guard lock(mutex_);
    auto& uploads = shelf(target.bucket)->uploads;
    const auto found = uploads.find(target.parameter("uploadId"));
    if (found == uploads.end() || found->second.key != target.key)
        return refuse(target, 404, "NoSuchUpload", no_such_upload);
    found->second.parts[part] = std::move(received);
    return response;
}

std::optional<Refusal> Service::judge_parts(
    const Upload& upload, const std::vector<std::pair<int64_t, std::string>>& listed) const {
    if (listed.empty()) return Refusal{400, "MalformedXML", "The XML you provided names no parts."};
    for (size_t i = 0; i < listed.size(); ++i) {
        const auto& [number, etag] = listed[i];
        if (i > 0 && number <= listed[i - 1].first)
            return Refusal{400, "InvalidPartOrder", "The list of parts was not in ascending order."};
        const auto part = upload.parts.find(number);
        if (part == upload.parts.end() || to_hex(as_bytes(part->second.md5)) != etag)
            return Refusal{400, "InvalidPart", "One or more of the specified parts could not be found."};
    }
    const size_t first = upload.parts.at(listed.front().first).bytes.size();
    for (size_t i = 0; i < listed.size(); ++i) {
        const size_t bytes = upload.parts.at(listed[i].first).bytes.size();
        const bool last = i + 1 == listed.size();
        if (!last && static_cast<int64_t>(bytes) < quirks_.min_part_bytes)
            return Refusal{400, "EntityTooSmall",
                           "Your proposed upload is smaller than the minimum allowed size."};
        if (quirks_.equal_parts && (last ? bytes > first : bytes != first))
            return Refusal{400, "InvalidPart", "All non-trailing parts must have the same length."};
    }
    return std::nullopt;
}

Response Service::complete_upload(const Request& request, const Target& target) {
    const std::vector<std::string> numbers = texts_of(as_text(request.body), "PartNumber");
    const std::vector<std::string> etags = texts_of(as_text(request.body), "ETag");
    if (numbers.size() != etags.size())
        return refuse(target, 400, "MalformedXML", "The XML you provided was not well-formed.");
    std::vector<std::pair<int64_t, std::string>> listed;
    for (size_t i = 0; i < numbers.size(); ++i)
        listed.emplace_back(std::atoll(numbers[i].c_str()), without_quotes(etags[i]));
    const bool create_only = request.header("if-none-match") == "*";

    std::lock_guard lock(mutex_);
    Shelf& place = *shelf(target.bucket);
    const auto found = place.uploads.find(target.parameter("uploadId"));
    if (found == place.uploads.end() || found->second.key != target.key)
        return refuse(target, 404, "NoSuchUpload", no_such_upload);
    const Upload& upload = found->second;
    if (const std::optional<Refusal> refusal = judge_parts(upload, listed))
        return error_response(target, *refusal, now_s());
    if (too_often(place, target.key)) return refuse(target, 429, "TooManyRequests", "one write a second");
    Bytes whole;
    std::string md5s;
    for (const auto& [part, etag] : listed) {
        const Part& piece = upload.parts.at(part);
        whole.insert(whole.end(), piece.bytes.begin(), piece.bytes.end());
        md5s += piece.md5;
    }
    const std::string etag = fmt::format("{}-{}", to_hex(as_bytes(md5(as_bytes(md5s)))), listed.size());
    const auto bytes = std::make_shared<const Bytes>(std::move(whole));
    const int64_t modified_ms = quirks_.modified_at_start ? upload.begun_ms : now_ms();
    const bool written = write(place, target.key, {bytes, *bytes, etag, modified_ms, 1}, create_only);
    place.uploads.erase(found);  // also when the condition failed
    if (!written)
        return refuse(target, 412, "PreconditionFailed",
                      "At least one of the pre-conditions you specified did not hold.");
    return document(
        "CompleteMultipartUploadResult",
        fmt::format("<Location>/{}/{}</Location><Bucket>{}</Bucket><Key>{}</Key><ETag>&quot;{}&quot;</ETag>",
                    target.bucket, xml_text(target.key), target.bucket, xml_text(target.key), etag));
}

Response Service::abort_upload(const Target& target) {
    std::lock_guard lock(mutex_);
    if (shelf(target.bucket)->uploads.erase(target.parameter("uploadId")) == 0)
        return refuse(target, 404, "NoSuchUpload", no_such_upload);
    Response response;
    response.status = 204;
    return response;
}

Response Service::list_parts(const Target& target) {
    const int64_t marker = std::atoll(target.parameter("part-number-marker").c_str());
    const std::string asked = target.parameter("max-parts");
    const int64_t limit = asked.empty() ? 1000 : std::clamp<int64_t>(std::atoll(asked.c_str()), 1, 1000);
    std::lock_guard lock(mutex_);
    const auto& uploads = shelf(target.bucket)->uploads;
    const auto found = uploads.find(target.parameter("uploadId"));
    if (found == uploads.end() || found->second.key != target.key)
        return refuse(target, 404, "NoSuchUpload", no_such_upload);
    std::string entries;
    int64_t count = 0, last = marker;
    bool truncated = false;
    const auto& parts = found->second.parts;
    for (auto part = parts.upper_bound(marker); part != parts.end(); ++part) {
        if ((truncated = count++ == limit)) break;
        last = part->first;
        entries += fmt::format(
            "<Part><PartNumber>{}</PartNumber><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            "<ETag>&quot;{}&quot;</ETag><Size>{}</Size></Part>",
            part->first, to_hex(as_bytes(part->second.md5)), part->second.bytes.size());
    }
    return document(
        "ListPartsResult",
        fmt::format(
            "<Bucket>{}</Bucket><Key>{}</Key><UploadId>{}</UploadId><PartNumberMarker>{}</PartNumberMarker>"
            "<NextPartNumberMarker>{}</NextPartNumberMarker><MaxParts>{}</MaxParts><IsTruncated>{}</"
            "IsTruncated>{}",
            target.bucket, xml_text(target.key), xml_text(found->first), marker, last, limit, truncated,
            entries));
}

Response Service::list_uploads(const Target& target) {
    const std::string prefix = target.parameter("prefix");
    const std::pair after(target.parameter("key-marker"), target.parameter("upload-id-marker"));
    const bool encode = target.parameter("encoding-type") == "url";
    const std::string asked = target.parameter("max-uploads");
    const int64_t limit = asked.empty() ? 1000 : std::clamp<int64_t>(std::atoll(asked.c_str()), 1, 1000);
    std::lock_guard lock(mutex_);
    std::map<std::pair<std::string, std::string>, int64_t> ordered;
    for (const auto& [id, upload] : shelf(target.bucket)->uploads)
        if (upload.key.starts_with(prefix) && std::pair(upload.key, id) > after &&
            (!after.second.empty() || upload.key > after.first || after.first.empty()))
            ordered[{upload.key, id}] = upload.begun_ms;
    std::string entries;
    int64_t count = 0;
    bool truncated = false;
    std::pair<std::string, std::string> last;
    for (const auto& [place, begun_ms] : ordered) {
        if ((truncated = count++ == limit)) break;
        last = place;
        entries += fmt::format(
            "<Upload><Key>{}</Key><UploadId>{}</UploadId><StorageClass>STANDARD</StorageClass><Initiated>{}</"
            "Initiated>"
            "</Upload>",
            encode ? percent_encoded(place.first, true) : xml_text(place.first), xml_text(place.second),
            iso_date(begun_ms));
    }
    const std::string next =
        fmt::format("<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{}</NextUploadIdMarker>",
                    encode ? percent_encoded(last.first, true) : xml_text(last.first), xml_text(last.second));
    return document(
        "ListMultipartUploadsResult",
        fmt::format("<Bucket>{}</Bucket>{}<MaxUploads>{}</MaxUploads><IsTruncated>{}</IsTruncated>{}{}",
                    target.bucket, encode ? "<EncodingType>url</EncodingType>" : "", limit, truncated,
                    truncated ? next : "", entries));
}

}  // namespace templar::s3test
