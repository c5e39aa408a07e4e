#include "net/s3/answers.h"

#include "base/error.h"
#include "net/s3/xml.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

namespace templar {

namespace {

constexpr size_t max_entries = 1000;
constexpr int64_t max_parts = 10'000;
constexpr int64_t max_size = std::numeric_limits<int64_t>::max();

XmlElement answer(std::string_view text, std::string_view root_name) {
    XmlElement root = parse_xml(text);
    if (root.name != root_name)
        fail(ExitCode::input, "XML answer: expected <{}>, found <{}>", root_name, root.name.substr(0, 64));
    return root;
}

std::string_view field(const XmlElement& element, std::string_view name) {
    const std::string_view text = element.text_of(name);
    if (text.empty())
        fail(ExitCode::input, "XML answer: expected a value of <{}> in <{}>, found none", name, element.name);
    return text;
}

std::optional<int64_t> decimal(std::string_view text) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [rest, fault] = std::from_chars(text.data(), end, value);
    if (fault != std::errc() || rest != end) return std::nullopt;
    return value;
}

int64_t integer(const XmlElement& element, std::string_view name, int64_t least, int64_t most) {
    const std::optional<int64_t> value = decimal(field(element, name));
    if (!value || *value < least || *value > most)
        fail(ExitCode::input, "XML answer: expected <{}> in <{}> to be {} … {}, found another value", name,
             element.name, least, most);
    return *value;
}

bool truth(const XmlElement& element, std::string_view name) {
    const std::string_view text = field(element, name);
    if (text != "true" && text != "false")
        fail(ExitCode::input, "XML answer: expected <{}> in <{}> to be true or false, found another value",
             name, element.name);
    return text == "true";
}

int64_t date(const XmlElement& element, std::string_view name) {
    const std::optional<int64_t> time = parse_iso_date(field(element, name));
    if (!time)
        fail(ExitCode::input, "XML answer: expected <{}> in <{}> to be a date, found another value", name,
             element.name);
    return *time;
}

std::string unquoted(std::string_view etag) {
    if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
    return std::string(etag);
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// encoding-type=url. A service that writes a blank as '+' writes '+' as %2B.
std::string percent_decoded(std::string_view text) {
    std::string raw;
    raw.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            raw.push_back(text[i] == '+' ? ' ' : text[i]);
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) fail(ExitCode::input, "XML answer: a key with a broken %-escape");
        raw.push_back(static_cast<char>(high * 16 + low));
        i += 2;
    }
    return raw;
}

// Calls take(entry) for every child `entry_name` of the answer.
template <class Take>
void each_entry(const XmlElement& root, std::string_view entry_name, Take take) {
    size_t entries = 0;
    for (const XmlElement& entry : root.children) {
        if (entry.name != entry_name) continue;
        if (++entries > max_entries)
            fail(ExitCode::input, "XML answer: expected at most {} <{}>, found more", max_entries,
                 entry_name);
        take(entry);
    }
}

std::string key_of(const XmlElement& entry, bool url_encoded) {
    const std::string_view key = field(entry, "Key");
    return url_encoded ? percent_decoded(key) : std::string(key);
}

void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out.push_back(c);
        }
    }
}

// Days since 1 January 1970 of a date of the Gregorian calendar: years begin in March here, so that the day
// that is sometimes missing is the last.
int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
    if (month <= 2) --year;
    const int64_t era = year / 400, year_of_era = year % 400;
    const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

