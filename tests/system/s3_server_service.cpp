#include "tests/system/s3_server_service.h"

#include "base/error.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>

namespace templar::s3test {
namespace {

bool writes(Operation operation) {
    return operation == Operation::put || operation == Operation::remove ||
           operation == Operation::create_upload || operation == Operation::upload_part ||
           operation == Operation::complete_upload || operation == Operation::abort_upload;
}

std::optional<int64_t> number(std::string_view text) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0)
        return std::nullopt;
    return value;
}

// "bytes=a-b", "bytes=a-" or "bytes=-n" of an object; nothing when it cannot be satisfied.
std::optional<std::pair<int64_t, int64_t>> read_range(const std::string& text, int64_t size) {
    if (!text.starts_with("bytes=")) return std::nullopt;
    const std::string_view spec = std::string_view(text).substr(6);
    const size_t dash = spec.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    const std::optional<int64_t> first = number(spec.substr(0, dash)), last = number(spec.substr(dash + 1));
    if (!first && !last) return std::nullopt;
    if (!first) return std::pair(std::max<int64_t>(0, size - *last), size);
    if (*first >= size || (last && *last < *first)) return std::nullopt;
    return std::pair(*first, last ? std::min(size, *last + 1) : size);
}

bool etag_matches(const std::string& condition, const std::string& etag) {
    return condition == "*" || condition == etag || condition == "\"" + etag + "\"";
}

}  // namespace

std::string Target::parameter(const std::string& name) const {
    const auto found = query.find(name);
    return found == query.end() ? std::string() : found->second;
}

Target read_target(const Request& request) {
    Target target;
    for (const auto& [name, value] : query_parameters(request.query)) target.query[name] = value;
    const std::string path = percent_decoded(request.path, false);
    const size_t slash = path.find('/', 1);
    target.bucket = path.substr(1, slash == std::string::npos ? slash : slash - 1);
    if (slash != std::string::npos) target.key = path.substr(slash + 1);
    const auto given = [&](const char* name) { return target.query.contains(name); };
    const std::string& method = request.method;
    if (target.key.empty()) {
        if (method == "GET" && given("uploads")) target.operation = Operation::list_uploads;
        if (method == "GET" && target.parameter("list-type") == "2") target.operation = Operation::list;
    } else if (method == "GET") {
        target.operation = given("uploadId") ? Operation::list_parts : Operation::get;
    } else if (method == "HEAD") {
        target.operation = Operation::head;
    } else if (method == "PUT") {
        target.operation = given("partNumber") ? Operation::upload_part : Operation::put;
    } else if (method == "DELETE") {
        target.operation = given("uploadId") ? Operation::abort_upload : Operation::remove;
    } else if (method == "POST" && given("uploads")) {
        target.operation = Operation::create_upload;
    } else if (method == "POST" && given("uploadId")) {
        target.operation = Operation::complete_upload;
    }
    return target;
}

std::string http_date(int64_t unix_s) {
    const std::time_t seconds = unix_s;
    std::tm fields{};
    ::gmtime_r(&seconds, &fields);
    char text[40];
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &fields);
    return text;
}

std::string iso_date(int64_t unix_ms) {
    const std::time_t seconds = unix_ms / 1000;
    std::tm fields{};
    ::gmtime_r(&seconds, &fields);
    char text[40];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &fields);
    return fmt::format("{}.{:03}Z", text, unix_ms % 1000);
}

std::string xml_text(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c == '&')
            result += "&amp;";
        else if (c == '<')
            result += "&lt;";
        else if (c == '>')
            result += "&gt;";
        else if (c == '"')
            result += "&quot;";
        else if (static_cast<unsigned char>(c) < 0x20)
            result += fmt::format("&#{};", static_cast<int>(c));
        else
            result += c;
    }
    return result;
}

// As R2: no namespace, no request id; cf-ray is what its support asks for.
Response error_response(const Target& target, const Refusal& refusal, int64_t now_s) {
    Response response;
    response.status = refusal.status;
    response.headers = {{"Date", http_date(now_s)},
                        {"Content-Type", "application/xml"},
                        {"cf-ray", "8e6f0123456789ab-AMS"},
                        {"Server", "cloudflare"}};
    if (target.operation != Operation::head && refusal.status != 304)
        response.text = fmt::format(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{}</Code><Message>{}</Message></Error>",
            xml_text(refusal.code), xml_text(refusal.message));
    return response;
}

