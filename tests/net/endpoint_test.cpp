#include "net/s3/endpoint.h"

#include "tests/net/error_code.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

using namespace templar;

namespace {

bool is_public(const std::string& text) {
    sockaddr_storage storage{};
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        std::memcpy(&storage, &v4, sizeof v4);
    } else {
        REQUIRE(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1);
        v6.sin6_family = AF_INET6;
        std::memcpy(&storage, &v6, sizeof v6);
    }
    return is_public_address(reinterpret_cast<const sockaddr&>(storage));
}

S3Location at(const std::string& endpoint) {
    return parse_s3_url("s3://run?endpoint=" + endpoint);
}

void malformed(const std::string& url, std::string_view mentions = "") {
    INFO(url);
    CHECK(code_of([&] { parse_s3_url(url); }, mentions) == ExitCode::usage);
}

ExitCode judged(const std::string& endpoint, bool allow_http = false, bool allow_private = false) {
    const S3Location location = at(endpoint);
    return code_of([&] { check_stranger_endpoint(location, allow_http, allow_private); }, "endpoint http");
}

}  // namespace

TEST_CASE("endpoint: a full URL and its canonical form") {
    const S3Location location = parse_s3_url(
        "s3://my-run.1/a/b?endpoint=https://Store.Example.COM:8443&region=eu-central-1&profile=run_2");
    CHECK(location.https);
    CHECK(location.host == "store.example.com");
    CHECK(location.port == 8443);
    CHECK(location.bucket == "my-run.1");
    CHECK(location.prefix == "a/b");
    CHECK(location.region == "eu-central-1");
    CHECK(location.profile == "run_2");
    CHECK(location.origin() == "https://store.example.com:8443");
    CHECK(location.url() == "s3://my-run.1/a/b?endpoint=https://store.example.com:8443&region=eu-central-1");
    CHECK(parse_s3_url(location.url()).url() == location.url());
}

TEST_CASE("endpoint: spellings of the same place") {
    const std::string r2 = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com";
    struct Case {
        std::string url, canonical;
    };
    for (const Case& c : {
             Case{"s3://run?endpoint=https://h.example",
                  "s3://run?endpoint=https://h.example&region=us-east-1"},
             {"s3://run/?endpoint=https://h.example/",
              "s3://run?endpoint=https://h.example&region=us-east-1"},
             {"s3://run/p/?endpoint=HTTPS://h.example:443",
              "s3://run/p?endpoint=https://h.example&region=us-east-1"},
             {"s3://run?endpoint=http://h.example:80&region=x",
              "s3://run?endpoint=http://h.example&region=x"},
             {"s3://run?endpoint=http://h.example:443",
              "s3://run?endpoint=http://h.example:443&region=us-east-1"},
             {"s3://run?region=auto&endpoint=https%3A%2F%2fh.example%3a1",
              "s3://run?endpoint=https://h.example:1&region=auto"},
             {"s3://run?endpoint=https://192.0.2.1:9000",
              "s3://run?endpoint=https://192.0.2.1:9000&region=us-east-1"},
             {"s3://run?endpoint=https://[2001:DB8:0::1]:9000",
              "s3://run?endpoint=https://[2001:db8::1]:9000&region=us-east-1"},
             {"s3://run?endpoint=http://[::1]", "s3://run?endpoint=http://[::1]&region=us-east-1"},
             {"s3://run?endpoint=https://" + r2, "s3://run?endpoint=https://" + r2 + "&region=auto"},
             {"s3://run?endpoint=https://3com.de", "s3://run?endpoint=https://3com.de&region=us-east-1"},
             {"s3://run?endpoint=https://localhost:65535",
              "s3://run?endpoint=https://localhost:65535&region=us-east-1"},
         }) {
        INFO(c.url);
        const S3Location location = parse_s3_url(c.url);
        CHECK(location.url() == c.canonical);
        CHECK(parse_s3_url(c.canonical).url() == c.canonical);
    }
}