std::optional<int64_t> unix_ms(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
                               int64_t second) {
    constexpr std::array<int64_t, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || month < 1 || month > 12) return std::nullopt;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    const int64_t last = days[static_cast<size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
    if (day < 1 || day > last || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
        second > 60)
        return std::nullopt;
    return (((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

// The number that digits [at, at + count) of the text are; -1 when one of them is no digit.
int64_t digits(std::string_view text, size_t at, size_t count) {
    int64_t value = 0;
    for (size_t i = at; i < at + count; ++i) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

}  // namespace

std::optional<S3Fault> parse_fault(std::string_view text) {
    try {
        const XmlElement root = parse_xml(text);
        if (root.name != "Error") return std::nullopt;
        return S3Fault{std::string(root.text_of("Code")), std::string(root.text_of("Message"))};
    } catch (const Error&) {
        return std::nullopt;
    }
}

S3ListPage parse_list_page(std::string_view text) {
    const XmlElement root = answer(text, "ListBucketResult");
    const bool url_encoded = root.text_of("EncodingType") == "url";
    S3ListPage page;
    each_entry(root, "Contents", [&](const XmlElement& entry) {
        page.objects.push_back({.key = key_of(entry, url_encoded),
                                .size = integer(entry, "Size", 0, max_size),
                                .modified_ms = date(entry, "LastModified"),
                                .etag = unquoted(field(entry, "ETag"))});
    });
    page.truncated = truth(root, "IsTruncated");
    if (page.truncated) page.next_token = field(root, "NextContinuationToken");
    return page;
}

std::vector<S3Upload> parse_uploads(std::string_view text) {
    const XmlElement root = answer(text, "ListMultipartUploadsResult");
    const bool url_encoded = root.text_of("EncodingType") == "url";
    std::vector<S3Upload> uploads;
    each_entry(root, "Upload", [&](const XmlElement& entry) {
        uploads.push_back({.key = key_of(entry, url_encoded),
                           .upload_id = std::string(field(entry, "UploadId")),
                           .initiated_ms = date(entry, "Initiated")});
    });
    return uploads;
}

std::string parse_upload_id(std::string_view text) {
    return std::string(field(answer(text, "InitiateMultipartUploadResult"), "UploadId"));
}

std::string parse_completed_etag(std::string_view text) {
    return unquoted(answer(text, "CompleteMultipartUploadResult").text_of("ETag"));
}

S3PartPage parse_parts(std::string_view text) {
    const XmlElement root = answer(text, "ListPartsResult");
    S3PartPage page;
    each_entry(root, "Part", [&](const XmlElement& entry) {
        page.parts.push_back({.number = integer(entry, "PartNumber", 1, max_parts),
                              .size = integer(entry, "Size", 0, max_size),
                              .etag = unquoted(field(entry, "ETag"))});
    });
    page.truncated = truth(root, "IsTruncated");
    if (page.truncated) page.next_marker = integer(root, "NextPartNumberMarker", 1, max_parts);
    return page;
}

std::string complete_upload_body(const std::vector<S3Part>& parts) {
    std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    for (const S3Part& part : parts) {
        body += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>&quot;", part.number);
        append_escaped(body, part.etag);
        body += "&quot;</ETag></Part>";
    }
    return body + "</CompleteMultipartUpload>";
}

std::optional<int64_t> parse_http_date(std::string_view text) {
    constexpr std::string_view weekdays = "MonTueWedThuFriSatSun";
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // 0    5  8   12   17 20 23 26
    // Sun, 06 Nov 1994 08:49:37 GMT
    if (text.size() != 29 || text.substr(3, 2) != ", " || text[7] != ' ' || text[11] != ' ' ||
        text[16] != ' ' || text[19] != ':' || text[22] != ':' || text.substr(25) != " GMT")
        return std::nullopt;
    const size_t weekday = weekdays.find(text.substr(0, 3)), month = months.find(text.substr(8, 3));
    if (weekday == std::string_view::npos || weekday % 3 != 0 || month == std::string_view::npos ||
        month % 3 != 0)
        return std::nullopt;
    return unix_ms(digits(text, 12, 4), static_cast<int64_t>(month / 3) + 1, digits(text, 5, 2),
                   digits(text, 17, 2), digits(text, 20, 2), digits(text, 23, 2));
}

std::optional<int64_t> parse_iso_date(std::string_view text) {
    // 0    5  8  11 14 17 19
    // 1994-11-06T08:49:37.123Z
    if (text.size() < 20 || text.size() > 30 || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[13] != ':' || text[16] != ':' || text.back() != 'Z')
        return std::nullopt;
    const std::string_view fraction = text.substr(19, text.size() - 20);
    if (fraction == "." || (!fraction.empty() && fraction[0] != '.') ||
        fraction.find_first_not_of("0123456789", 1) != std::string_view::npos)
        return std::nullopt;
    return unix_ms(digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2), digits(text, 11, 2),
                   digits(text, 14, 2), digits(text, 17, 2));
}

}  // namespace templar
