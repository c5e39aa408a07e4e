// <rules>\n<URL>\n<access key id>\n<secret>\n<token>: where a stranger says its bucket is, and with which key
// it may be read, as in the ledger. rules: h plain http is allowed, p private addresses are.
#include "net/bucket/bucket.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const std::string_view letters = input.line();
    PeerRules rules;
    rules.allow_http = letters.find('h') != letters.npos;
    rules.allow_private = letters.find('p') != letters.npos;
    const std::string url(input.line());
    S3Credentials key;
    key.access_key_id = input.line();
    constexpr std::string_view secret = "ghijk+lmnop/quvwyz";
    key.secret_access_key = std::string(secret) + std::string(input.line());
    key.session_token = input.line();
    try {
        const std::unique_ptr<Bucket> bucket = open_peer_bucket(url, key, rules);
        require(url.starts_with("s3://"), "no stranger leads to a folder");
        const std::string told = bucket->url();
        require(told.find("endpoint=https://") != told.npos || rules.allow_http, "plain http is not used");
        require(std::ranges::all_of(told, [](char c) { return c > ' ' && c <= '~'; }), "a URL is printable");
    } catch (const Error& error) {
        const std::string_view message = error.what();
        require(error.code() == ExitCode::input, "a stranger's fault is input");
        require(std::ranges::none_of(message, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }),
                "no control characters in a message");
        require(url.find(secret) != url.npos || message.find(secret) == message.npos,
                "no message holds a secret");
    }
    return 0;
}
