#include "base/bytes.h"
#include "base/file.h"
#include "net/s3/credentials.h"
#include "net/s3/sign.h"
#include "tests/net/error_code.h"
#include "tests/net/scratch.h"

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>

using namespace templar;

namespace {

// The environment that find_profile reads: empty, but for a home without keys; as it was at the end.
class Environment {
  public:
    Environment() {
        for (const char* name : names) {
            const char* value = std::getenv(name);
            if (value) before_[name] = value;
            ::unsetenv(name);
        }
        set("HOME", home_.path().string());
    }
    ~Environment() {
        for (const char* name : names) {
            ::unsetenv(name);
            if (before_.contains(name)) ::setenv(name, before_[name].c_str(), 1);
        }
    }
    void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
    const Scratch& home() const { return home_; }

  private:
    static constexpr const char* names[] = {"HOME",
                                            "AWS_SHARED_CREDENTIALS_FILE",
                                            "AWS_PROFILE",
                                            "AWS_ACCESS_KEY_ID",
                                            "AWS_SECRET_ACCESS_KEY",
                                            "AWS_SESSION_TOKEN",
                                            "AWS_ENDPOINT_URL",
                                            "AWS_ENDPOINT_URL_S3",
                                            "AWS_REGION"};
    std::map<std::string, std::string> before_;
    Scratch home_;
};

std::filesystem::path key_file(const Scratch& folder, std::string_view text, mode_t mode = 0600) {
    const std::filesystem::path path = folder / "keys";
    write_file(path, as_bytes(text));
    ::chmod(path.c_str(), mode);
    return path;
}

// The error of a file with this text; the text's secrets must not be in it.
void refused(const std::string& text, const std::string& mentions, const std::string& profile = "") {
    const Scratch folder;
    const std::filesystem::path path = key_file(folder, text);
    CAPTURE(text);
    CHECK(code_of([&] { find_profile(profile, path); }, mentions) == ExitCode::identity);
    try {
        find_profile(profile, path);
    } catch (const Error& error) {
        CHECK(std::string_view(error.what()).find("hush") == std::string_view::npos);
    }
}

constexpr const char* two_profiles =
    "# the run's keys\n"
    "\n"
    "[default]\r\n"
    "aws_access_key_id = AKID1\r\n"
    "aws_secret_access_key=abc/def+ghi=\n"
    "[ profile reader ]\n"
    "; for strangers\n"
    "  AWS_ACCESS_KEY_ID =AKID2  \n"
    "aws_secret_access_key\t=\tsecret2\n"
    "aws_session_token = token2==\n"
    "endpoint_url = https://host:9000\n"
    "region = auto\n"
    "output = json\n"
    "s3 =\n"
    "  region = nested\n"
    "  aws_access_key_id = nested\n"
    "max_attempts = 3";

const S3Credentials our_key{"AKID", "abc/def+ghi=", "to/ken+=="};

}  // namespace

TEST_CASE("profiles of a key file") {
    Environment environment;
    const Scratch folder;
    const std::filesystem::path path = key_file(folder, two_profiles);

    const S3Profile usual = find_profile("", path);
    CHECK(usual.credentials == S3Credentials{"AKID1", "abc/def+ghi=", ""});
    CHECK(usual.endpoint == "");
    CHECK(usual.region == "");

    const S3Profile reader = find_profile("reader", path);
    CHECK(reader.credentials == S3Credentials{"AKID2", "secret2", "token2=="});
    CHECK(reader.endpoint == "https://host:9000");
    CHECK(reader.region == "auto");

    ::chmod(path.c_str(), 0400);
    CHECK(find_profile("default", path).credentials.access_key_id == "AKID1");
}

TEST_CASE("where keys come from when no file is given") {
    Environment environment;
    CHECK(code_of([] { find_profile(""); }, ".aws/credentials") == ExitCode::identity);

    std::filesystem::create_directory(environment.home() / ".aws");
    std::filesystem::copy_file(key_file(environment.home(), two_profiles),
                               environment.home() / ".aws/credentials");
    CHECK(find_profile("").credentials.access_key_id == "AKID1");
    environment.set("AWS_PROFILE", "reader");
    CHECK(find_profile("").credentials.access_key_id == "AKID2");
    CHECK(find_profile("default").credentials.access_key_id == "AKID1");

    const Scratch folder;
    environment.set("AWS_SHARED_CREDENTIALS_FILE",
                    key_file(folder, "[reader]\naws_access_key_id=A\naws_secret_access_key=S\n").string());
    CHECK(find_profile("").credentials == S3Credentials{"A", "S", ""});

    environment.set("AWS_ACCESS_KEY_ID", "E");
    CHECK(code_of([] { find_profile(""); }, "AWS_SECRET_ACCESS_KEY") == ExitCode::identity);
    CHECK(find_profile("reader").credentials.access_key_id == "A");
    environment.set("AWS_SECRET_ACCESS_KEY", "F");
    CHECK(find_profile("").credentials == S3Credentials{"E", "F", ""});
    environment.set("AWS_SESSION_TOKEN", "T");
    CHECK(find_profile("").credentials == S3Credentials{"E", "F", "T"});
    CHECK(find_profile("reader").credentials.access_key_id == "A");
    CHECK(find_profile("", folder / "keys").credentials.access_key_id == "A");
    environment.set("AWS_ACCESS_KEY_ID", "E\r\nx: y");
    CHECK(code_of([] { find_profile(""); }, "AWS_ACCESS_KEY_ID") == ExitCode::identity);

    environment.set("AWS_ACCESS_KEY_ID", "");
    environment.set("AWS_SECRET_ACCESS_KEY", "");
    environment.set("AWS_SHARED_CREDENTIALS_FILE", "");
    environment.set("HOME", "");
    CHECK(code_of([] { find_profile(""); }, "HOME") == ExitCode::identity);
}

