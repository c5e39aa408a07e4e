// <method G, H, P or D><c or k><length>\n<answers>: what a server may answer, through real sockets. `length`,
// when there is one, is that of the buffer a body must fill; c: the connection is closed after each answer.
// Answers are separated by lines of "%%"; one request is sent for each.
#include "net/s3/transport.h"
#include "tests/fuzz/answer_server.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr int64_t max_body = 2000;

std::string method_of(char letter) {
    if (letter == 'H') return "HEAD";
    if (letter == 'P') return "PUT";
    return letter == 'D' ? "DELETE" : "GET";
}

void check_response(const HttpRequest& request, const HttpResponse& response) {
    size_t header_bytes = 0;
    for (const auto& [name, value] : response.headers) {
        header_bytes += name.size() + value.size();
        require(std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; }),
                "names are lower case");
        for (const std::string& text : {name, value})
            require(text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos, "a header is one line");
    }
    require(response.headers.size() <= 64 && header_bytes <= 16 * 1024, "headers are bounded");
    require(std::ssize(response.body) <= max_body, "a body is bounded");
    require(response.into_bytes <= std::ssize(request.into), "a buffer is not overrun");
    if (response.fault != NetFault::none) return;
    require(response.status >= 200 && response.status <= 599, "an answer has a status");
    const bool fills =
        request.into.data() && request.method != "HEAD" && (response.status == 200 || response.status == 206);
    require(!fills || response.into_bytes == std::ssize(request.into), "a buffer is filled");
    require(request.method != "HEAD" || response.body.empty(), "HEAD has no body");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static AnswerServer server;
    Input input(data, size);
    const std::string first(input.line());
    const std::vector<std::string> answers = split_answers(input.rest_text());
    if (first.size() < 2) return 0;
    const bool close_after_each = first[1] == 'c';
    server.set_answers(answers, close_after_each);

    Transport transport({.allow_http = true, .allow_private = true});
    const Bytes sent(100, 'x');
    Bytes into(std::strtoul(first.c_str() + 2, nullptr, 10) % 4096);
    for (size_t i = 0; i < answers.size(); ++i) {
        HttpRequest request;
        request.method = method_of(first[0]);
        request.url = fmt::format("http://127.0.0.1:{}/bucket/key", server.port());
        if (request.method == "PUT") request.body = sent;
        if (first.size() > 2) request.into = into;
        request.max_body = max_body;
        request.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
        request.stall_ms = 50;
        check_response(request, transport.perform(request));
    }
    return 0;
}
