#include "net/bucket/key.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

namespace {

bool valid_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

// Keys come from strangers too: shown without anything a terminal would act on.
std::string shown(std::string_view key) {
    std::string text(key.substr(0, 80));
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return key.size() > 80 ? text + "…" : text;
}

void check_segments(std::string_view key, bool last_may_be_empty) {
    if (key.size() > max_key_bytes)
        fail(ExitCode::input, "key {} has {} bytes, expected at most {}", shown(key), key.size(),
             max_key_bytes);
    for (std::string_view rest = key;;) {
        const size_t slash = rest.find('/');
        const std::string_view segment = rest.substr(0, slash);
        const bool last = slash == std::string_view::npos;
        if (!valid_key_segment(segment) && !(last && last_may_be_empty && segment.empty()))
            fail(ExitCode::input,
                 "key \"{}\": expected segments of letters, digits, '.', '_', '-' joined by '/', none empty "
                 "or starting with '.'; "
                 "found \"{}\"",
                 shown(key), shown(segment));
        if (last) return;
        rest.remove_prefix(slash + 1);
    }
}

}  // namespace

bool valid_key_segment(std::string_view segment) {
    return !segment.empty() && segment[0] != '.' &&
           std::all_of(segment.begin(), segment.end(), valid_character);
}

void check_key(std::string_view key) {
    check_segments(key, false);
}
void check_key_prefix(std::string_view prefix) {
    check_segments(prefix, true);
}

}  // namespace templar
