#include "tests/system/s3_server_fault.h"

#include <fmt/core.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace templar::s3test {
namespace {

bool glob(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern.front() != '*')
        return !text.empty() && pattern.front() == text.front() && glob(pattern.substr(1), text.substr(1));
    for (size_t skip = 0; skip <= text.size(); ++skip)
        if (glob(pattern.substr(1), text.substr(skip))) return true;
    return false;
}

void replace_body(Response& response, Bytes bytes) {
    const auto owner = std::make_shared<const Bytes>(std::move(bytes));
    response.owner = owner;
    response.body = *owner;
}

// Where in its object the answer's body begins.
int64_t first_byte(const Response& response) {
    for (const auto& [name, value] : response.headers)
        if (name == "Content-Range" && value.starts_with("bytes ")) return std::atoll(value.c_str() + 6);
    return 0;
}

// "bytes=a-b", or no range at all.
bool asks_for(const std::string& range, int64_t byte) {
    int64_t first = 0, last = INT64_MAX;
    if (!range.empty() && std::sscanf(range.c_str(), "bytes=%" SCNd64 "-%" SCNd64, &first, &last) < 1)
        return true;
    return first <= byte && byte <= last;
}

// `first`, then `again` as often as it takes.
std::string filled(const std::string& first, const std::string& again, int64_t bytes) {
    std::string text = first;
    while (!again.empty() && static_cast<int64_t>(text.size()) < bytes) text += again;
    return text;
}

void cut_out(std::string& text, const std::string& name) {
    const size_t begin = text.find("<" + name + ">"), end = text.find("</" + name + ">");
    if (begin != std::string::npos && end != std::string::npos)
        text.erase(begin, end + name.size() + 3 - begin);
}

// What the rule changes of the answer itself.
void spoil(Response& response, const FaultRule& rule, const Target& target, const Service& service) {
    const ByteSpan content = response.content();
    switch (rule.fault) {
        case Fault::header:
            response.set(rule.name, rule.value);
            break;
        case Fault::ignore_range:
            if (const auto whole = service.blob(target.bucket, target.key); whole && response.status == 206) {
                response.status = 200;
                response.owner = whole->owner;
                response.body = whole->bytes;
                response.set("Content-Range", "");
            }
            break;
        case Fault::flip:
            if (const int64_t at = rule.bytes - first_byte(response);
                at >= 0 && at < static_cast<int64_t>(content.size())) {
                Bytes wrong(content.begin(), content.end());
                wrong[static_cast<size_t>(at)] ^= 1;
                replace_body(response, std::move(wrong));
            }
            break;
        case Fault::shorter: {
            const size_t less = std::min(content.size(), static_cast<size_t>(rule.bytes));
            replace_body(response, Bytes(content.begin(), content.end() - static_cast<std::ptrdiff_t>(less)));
            response.text.clear();
            break;
        }
        case Fault::oversized: {
            Bytes longer(content.begin(), content.end());
            longer.resize(longer.size() + static_cast<size_t>(rule.bytes), 'x');
            replace_body(response, std::move(longer));
            break;
        }
        case Fault::list_stuck:
            cut_out(response.text, "IsTruncated");
            cut_out(response.text, "NextContinuationToken");
            response.text.insert(
                response.text.rfind("</"),
                "<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>");
            break;
        case Fault::malformed_xml:
            response.text.resize(response.text.rfind("</") + 3);
            break;
        case Fault::body:
            response.text = filled(rule.name, rule.value, rule.bytes);
            break;
        default:
            break;
    }
}

std::string bomb_headers(const FaultRule& rule) {
    if (rule.value == "one line")
        return "x-pad: " + std::string(static_cast<size_t>(rule.bytes), 'a') + "\r\n";
    std::string headers;
    for (int i = 0; static_cast<int64_t>(headers.size()) < rule.bytes; ++i)
        headers += fmt::format("x-pad-{}: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", i);
    return headers;
}

