// <profile>\n<key file>: keys are printable and whole, or the reason names the line and never a value. "@S"
// as a part of a value stands for a secret.
#include "net/s3/credentials.h"
#include "tests/fuzz/memory_file.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr std::string_view secret = "wJalrXUtnFEMIK7MDENG+bPxRfiCYEXAMPLEKEY";

// "@S" replaced in what follows a '=', where values stand.
std::string with_secrets(std::string_view text) {
    std::string file;
    bool is_value = false, is_section = false;
    for (size_t i = 0; i < text.size(); ++i) {
        if (file.empty() || file.back() == '\n') is_value = is_section = false;
        is_section = is_section || (!is_value && text[i] == '[');
        is_value = is_value || (!is_section && text[i] == '=');
        if (is_value && text.substr(i).starts_with("@S")) {
            file += secret;
            ++i;
        } else {
            file += text[i];
        }
    }
    return file;
}

bool printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

void forget_environment() {
    for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
                             "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION"})
        ::unsetenv(name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const bool once = (forget_environment(), true);
    (void)once;
    if (as_text({data, size}).find(secret) != std::string_view::npos)
        return 0;  // in a place where it is none
    Input input(data, size);
    const std::string profile(input.line());
    const MemoryFile file(as_bytes(with_secrets(input.rest_text())));
    try {
        const S3Profile found = find_profile(profile, file.path());
        const S3Credentials& keys = found.credentials;
        require(!keys.access_key_id.empty() && !keys.secret_access_key.empty(), "keys are whole");
        for (const std::string& text :
             {keys.access_key_id, keys.secret_access_key, keys.session_token, found.endpoint, found.region})
            require(printable(text), "what a key file gives is printable");
    } catch (const Error& error) {
        const std::string_view message = error.what();
        require(error.code() == ExitCode::identity, "a key file is refused as identity");
        require(message.find(secret) == message.npos, "no message holds a secret");
        require(std::ranges::none_of(message, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }),
                "no control characters in a message");
    }
    return 0;
}