TEST_CASE("endpoint: what the URL leaves open comes from the profile") {
    CHECK(parse_s3_url("s3://run", "https://h.example:9", "auto").url() ==
          "s3://run?endpoint=https://h.example:9&region=auto");
    CHECK(
        parse_s3_url("s3://run?endpoint=https://own.example&region=own", "https://h.example", "auto").url() ==
        "s3://run?endpoint=https://own.example&region=own");
    malformed("s3://run", "expected an endpoint");
    CHECK(code_of([] { parse_s3_url("s3://run", "h.example"); }, "https://") == ExitCode::usage);
    CHECK(code_of([] { parse_s3_url("s3://run", "https://h.example\n"); }, "ASCII") == ExitCode::usage);
    CHECK(code_of([] { parse_s3_url("s3://run", "https://h.example", "eu central"); }, "region") ==
          ExitCode::usage);
}

TEST_CASE("endpoint: malformed URLs say what is wrong and show the form") {
    const std::string e = "?endpoint=https://h.example";
    malformed("", "s3://bucket[/prefix]?endpoint=https://host[:port]&region=auto&profile=name");
    for (const char* start : {"s3:/run", "S3://run", "file:///run", "https://run"})
        malformed(start + e, "expected it to start with s3://");
    for (const std::string& bucket :
         {std::string(), std::string("ab"), std::string(64, 'a'), std::string("Run"), std::string("my_run"),
          std::string("-run"), std::string("run-"), std::string(".run"), std::string("a..b"),
          std::string("..."), std::string("ru%6e"), std::string("run:1")})
        malformed("s3://" + bucket + e, "bucket name");
    for (const std::string& prefix :
         {std::string("/"), std::string("a//b"), std::string(".."), std::string("a/../b"),
          std::string("%2e%2e"), std::string(".a"), std::string("a b"), std::string(257, 'a')})
        malformed("s3://run/" + prefix + e);
    malformed("s3://run" + e + "#x", "'#'");
    malformed("s3://run" + e + "&user=x", "found \"user\"");
}

TEST_CASE("endpoint: malformed parameters") {
    const std::string e = "s3://run?endpoint=https://h.example";
    malformed(e + "&endpoint=https://h.example", "endpoint once");
    malformed(e + "&region=a&region=b", "region once");
    malformed(e + "&region=", "region: expected a value");
    malformed(e + "&region", "region: expected a value");
    malformed(e + "&&region=a", "found \"\"");
    malformed(e + "&region=a/b", "region: expected a word");
    malformed(e + "&region=" + std::string(65, 'a'), "region: expected a word");
    malformed(e + "&profile=../x", "profile");
    for (const char* escape : {"%", "%4", "%zz", "%4g", "%-1", "%+1", "% 1"})
        malformed(e + "&region=a" + escape);
    for (const char* hidden : {"%00", "%0a", "%20", "%7f", "%c3%a4", "%23"})
        malformed(e + "&region=a" + hidden, "region: expected");
    for (const char* raw : {"\xc3\xa4", " ", "\t", "\n", "\x01", "\x7f"}) malformed(e + raw, "ASCII");
    malformed(std::string("s3://run\0?endpoint=https://h.example", 36), "ASCII");
    malformed(e + "&region=" + std::string(3000, 'a'), "2048 bytes");
}

TEST_CASE("endpoint: malformed endpoints") {
    auto bad = [](const std::string& endpoint, std::string_view mentions = "endpoint: expected") {
        malformed("s3://run?endpoint=" + endpoint, mentions);
    };
    bad("h.example", "start with https://");
    bad("ftp://h.example", "start with https://");
    bad("https:/h.example", "start with https://");
    bad("https://");
    bad("https://:443");
    for (const char* tail : {"/x", "//", "?x", "%3fx", "/?x", "%5c"})
        bad("https://h.example" + std::string(tail));
    for (const char* port :
         {":", ":0", ":65536", ":99999999999", ":-1", ":+1", ":1a", ":1:2", ":0x50", ":%2080"})
        bad("https://h.example" + std::string(port), "");
    for (const char* host :
         {".", "h.", "h.example.", ".h", "h..example", "-h.example", "h-.example", "h_x.example", "h%2dx..y",
          "h*", "h,i", "h%25.example", "h;i", "h(i", "xn--\xc3\xa4"})
        bad("https://" + std::string(host), "");
    bad("https://" + std::string(64, 'a') + ".example");
    std::string long_host;
    for (int i = 0; i < 50; ++i) long_host += "abcd.";
    CHECK(at("https://" + long_host + "abc").host.size() == 253);
    bad("https://" + long_host + "abcd");
}

