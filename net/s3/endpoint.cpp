#include "net/s3/endpoint.h"

#include "base/error.h"
#include "net/bucket/key.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace templar {

namespace {

constexpr size_t max_url_bytes = 2048;
constexpr size_t max_prefix_bytes = 256;  // S3 keys have at most 1024, ours up to 512
constexpr std::string_view form =
    "s3://bucket[/prefix]?endpoint=https://host[:port]&region=auto&profile=name";
constexpr std::string_view r2_domain = "r2.cloudflarestorage.com";

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
    fail(ExitCode::usage, "bucket URL: {}; the form is {}", fmt::format(format, std::forward<Args>(args)...),
         form);
}

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f');
}
char lowered(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool is_lower_or_digit(char c) {
    return is_lower(c) || is_digit(c);
}

// Part of a URL for a message: what looks like user-info may be a secret.
std::string shown(std::string_view text) {
    if (text.find('@') != std::string_view::npos) return "[hidden: it contains '@']";
    return fmt::format("\"{}{}\"", text.substr(0, 80), text.size() > 80 ? "…" : "");
}

void check_text(std::string_view what, std::string_view text) {
    if (text.size() > max_url_bytes)
        refuse("{}: expected at most {} bytes, found {}", what, max_url_bytes, text.size());
    if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; }))
        refuse("{}: expected printable ASCII without blanks", what);
    if (text.find('#') != std::string_view::npos) refuse("{}: expected no '#'", what);
}

// Splits at the first `separator`; the second part is empty when there is none.
std::pair<std::string_view, std::string_view> split(std::string_view text, char separator) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) return {text, {}};
    return {text.substr(0, at), text.substr(at + 1)};
}

std::string percent_decoded(std::string_view name, std::string_view text) {
    std::string value;
    for (size_t i = 0; i < text.size(); ++i) {
        unsigned byte = static_cast<unsigned char>(text[i]);
        if (text[i] == '%') {
            const std::string_view digits = text.substr(std::min(i + 1, text.size()), 2);
            const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
            if (fault != std::errc() || digits.size() != 2 || end != digits.data() + 2)
                refuse("{}: expected two hexadecimal digits after '%'", name);
            i += 2;
        }
        value.push_back(static_cast<char>(byte));
    }
    check_text(name, value);
    return value;
}

bool valid_bucket(std::string_view bucket) {
    return bucket.size() >= 3 && bucket.size() <= 63 && is_lower_or_digit(bucket.front()) &&
           is_lower_or_digit(bucket.back()) && bucket.find("..") == std::string_view::npos &&
           std::all_of(bucket.begin(), bucket.end(),
                       [](char c) { return is_lower_or_digit(c) || c == '.' || c == '-'; });
}

bool valid_prefix(std::string_view prefix) {
    if (prefix.size() > max_prefix_bytes) return false;
    for (std::string_view rest = prefix;;) {
        const size_t slash = rest.find('/');
        if (!valid_key_segment(rest.substr(0, slash))) return false;
        if (slash == std::string_view::npos) return true;
        rest.remove_prefix(slash + 1);
    }
}

bool valid_word(std::string_view word) {
    return word.size() <= 64 && valid_key_segment(word);
}

std::vector<std::string_view> labels_of(std::string_view host) {
    std::vector<std::string_view> labels;
    for (size_t begin = 0;;) {
        const size_t dot = host.find('.', begin);
        labels.push_back(host.substr(begin, dot - begin));
        if (dot == std::string_view::npos) return labels;
        begin = dot + 1;
    }
}

// A name that cannot be taken for an address: resolvers read 2130706433, 127.1, 0177.0.0.1 and 0x7f000001 as
// addresses.
bool valid_host_name(std::string_view host) {
    const std::vector<std::string_view> labels = labels_of(host);
    const auto valid = [](std::string_view label) {
        return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
               std::all_of(label.begin(), label.end(),
                           [](char c) { return is_lower_or_digit(c) || c == '-'; });
    };
    const std::string_view last = labels.back();
    return host.size() <= 253 && std::all_of(labels.begin(), labels.end(), valid) &&
           !std::all_of(last.begin(), last.end(), is_digit) && !last.starts_with("0x");
}

// Of a literal address, in the usual notation only: four decimal numbers, or IPv6 without brackets or zone.
std::optional<sockaddr_storage> literal_address(const std::string& host) {
    sockaddr_storage storage{};
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        std::memcpy(&storage, &v4, sizeof v4);
        return storage;
    }
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        std::memcpy(&storage, &v6, sizeof v6);
        return storage;
    }
    return std::nullopt;
}

