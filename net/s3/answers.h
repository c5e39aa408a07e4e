// What S3 services answer, and what they are sent, in XML; and the two ways they write dates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

// <Error><Code>…</Code><Message>…</Message></Error>; nothing when the text is no such document.
struct S3Fault {
    std::string code, message;
};
std::optional<S3Fault> parse_fault(std::string_view text);

struct S3ListedObject {
    std::string key;
    int64_t size = 0;
    int64_t modified_ms = 0;  // whole seconds, as the Last-Modified header has it
    std::string etag;         // without quotes
};
// One page of List v2 (encoding-type=url is undone).
struct S3ListPage {
    std::vector<S3ListedObject> objects;
    bool truncated = false;
    std::string next_token;  // never empty when truncated
};
// Each throws Error(input) when the document is another one, a field is missing or out of range, or there are
// more than 1000 entries. Order, prefix and spelling of the keys are the service's word: for the caller to
// judge.
S3ListPage parse_list_page(std::string_view text);

struct S3Upload {
    std::string key, upload_id;
    int64_t initiated_ms = 0;
};
std::vector<S3Upload> parse_uploads(std::string_view text);  // ListMultipartUploadsResult
std::string parse_upload_id(std::string_view text);          // InitiateMultipartUploadResult
// CompleteMultipartUploadResult; "" from Ceph 16, which leaves it out.
std::string parse_completed_etag(std::string_view text);
struct S3Part {
    int64_t number = 0, size = 0;
    std::string etag;
};
struct S3PartPage {
    std::vector<S3Part> parts;
    bool truncated = false;
    int64_t next_marker = 0;
};
S3PartPage parse_parts(std::string_view text);  // ListPartsResult
// The body of CompleteMultipartUpload.
std::string complete_upload_body(const std::vector<S3Part>& parts);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 IMF-fixdate) and "1994-11-06T08:49:37.123Z" → milliseconds since
// the Unix epoch, whole seconds; nothing when malformed or before 1970.
std::optional<int64_t> parse_http_date(std::string_view text);
std::optional<int64_t> parse_iso_date(std::string_view text);

}  // namespace templar