TEST_CASE("endpoint: host names that some resolvers read as addresses") {
    for (const char* host :
         {"2130706433", "0x7f000001", "0X7F000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1",
          "127.0.0.0x1", "127.0.0.01", "1.2.3.4.5", "1.2.3.256", "example.1", "example.0x1", "0"})
        malformed("s3://run?endpoint=https://" + std::string(host), "host name");
    for (const char* host :
         {"[", "[]", "[::1", "[::1]x", "[::1]:", "[1.2.3.4]", "[fe80::1%25eth0]", "[::1]80", "[:::1]",
          "[1:2:3]", "::1", "[[::1]]", "[::1][x]", "[::1]]", "[h.example]"})
        malformed("s3://run?endpoint=https://" + std::string(host), "endpoint: expected");
    CHECK(at("https://[::ffff:127.0.0.1]").host == "::ffff:127.0.0.1");
}

TEST_CASE("endpoint: keys that were pasted into a URL are not shown") {
    for (const char* url :
         {"s3://AKIA:sesame@run?endpoint=https://h.example",
          "s3://run?endpoint=https://AKIA:sesame@h.example",
          "s3://run?endpoint=https://AKIA%3asesame%40h.example",
          "s3://run?endpoint=https://h.example&secret=sesame",
          "s3://run?endpoint=https://h.example/?X-Amz-Signature%3dsesame",
          "s3://run/x@sesame?endpoint=https://h.example", "s3://run?endpoint=sesame@h.example"}) {
        INFO(url);
        try {
            parse_s3_url(url);
            FAIL("accepted");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::usage);
            CHECK(std::string_view(error.what()).find("sesame") == std::string_view::npos);
        }
    }
}