TEST_CASE("the environment fills what a profile leaves open") {
    Environment environment;
    const Scratch folder;
    const std::filesystem::path path = key_file(folder, two_profiles);
    environment.set("AWS_ENDPOINT_URL", "https://any");
    environment.set("AWS_REGION", "eu");
    CHECK(find_profile("default", path).endpoint == "https://any");
    CHECK(find_profile("default", path).region == "eu");
    environment.set("AWS_ENDPOINT_URL_S3", "https://s3");
    CHECK(find_profile("default", path).endpoint == "https://s3");
    CHECK(find_profile("reader", path).endpoint == "https://host:9000");
    CHECK(find_profile("reader", path).region == "auto");
}

TEST_CASE("a key file that others could use or have made is refused") {
    Environment environment;
    const Scratch folder;
    for (const mode_t mode : {0604, 0640, 0620, 0644, 0601}) {
        const std::filesystem::path path = key_file(folder, two_profiles, mode);
        CHECK(code_of([&] { find_profile("", path); }, "chmod 600") == ExitCode::identity);
    }
    CHECK(code_of([&] { find_profile("", folder / "missing"); }, "missing") == ExitCode::identity);
    CHECK(code_of([&] { find_profile("", folder.path()); }, "regular file") == ExitCode::identity);
    ::mkfifo((folder / "pipe").c_str(), 0600);
    CHECK(code_of([&] { find_profile("", folder / "pipe"); }, "regular file") == ExitCode::identity);

    const std::filesystem::path path = key_file(folder, two_profiles);
    std::filesystem::create_symlink(path, folder / "link");
    CHECK(find_profile("", folder / "link").credentials.access_key_id == "AKID1");
    if (::geteuid() == 0) {
        REQUIRE(::chown(path.c_str(), 65534, 65534) == 0);
    } else {
        std::filesystem::remove(folder / "link");
        std::filesystem::create_symlink("/etc/passwd", folder / "link");
    }
    CHECK(code_of([&] { find_profile("", folder / "link"); }, "belongs to user") == ExitCode::identity);
}