int64_t Service::now_ms() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count() + 1000 * clock_offset_s_;
}

void Service::add_key(const Key& key) {
    std::lock_guard lock(mutex_);
    keys_.push_back(key);
}

void Service::add_bucket(const std::string& name, bool public_read) {
    std::lock_guard lock(mutex_);
    shelves_[name].public_read = public_read;
}

void Service::store(const std::string& bucket, const std::string& key, Blob blob) {
    blob.etag = to_hex(as_bytes(md5(blob.bytes)));
    blob.modified_ms = now_ms();
    std::lock_guard lock(mutex_);
    shelves_[bucket].objects[key] = std::move(blob);
}

void Service::set_modified(const std::string& bucket, const std::string& key, int64_t unix_ms) {
    std::lock_guard lock(mutex_);
    shelves_.at(bucket).objects.at(key).modified_ms = unix_ms;
}

int64_t Service::uploads_open(const std::string& bucket) const {
    std::lock_guard lock(mutex_);
    const auto found = shelves_.find(bucket);
    return found == shelves_.end() ? 0 : static_cast<int64_t>(found->second.uploads.size());
}

std::optional<Blob> Service::blob(const std::string& bucket, const std::string& key) const {
    std::lock_guard lock(mutex_);
    const auto shelf = shelves_.find(bucket);
    if (shelf == shelves_.end()) return std::nullopt;
    const auto found = shelf->second.objects.find(key);
    if (found == shelf->second.objects.end()) return std::nullopt;
    return found->second;
}

Service::Shelf* Service::shelf(const std::string& bucket) {
    const auto found = shelves_.find(bucket);
    return found == shelves_.end() ? nullptr : &found->second;
}

Response Service::refuse(const Target& target, int status, const std::string& code,
                         const std::string& message) const {
    return error_response(target, {status, code, message}, now_s());
}

Response Service::answer(const Request& request, const Target& target) {
    Judge rules{{}, quirks_.region, "s3", now_s()};
    bool bucket_known = false, open_to_all = false;
    {
        std::lock_guard lock(mutex_);
        rules.keys = keys_;
        const Shelf* found = shelf(target.bucket);
        bucket_known = found != nullptr;
        open_to_all = found && found->public_read && !writes(target.operation);
    }
    const bool uploads = request.method == "PUT" || request.method == "POST";
    if (uploads && !request.content_length()) {
        Response response = refuse(target, 411, "MissingContentLength", "Content-Length must be given");
        response.close = true;
        return response;
    }
    const Key* signer = nullptr;
    if (const std::optional<Refusal> refusal = judge(request, rules, signer))
        return error_response(target, *refusal, now_s());
    if (!signer && !open_to_all) return refuse(target, 403, "AccessDenied", "Access Denied");
    if (signer && signer->read_only && writes(target.operation))
        return refuse(target, 403, "AccessDenied", "This key may only read.");
    if (!bucket_known) return refuse(target, 404, "NoSuchBucket", "The specified bucket does not exist.");
    Response response = perform(request, target);
    response.set("Date", http_date(now_s()));
    return response;
}

Response Service::perform(const Request& request, const Target& target) {
    switch (target.operation) {
        case Operation::get:
        case Operation::head:
            return get(request, target);
        case Operation::put:
            return put(request, target);
        case Operation::remove:
            return remove(target);
        case Operation::list:
            return list(target);
        case Operation::create_upload:
            return create_upload(target);
        case Operation::upload_part:
            return upload_part(request, target);
        case Operation::complete_upload:
            return complete_upload(request, target);
        case Operation::abort_upload:
            return abort_upload(target);
        case Operation::list_parts:
            return list_parts(target);
        case Operation::list_uploads:
            return list_uploads(target);
        case Operation::other:
            break;
    }
    return refuse(target, 501, "NotImplemented", "this server does not know that operation");
}