TEST_CASE("endpoint: addresses at the borders of every special range") {
    struct Range {
        const char *before, *first, *last, *after;  // before and after are public; "" where nothing is
    };
    for (const Range& range : {
             Range{"", "0.0.0.0", "0.255.255.255", "1.0.0.0"},
             {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
             {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
             {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
             {"168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"},
             {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
             {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
             {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
             {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
             {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
             {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
             {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
             {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
             {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
             {"223.255.255.255", "224.0.0.0", "239.255.255.255", ""},
             {"", "240.0.0.0", "255.255.255.255", ""},
         }) {
        // As they are, and inside IPv6: mapped, NAT64, 6to4.
        auto forms = [](const std::string& v4) {
            in_addr address;
            REQUIRE(inet_pton(AF_INET, v4.c_str(), &address) == 1);
            const uint32_t bits = ntohl(address.s_addr);
            return std::vector<std::string>{v4, "::ffff:" + v4, "64:ff9b::" + v4,
                                            fmt::format("2002:{:x}:{:x}::1", bits >> 16, bits & 0xffff)};
        };
        for (const char* v4 : {range.before, range.after})
            if (*v4)
                for (const std::string& form : forms(v4)) CHECK_MESSAGE(is_public(form), form);
        for (const char* v4 : {range.first, range.last})
            for (const std::string& form : forms(v4)) CHECK_MESSAGE(!is_public(form), form);
    }
    for (const char* v6 : {"::",
                           "::1",
                           "::7f00:1",
                           "::808:808",
                           "::ffff:0:808:808",
                           "64:ff9b:0:0:0:1:808:808",
                           "64:ff9b:1::808:808",
                           "100::",
                           "100::ffff:ffff:ffff:ffff",
                           "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "2001::",
                           "2001::1",
                           "2001:2::1",
                           "2001:10::1",
                           "2001:20::1",
                           "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "2001:db8::",
                           "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                           "3fff::",
                           "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "4000::",
                           "5f00::1",
                           "fbff::1",
                           "fc00::",
                           "fd00:ec2::254",
                           "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "fe00::1",
                           "fe80::",
                           "fe80::1",
                           "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "fec0::1",
                           "ff00::",
                           "ff02::1",
                           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"})
        CHECK_MESSAGE(!is_public(v6), v6);
    for (const char* v6 : {"2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::1",
                           "2606:4700:4700::1111", "2a01:4f8::1", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                           "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"})
        CHECK_MESSAGE(is_public(v6), v6);

    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    CHECK(!is_public_address(reinterpret_cast<const sockaddr&>(local)));
    CHECK(!is_public_address(sockaddr{}));
}

TEST_CASE("endpoint: where strangers may not send us") {
    CHECK(judged("https://store.example") == ExitCode::ok);
    CHECK(judged("http://store.example") == ExitCode::input);
    CHECK(judged("http://store.example", true) == ExitCode::ok);

    for (const char* port : {"1", "22", "25", "80", "442", "444", "1023"})
        CHECK_MESSAGE(judged("https://store.example:" + std::string(port)) == ExitCode::input, port);
    for (const char* port : {"443", "1024", "9000", "65535"})
        CHECK_MESSAGE(judged("https://store.example:" + std::string(port)) == ExitCode::ok, port);
    for (const char* port : {"22", "79", "81", "1023"})
        CHECK_MESSAGE(judged("http://store.example:" + std::string(port), true, true) == ExitCode::input,
                      port);
    for (const char* port : {"80", "443", "8080"})
        CHECK_MESSAGE(judged("http://store.example:" + std::string(port), true) == ExitCode::ok, port);

    for (const char* host :
         {"localhost", "LOCALHOST", "a.localhost", "metadata.google.internal", "internal", "printer.local",
          "minio", "127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "[::1]", "[::]",
          "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:c0a8:101::1]", "[fe80::1]"}) {
        CHECK_MESSAGE(judged("https://" + std::string(host)) == ExitCode::input, host);
        CHECK_MESSAGE(judged("https://" + std::string(host), false, true) == ExitCode::ok, host);
    }
    for (const char* host : {"localhost.example", "notlocalhost.example", "mylocal.example",
                             "xinternal.example", "1.1.1.1", "[2606:4700:4700::1111]", "[64:ff9b::808:808]"})
        CHECK_MESSAGE(judged("https://" + std::string(host)) == ExitCode::ok, host);
}

TEST_CASE("endpoint: R2 accounts") {
    const std::string account = "0123456789abcdef0123456789ABCDEF", r2 = ".r2.cloudflarestorage.com";
    for (const std::string& good : {account, account + ".eu", account + ".fedramp"})
        CHECK(judged("https://" + good + r2) == ExitCode::ok);
    CHECK(judged("https://" + account + r2 + ":443") == ExitCode::ok);
    for (const std::string& bad : {std::string("https://r2.cloudflarestorage.com"),
                                   "https://" + account.substr(1) + r2, "https://" + account + "0" + r2,
                                   "https://g" + account.substr(1) + r2, "https://" + account + ".e1" + r2,
                                   "https://" + account + ".a.eu" + r2, "https://bucket." + account + r2,
                                   "https://x" + r2, "https://eu" + r2, "https://" + account + r2 + ":8443",
                                   "http://" + account + r2, "https://" + account + ".eu." + account + r2}) {
        INFO(bad);
        CHECK(judged(bad, true, true) == ExitCode::input);
    }
    // Only by the dot does a name belong to R2.
    CHECK(judged("https://xr2.cloudflarestorage.com") == ExitCode::ok);
    CHECK(judged("https://" + account + r2 + ".evil.example") == ExitCode::ok);
}