// Of "[address]", the address as everyone writes it.
std::string canonical_v6(std::string_view bracketed) {
    in6_addr address;
    std::array<char, INET6_ADDRSTRLEN> canonical;
    const bool closed = bracketed.ends_with(']');
    const std::string inside(closed ? bracketed.substr(1, bracketed.size() - 2) : "");
    if (inet_pton(AF_INET6, inside.c_str(), &address) != 1)
        refuse("endpoint: expected an IPv6 address without a zone in brackets, found {}", shown(bracketed));
    inet_ntop(AF_INET6, &address, canonical.data(), canonical.size());
    return canonical.data();
}

uint16_t parse_port(std::string_view text) {
    uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [rest, fault] = std::from_chars(text.data(), end, port);
    if (fault != std::errc() || rest != end || port == 0)
        refuse("endpoint: expected a port from 1 to 65535, found {}", shown(text));
    return port;
}

// https://host[:port]
void parse_endpoint(std::string_view given, S3Location& location) {
    check_text("endpoint", given);
    std::string endpoint(given);
    std::transform(endpoint.begin(), endpoint.end(), endpoint.begin(), lowered);
    location.https = endpoint.starts_with("https://");
    if (!location.https && !endpoint.starts_with("http://"))
        refuse("endpoint: expected it to start with https:// (or http://, with --allow-http)");
    location.port = location.https ? 443 : 80;
    std::string_view authority = std::string_view(endpoint).substr(location.https ? 8 : 7);
    if (authority.ends_with('/')) authority.remove_suffix(1);
    if (authority.find('@') != std::string_view::npos)
        refuse("endpoint: expected no user name or key in it (they belong into the key file)");
    if (authority.find_first_of("/?\\") != std::string_view::npos)
        refuse("endpoint: expected nothing after host and port");

    const bool v6 = authority.starts_with('[');
    const size_t colon = authority.find(':', v6 ? authority.find(']') : 0);
    location.host = authority.substr(0, colon);
    if (v6) {
        location.host = canonical_v6(location.host);
    } else {
        in_addr v4;
        if (inet_pton(AF_INET, location.host.c_str(), &v4) != 1 && !valid_host_name(location.host))
            refuse("endpoint: expected a host name or an address, found {}", shown(location.host));
    }
    if (colon != std::string_view::npos) location.port = parse_port(authority.substr(colon + 1));
}

bool is_under(std::string_view host, std::string_view domain) {
    return host == domain || (host.size() > domain.size() && host.ends_with(domain) &&
                              host[host.size() - domain.size() - 1] == '.');
}

// <32 hexadecimal digits>[.<jurisdiction>].r2.cloudflarestorage.com
bool is_r2_account(std::string_view host) {
    const std::vector<std::string_view> labels = labels_of(host);
    const std::string_view account = labels[0], jurisdiction = labels[1];
    return (labels.size() == 4 ||
            (labels.size() == 5 && std::all_of(jurisdiction.begin(), jurisdiction.end(), is_lower))) &&
           account.size() == 32 && std::all_of(account.begin(), account.end(), is_hex);
}

// IANA's registry of special-purpose addresses, and 168.63.129.16, where Azure answers its virtual machines.
bool is_public_v4(std::span<const uint8_t, 4> bytes) {
    struct Range {
        uint8_t a, b, c, d;
        int bits;
    };
    constexpr Range special[] = {
        {0, 0, 0, 0, 8},        {10, 0, 0, 0, 8},     {100, 64, 0, 0, 10},  {127, 0, 0, 0, 8},
        {168, 63, 129, 16, 32}, {169, 254, 0, 0, 16}, {172, 16, 0, 0, 12},  {192, 0, 0, 0, 24},
        {192, 0, 2, 0, 24},     {192, 88, 99, 0, 24}, {192, 168, 0, 0, 16}, {198, 18, 0, 0, 15},
        {198, 51, 100, 0, 24},  {203, 0, 113, 0, 24}, {224, 0, 0, 0, 4},    {240, 0, 0, 0, 4},
    };
    const auto number = [](uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
        return uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d;
    };
    const uint32_t address = number(bytes[0], bytes[1], bytes[2], bytes[3]);
    return std::none_of(std::begin(special), std::end(special), [&](const Range& range) {
        return (address ^ number(range.a, range.b, range.c, range.d)) >> (32 - range.bits) == 0;
    });
}

bool begins(std::span<const uint8_t, 16> address, std::initializer_list<uint8_t> prefix) {
    return std::equal(prefix.begin(), prefix.end(), address.begin());
}

// Of what has been given out (2000::/3), all but protocol assignments (2001::/23, Teredo among them) and
// documentation; IPv4 in IPv6 is what the IPv4 address is.
bool is_public_v6(std::span<const uint8_t, 16> address) {
    if (begins(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) return is_public_v4(address.last<4>());
    if (begins(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}))
        return is_public_v4(address.last<4>());
    if (begins(address, {0x20, 0x02})) return is_public_v4(address.subspan<2, 4>());
    const bool protocol = begins(address, {0x20, 0x01}) && address[2] < 2;
    const bool documentation =
        begins(address, {0x20, 0x01, 0x0d, 0xb8}) || (begins(address, {0x3f, 0xff}) && address[2] < 0x10);
    return address[0] >> 5 == 1 && !protocol && !documentation;
}

}  // namespace