Response Service::get(const Request& request, const Target& target) {
    const std::optional<Blob> found = blob(target.bucket, target.key);
    if (!found) return refuse(target, 404, "NoSuchKey", "The specified key does not exist.");
    const std::string if_match = request.header("if-match"), if_none_match = request.header("if-none-match");
    if (!if_match.empty() && !etag_matches(if_match, found->etag))
        return refuse(target, 412, "PreconditionFailed", "the object's ETag is another");
    if (!if_none_match.empty() && etag_matches(if_none_match, found->etag))
        return refuse(target, 304, "NotModified", "");
    Response response;
    response.headers = {{"Content-Type", "application/octet-stream"},
                        {"ETag", "\"" + found->etag + "\""},
                        {"Last-Modified", http_date(found->modified_ms / 1000)},
                        {"Accept-Ranges", "bytes"}};
    response.owner = found->owner;
    response.body = found->bytes;
    const std::string range = request.header("range");
    if (range.empty()) return response;
    const int64_t size = static_cast<int64_t>(found->bytes.size());
    const auto bounds = read_range(range, size);
    if (!bounds) {
        Response refusal = refuse(target, 416, "InvalidRange", "The requested range is not satisfiable");
        refusal.set("Content-Range", fmt::format("bytes */{}", size));
        return refusal;
    }
    response.status = 206;
    response.body = found->bytes.subspan(bounds->first, bounds->second - bounds->first);
    response.set("Content-Range", fmt::format("bytes {}-{}/{}", bounds->first, bounds->second - 1, size));
    return response;
}

bool Service::too_often(Shelf& shelf, const std::string& key) const {
    if (!quirks_.one_write_per_second) return false;
    int64_t& last = shelf.written_ms[key];
    const bool early = last != 0 && now_ms() - last < 1000;
    if (!early) last = now_ms();
    return early;
}

bool Service::write(Shelf& shelf, const std::string& key, Blob blob, bool create_only) {
    const auto found = shelf.objects.find(key);
    if (found != shelf.objects.end()) {
        if (create_only && quirks_.if_none_match) return false;
        blob.times_stored += found->second.times_stored;
    }
    shelf.objects[key] = std::move(blob);
    return true;
}

Response Service::put(const Request& request, const Target& target) {
    const auto bytes = std::make_shared<const Bytes>(request.body);
    Blob blob{bytes, *bytes, to_hex(as_bytes(md5(*bytes))), now_ms(), 1};
    Response response;
    response.set("ETag", "\"" + blob.etag + "\"");
    std::lock_guard lock(mutex_);
    Shelf& found = *shelf(target.bucket);
    if (too_often(found, target.key))
        return refuse(target, 429, "TooManyRequests",
                      "Reduce your rate of simultaneous reads or writes on the same object.");
    if (!write(found, target.key, std::move(blob), request.header("if-none-match") == "*"))
        return refuse(target, 412, "PreconditionFailed",
                      "At least one of the pre-conditions you specified did not hold.");
    return response;
}

Response Service::remove(const Target& target) {
    std::lock_guard lock(mutex_);
    shelf(target.bucket)->objects.erase(target.key);
    Response response;
    response.status = 204;
    return response;
}

Response Service::list(const Target& target) {
    constexpr int64_t longest_page = 1000;
    const std::string prefix = target.parameter("prefix"), token = target.parameter("continuation-token");
    const std::string after = token.empty() ? target.parameter("start-after") : percent_decoded(token, false);
    const int64_t limit = std::min(longest_page, number(target.parameter("max-keys")).value_or(longest_page));
    const bool encode = target.parameter("encoding-type") == "url";
    const auto name = [&](const std::string& key) {
        return encode ? percent_encoded(key, true) : xml_text(key);
    };
    std::string entries, last;
    int64_t count = 0;
    bool truncated = false;
    std::lock_guard lock(mutex_);
    const auto& objects = shelf(target.bucket)->objects;
    for (auto it = std::max(prefix, after) == after && !after.empty() ? objects.upper_bound(after)
                                                                      : objects.lower_bound(prefix);
         it != objects.end() && it->first.starts_with(prefix); ++it) {
        if (count == limit) {
            truncated = limit > 0;
            break;
        }
        entries += fmt::format(
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>",
            name(it->first), iso_date(it->second.modified_ms), it->second.etag, it->second.bytes.size());
        last = it->first;
        ++count;
    }
    Response response;
    response.set("Content-Type", "application/xml");
    response.text = fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult "
        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name><Prefix>{}</Prefix>{}<KeyCount>{}</"
        "KeyCount>"
        "<MaxKeys>{}</MaxKeys><IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>",
        target.bucket, name(prefix), encode ? "<EncodingType>url</EncodingType>" : "", count, limit,
        truncated,
        truncated ? "<NextContinuationToken>" + percent_encoded(last, false) + "</NextContinuationToken>"
                  : "",
        entries);
    return response;
}

}  // namespace templar::s3test
