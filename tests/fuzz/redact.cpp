// <secret>\n<token>\n<text>: nothing secret is in what may be shown, whatever stands around it. "@s" and "@t"
// in the text stand for them, "@S" and "@T" for their percent-encoded forms.
#include "net/s3/credentials.h"
#include "net/s3/sign.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

// Of letters that neither "[secret]" nor an escape is made of: such a text in the output came from the input.
std::string without_artefacts(std::string_view text) {
    constexpr std::string_view letters = "ghijklmnopquvwyzGHIJKLMNOPQUVWYZ+/=-.~";
    std::string result;
    for (const char c : text.substr(0, 60)) result += letters[static_cast<uint8_t>(c) % letters.size()];
    return result;
}

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::string filled_in(std::string_view text, const S3Credentials& keys) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        const std::string_view mark = text.substr(i, 2);
        if (mark == "@s") result += keys.secret_access_key;
        if (mark == "@t") result += keys.session_token;
        if (mark == "@S") result += uri_encode(keys.secret_access_key, false);
        if (mark == "@T") result += uri_encode(keys.session_token, true);
        if (mark == "@s" || mark == "@t" || mark == "@S" || mark == "@T")
            ++i;
        else
            result += text[i];
    }
    return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    S3Credentials keys;
    keys.access_key_id = "AKIDEXAMPLE";
    keys.secret_access_key = without_artefacts(input.line());
    keys.session_token = without_artefacts(input.line());
    constexpr std::string_view signature = "zzhjklmnopquvwyz";
    const std::string text = filled_in(input.rest_text(), keys);
    for (const std::string& said : {text, text + "&X-Amz-Signature=" + std::string(signature)}) {
        const std::string shown = redact(said, keys);
        require(shown.size() <= 2000, "a message is bounded");
        require(std::ranges::none_of(shown, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }),
                "no control characters in a message");
        for (const std::string& secret : {keys.secret_access_key, keys.session_token})
            for (const std::string& form : {secret, uri_encode(secret, false), uri_encode(secret, true)})
                require(secret.size() < 4 || lower(shown).find(lower(form)) == std::string::npos,
                        "no message holds a secret");
        require(shown.find(signature) == std::string::npos || text.find(signature) != std::string::npos,
                "no message holds a signature");
    }
    return 0;
}