// What the rule changes of how the answer is sent.
void obstruct(Plan& plan, const FaultRule& rule) {
    const size_t bytes = static_cast<size_t>(rule.bytes);
    const auto cut = [&] {
        if (plan.body.empty())
            plan.head.resize(plan.head.size() / 2);
        else
            plan.body = plan.body.first(std::min(bytes, plan.body.size()));
    };
    switch (rule.fault) {
        case Fault::reset_stored:
            plan = Plan{};
            plan.ending = Ending::reset;
            break;
        case Fault::reset_middle:
            cut();
            plan.ending = Ending::reset;
            break;
        case Fault::stall:
            plan.silence_before_ms = rule.ms;
            break;
        case Fault::stall_middle:
            cut();
            plan.silence_after_ms = rule.ms;
            plan.ending = Ending::close;
            break;
        case Fault::drip:
            plan.body_per_s = rule.bytes_per_s;
            break;
        case Fault::drip_all:
            plan.head_per_s = plan.body_per_s = rule.bytes_per_s;
            break;
        case Fault::truncated:
            plan.body = plan.body.first(plan.body.size() - std::min(bytes, plan.body.size()));
            plan.ending = Ending::close;
            break;
        case Fault::overrun:
            plan.surplus = std::string(bytes, 'x');
            break;
        case Fault::endless:
            plan.body = {};
            plan.endless = "400\r\n" + std::string(0x400, 'x') + "\r\n";
            plan.body_per_s = rule.bytes_per_s;
            break;
        case Fault::garbage:
            plan = Plan{};
            plan.head = std::string("\x16\x03\x01\0SSH-2.0-not-http\r\n\r\n", 24);
            plan.ending = Ending::close;
            break;
        case Fault::continues:
            plan = Plan{};
            plan.endless = "HTTP/1.1 100 Continue\r\n\r\n";
            break;
        default:
            break;
    }
}

int64_t announced_length(const Response& response, const FaultRule* rule) {
    const int64_t actual = static_cast<int64_t>(response.content().size());
    if (rule && rule->fault == Fault::short_length) return std::max<int64_t>(0, actual - rule->bytes);
    if (rule && rule->fault == Fault::truncated && actual == 0) return rule->bytes;
    return actual;
}

}  // namespace

bool concerns(const FaultRule& rule, const Request& request, const Target& target) {
    const auto& operations = rule.operations;
    const bool named = operations.empty() ||
                       std::find(operations.begin(), operations.end(), target.operation) != operations.end();
    return named && glob(rule.where, target.bucket + "/" + target.key) &&
           (rule.fault != Fault::flip || asks_for(request.header("range"), rule.bytes));
}

bool replaces_operation(Fault fault) {
    return fault == Fault::status || fault == Fault::early_status || fault == Fault::echo ||
           fault == Fault::redirect || fault == Fault::error_in_200;
}

Response instead(const FaultRule& rule, const Request& request, const Target& target, int64_t now_s) {
    int status = rule.status;
    if (rule.fault == Fault::echo) status = 403;
    if (rule.fault == Fault::redirect) status = 307;
    if (rule.fault == Fault::error_in_200) status = 200;
    const std::string message =
        rule.fault == Fault::echo ? "You sent: " + request.head : std::string("injected for a test");
    Response response = error_response(target, {status, rule.code, message}, now_s);
    response.set("Retry-After", rule.retry_after);
    if (rule.fault == Fault::redirect) response.set("Location", rule.value);
    response.close = rule.fault == Fault::early_status;
    return response;
}

Plan plan_answer(Response& response, const FaultRule* rule, const Request& request, const Target& target,
                 const Service& service) {
    if (rule) spoil(response, *rule, target, service);
    const bool chunked = rule && (rule->fault == Fault::chunked || rule->fault == Fault::endless);
    const bool bodiless = request.method == "HEAD" || response.status == 204 || response.status == 304;
    Plan plan;
    plan.head = status_line(response.status);
    for (const auto& [name, value] : response.headers) plan.head += name + ": " + value + "\r\n";
    if (chunked)
        plan.head += "Transfer-Encoding: chunked\r\n";
    else if (response.status != 204 && response.status != 304)
        plan.head += fmt::format("Content-Length: {}\r\n", announced_length(response, rule));
    if (rule && rule->fault == Fault::header_bomb) plan.head += bomb_headers(*rule);
    plan.head += response.close ? "Connection: close\r\n\r\n" : "\r\n";
    if (!bodiless) plan.body = response.content();
    if (chunked && !plan.body.empty() && rule->fault == Fault::chunked) {
        plan.head += fmt::format("{:x}\r\n", plan.body.size());
        plan.surplus = "\r\n";
    }
    if (chunked && !bodiless && rule->fault == Fault::chunked) plan.surplus += "0\r\n\r\n";
    const bool close = response.close || request.header("connection") == "close";
    plan.ending = close ? Ending::close : Ending::keep;
    if (rule) obstruct(plan, *rule);
    return plan;
}

}  // namespace templar::s3test