std::string S3Location::origin() const {
    const bool usual = port == (https ? 443 : 80);
    const bool v6 = host.find(':') != std::string::npos;
    return fmt::format("{}://{}{}{}{}", https ? "https" : "http", v6 ? "[" : "", host, v6 ? "]" : "",
                       usual ? "" : fmt::format(":{}", port));
}

std::string S3Location::url() const {
    return fmt::format("s3://{}{}{}?endpoint={}&region={}", bucket, prefix.empty() ? "" : "/", prefix,
                       origin(), region);
}

S3Location parse_s3_url(std::string_view url, std::string_view endpoint, std::string_view region) {
    constexpr std::string_view scheme = "s3://";
    check_text("all of it", url);
    if (!url.starts_with(scheme)) refuse("expected it to start with {}", scheme);
    const auto [path, query] = split(url.substr(scheme.size()), '?');

    S3Location location;
    location.bucket = split(path, '/').first;
    location.prefix = split(path, '/').second;
    if (location.prefix.size() > 1 && location.prefix.ends_with('/')) location.prefix.pop_back();
    if (!valid_bucket(location.bucket))
        refuse("expected a bucket name of 3 to 63 of a-z, 0-9, '.' and '-', found {}",
               shown(location.bucket));
    if (!location.prefix.empty() && !valid_prefix(location.prefix))
        refuse(
            "expected a prefix of letters, digits, '.', '_', '-' and single '/', at most {} bytes, found {}",
            max_prefix_bytes, shown(location.prefix));

    std::string own_endpoint;
    for (std::string_view rest = query; !rest.empty();) {
        const auto [parameter, others] = split(rest, '&');
        const auto [name, raw] = split(parameter, '=');
        std::string* target = name == "endpoint"  ? &own_endpoint
                              : name == "region"  ? &location.region
                              : name == "profile" ? &location.profile
                                                  : nullptr;
        if (!target) refuse("expected endpoint, region or profile as parameter, found {}", shown(name));
        if (!target->empty()) refuse("expected {} once", name);
        *target = percent_decoded(name, raw);
        if (target->empty()) refuse("{}: expected a value", name);
        rest = others;
    }
    if (own_endpoint.empty()) own_endpoint = endpoint;
    if (own_endpoint.empty()) refuse("expected an endpoint, in the URL or in the profile of the key file");
    parse_endpoint(own_endpoint, location);
    if (location.region.empty()) location.region = region;
    if (location.region.empty()) location.region = is_under(location.host, r2_domain) ? "auto" : "us-east-1";
    if (!valid_word(location.region))
        refuse("region: expected a word such as auto or eu-central-1, found {}", shown(location.region));
    if (!location.profile.empty() && !valid_word(location.profile))
        refuse("profile: expected a word, found {}", shown(location.profile));
    return location;
}

void check_stranger_endpoint(const S3Location& location, bool allow_http, bool allow_private) {
    const std::string& host = location.host;
    if (!location.https && !allow_http)
        fail(ExitCode::input, "endpoint {}: expected https (plain http only with --allow-http)",
             location.origin());
    if (location.port != 443 && location.port < 1024 && (location.https || location.port != 80))
        fail(ExitCode::input, "endpoint {}: expected port {}443 or 1024 … 65535", location.origin(),
             location.https ? "" : "80, ");
    if (is_under(host, r2_domain) && !(location.https && location.port == 443 && is_r2_account(host)))
        fail(ExitCode::input,
             "endpoint {}: expected https://<32 hexadecimal digits>[.<jurisdiction>].{} without a port",
             location.origin(), r2_domain);
    if (allow_private) return;
    if (const auto address = literal_address(host)) {
        if (!is_public_address(reinterpret_cast<const sockaddr&>(*address)))
            fail(ExitCode::input, "endpoint {}: expected a public address (others only with --allow-private)",
                 location.origin());
        return;
    }
    const bool local = is_under(host, "localhost") || is_under(host, "internal") || is_under(host, "local") ||
                       host.find('.') == std::string::npos;
    if (local)
        fail(ExitCode::input, "endpoint {}: expected a public name (others only with --allow-private)",
             location.origin());
}

bool is_public_address(const sockaddr& address) {
    if (address.sa_family == AF_INET) {
        std::array<uint8_t, 4> bytes;
        std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, bytes.size());
        return is_public_v4(bytes);
    }
    if (address.sa_family == AF_INET6) {
        std::array<uint8_t, 16> bytes;
        std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, bytes.size());
        return is_public_v6(bytes);
    }
    return false;
}

}  // namespace templar