TEST_CASE("a malformed key file is refused with its line, and without its secrets") {
    Environment environment;
    refused("", "no section [default]; it has none at all");
    refused(two_profiles, "it has [default] [reader]", "writer");
    refused("[default]\naws_access_key_id = A\nhush\n", "line 3: expected name = value");
    refused("[default]\n= hush\n", "line 2");
    refused("[default\naws_secret_access_key = hush\n", "line 1: expected a section");
    refused("[]\n", "line 1: expected a section");
    refused("aws_secret_access_key = hush\n[default]\n", "line 1: a setting before");
    refused("[default]\naws_secret_access_key = hush\naws_access_key_id=A\n\naws_secret_access_key = hush2\n",
            "line 5: aws_secret_access_key is there twice, first in line 2");
    refused("[default]\n[profile default]\n", "line 2: section [default] is there twice");
    refused("[default]\naws_access_key_id = A\n", "has no aws_secret_access_key");
    refused("[default]\naws_secret_access_key = hush\nrole_arn = x\n", "has no aws_access_key_id");
    refused("[default]\naws_secret_access_key =\naws_access_key_id=A\n", "has no aws_secret_access_key");
    refused("[default]\naws_secret_access_key = hush hush\n", "line 2: aws_secret_access_key has a blank");
    refused("[default]\naws_secret_access_key = hush\x01\n", "line 2");
    refused("[default]\naws_secret_access_key = \"hush\"\n", "quotation marks");
    refused("[default]\naws_secret_access_key = " + std::string(70'000, 'x'), "longer than 65536");
    refused("[a\x1b[31mb]\n", "[a\\x1b[31mb]");
    // Another section's settings are its own affair, but it must be readable.
    const Scratch folder;
    CHECK(find_profile("b", key_file(folder,
                                     "[a]\nregion=1\nregion=2 3\n[b]\naws_access_key_id=A\n"
                                     "aws_secret_access_key=S\n[a]\n"))
              .credentials.access_key_id == "A");
}

TEST_CASE("redact hides our secrets in every form") {
    CHECK(redact("key abc/def+ghi= and to/ken+==.", our_key) == "key [secret] and [secret].");
    CHECK(redact("abc/def+ghi=", our_key) == "[secret]");
    CHECK(redact("abc/def+ghi=abc/def+ghi=to/ken+==", our_key) == "[secret]");
    for (const bool keep_slash : {false, true}) {
        const std::string coded = uri_encode(our_key.secret_access_key, keep_slash);
        CHECK(redact("x=" + coded + "&y", our_key) == "x=[secret]&y");
    }
    CHECK(redact("abc%2fdef%2bghi%3d", our_key) == "[secret]");
    CHECK(redact("nothing secret: AKID", our_key) == "nothing secret: AKID");
    CHECK(redact("nothing", {}) == "nothing");
    CHECK(redact("", our_key) == "");
}

TEST_CASE("redact hides what signs a request, whoever's it is") {
    const S3Credentials none;
    CHECK(redact("Authorization: AWS4-HMAC-SHA256 Credential=A/d, Signature=00\nnext", none) ==
          "Authorization: [secret]\\x0anext");
    CHECK(redact("{\"authorization\" : \"AWS4 x\", \"a\": 1}", none) ==
          "{\"authorization\" : \"[secret]\", \"a\": 1}");
    CHECK(redact("<Authorization>AWS4 x</Authorization>", none) == "<Authorization>[secret]</Authorization>");
    CHECK(redact("x-amz-security-token:abc==\nhost", none) == "x-amz-security-token:[secret]\\x0ahost");
    CHECK(redact("GET /k?X-Amz-Signature=00ff&X-Amz-Credential=A%2Fd&x=1 HTTP", none) ==
          "GET /k?X-Amz-Signature=[secret]&X-Amz-Credential=[secret]&x=1 HTTP");
    CHECK(redact("?X-Amz-Security-Token=a%2Fb&amp;y", none) == "?X-Amz-Security-Token=[secret]&amp;y");
    CHECK(redact("url=http%3A%2F%2Fh%3FX-AMZ-SIGNATURE%3Dab", none) ==
          "url=http%3A%2F%2Fh%3FX-AMZ-SIGNATURE%3D[secret]");
    CHECK(redact("AWS4-HMAC-SHA256 Credential=A/d, SignedHeaders=host, Signature=00", none) ==
          "AWS4-HMAC-SHA256 Credential=[secret], SignedHeaders=host, Signature=[secret]");
    CHECK(redact("AuthorizationHeaderMalformed: the authorization header", none) ==
          "AuthorizationHeaderMalformed: the authorization header");
    CHECK(redact("Authorization", none) == "Authorization");
    CHECK(redact("Authorization:", none) == "Authorization:");
}

TEST_CASE("a presigned URL and a signed request show nothing after redaction") {
    const Signer signer(our_key, "auto");
    const S3Request request{.method = "GET", .origin = "https://host", .path = "/b/k"};
    const SignedRequest ticket = signer.presign(request, 1'784'016'930, 60);
    const SignedRequest sent = signer.sign(request, unsigned_payload, 1'784'016'930);
    std::string text = ticket.url + "\n" + ticket.canonical_request + "\n" + sent.canonical_request + "\n";
    for (const auto& [name, value] : sent.headers) text += name + ": " + value + "\n";
    const std::string shown = redact(text, our_key);
    for (const std::string& secret :
         {our_key.secret_access_key, our_key.session_token, uri_encode(our_key.session_token, false),
          ticket.signature, sent.signature}) {
        CAPTURE(secret);
        CHECK(shown.find(secret) == std::string::npos);
    }
    CHECK(shown.find("https://host/b/k") == 0);
}

TEST_CASE("redact shows no control characters and no more than 2000 bytes") {
    const auto shown = [](std::string_view text) { return redact(text, {}); };
    CHECK(shown("a\r\n\t\x1b[2Jb") == "a\\x0d\\x0a\\x09\\x1b[2Jb");
    CHECK(shown(std::string_view("\0\x7f", 2)) == "\\x00\\x7f");
    CHECK(shown("Grüße, 世界 🧠 …") == "Grüße, 世界 🧠 …");
    CHECK(shown("\xc2\x9b") == "\\xc2\\x9b");                    // CSI in one character
    CHECK(shown("\xe2\x80\xae") == "\\xe2\\x80\\xae");           // right to left from here
    CHECK(shown("\x9b\xff") == "\\x9b\\xff");                    // no UTF-8
    CHECK(shown("\xc0\xaf") == "\\xc0\\xaf");                    // too long a form
    CHECK(shown("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // half a pair
    CHECK(shown("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // past the last
    CHECK(shown("\xe4\xb8") == "\\xe4\\xb8");                    // cut

    CHECK(shown(std::string(2000, 'a')) == std::string(2000, 'a'));
    CHECK(shown(std::string(2001, 'a')) == std::string(1997, 'a') + "…");
    CHECK(shown(std::string(1 << 20, '\n')).size() <= 2000);
    std::string wide;
    for (int i = 0; i < 1000; ++i) wide += "世";
    CHECK(shown(wide) == wide.substr(0, 1995) + "…");
    std::string names;
    for (int i = 0; i < 100'000; ++i) names += "authorization=";
    CHECK(shown(names).size() <= 2000);
}
