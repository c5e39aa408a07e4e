#include "eval/requests.h"

#include "base/error.h"
#include "eval/text.h"

#include <algorithm>

namespace templar {

namespace {

void require_prefix(const RequestRules& rules, std::string_view for_what) {
    if (rules.prefix < 0)
        fail(ExitCode::input, "{} begins after a begin or end token, but neither the model nor its tokenizer names one",
             for_what);
}

std::vector<int32_t> encode_context(const Tokenizer& tokenizer, const RequestRules& rules, std::string_view context) {
    std::vector<int32_t> ids;
    // Nothing at all to condition on: the model needs one token.
    if (rules.bos || context.empty()) {
        require_prefix(rules, "a context");
        ids.push_back(rules.prefix);
    }
    tokenizer.encode(context, ids);
    return ids;
}

}  // namespace

Request make_request(const Tokenizer& tokenizer, const RequestRules& rules, std::string_view context,
                     std::string_view continuation) {
    const std::string whole = std::string(context) + std::string(continuation);
    const bool nothing = context.empty();
    context.remove_suffix(trailing_space(context));
    Request request{.tokens = encode_context(tokenizer, rules, context), .scored = 0, .context = 0};
    const size_t prefix = context.empty() || rules.bos ? 1 : 0;
    std::vector<int32_t> ids = tokenizer.encode(whole);
    // The harness encodes this continuation as a text of its own, which then has a begin token too.
    if (rules.bos && nothing) ids.insert(ids.begin(), rules.prefix);
    const size_t before = request.tokens.size() - prefix;
    if (before < ids.size())
        request.tokens.insert(request.tokens.end(), ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end());
    request.context = static_cast<int64_t>(before + prefix);
    request.scored = std::ssize(request.tokens) - request.context;
    if (request.scored == 0) fail(ExitCode::input, "the answer \"{}\" adds no token to its context", continuation);
    if (request.scored > rules.length)
        fail(ExitCode::input,
             "the answer \"{}…\" has {} tokens, expected at most the {} that the model sees at once (lm-eval ends here "
             "too): take the row out of a copy of the file (--file TASK=COPY), end before it with --limit, or use a "
             "model trained for longer texts; --length cannot exceed what this one was trained for",
             continuation.substr(0, 40), request.scored, rules.length);
    const int64_t excess = std::ssize(request.tokens) - (rules.length + 1);
    if (excess > 0) request.tokens.erase(request.tokens.begin(), request.tokens.begin() + excess);
    return request;
}

std::vector<Request> make_windows(const Tokenizer& tokenizer, const RequestRules& rules, std::string_view document,
                                  int64_t overlap) {
    require_prefix(rules, "a document");
    if (overlap < 1 || overlap > rules.length)
        fail(ExitCode::input, "windows that overlap by {} tokens, expected 1 to the model's length {}", overlap,
             rules.length);
    std::vector<int32_t> ids(rules.bos ? 2 : 1, rules.prefix);  // with bos the text has one of its own
    tokenizer.encode(document, ids);
    const auto count = static_cast<int64_t>(ids.size()) - 1;
    std::vector<Request> windows;
    for (int64_t scored = 0; scored < count;) {
        const int64_t room = scored == 0 ? rules.length : rules.length - overlap + 1;
        const int64_t next = std::min(count - scored, room);
        const int64_t end = scored + next, begin = std::max<int64_t>(0, end - rules.length);
        windows.push_back(
            {.tokens = {ids.begin() + begin, ids.begin() + end + 1}, .scored = next, .context = scored + 1 - begin});
        scored = end;
    }
    return windows;
}

}  // namespace templar
