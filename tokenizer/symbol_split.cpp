#include "tokenizer/symbol_split.h"

#include <fmt/core.h>

#include <algorithm>

namespace templar {

namespace {

constexpr std::string_view operators = "\\^$.|?*+()[]{}";  // of regular expressions

std::string pattern_of(std::vector<std::string> symbols) {
    std::sort(symbols.begin(), symbols.end(), [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
    std::string pattern;
    for (const std::string& symbol : symbols) {
        if (!pattern.empty()) pattern += '|';
        for (const char c : symbol) {
            if (operators.find(c) != operators.npos) pattern += '\\';
            pattern += c;
        }
    }
    return pattern;
}

std::vector<std::string> symbols_of(std::string_view pattern) {
    std::vector<std::string> symbols(1);
    for (size_t at = 0; at < pattern.size(); ++at) {
        const bool is_escaped = pattern[at] == '\\' && at + 1 < pattern.size();
        if (is_escaped) ++at;
        if (pattern[at] == '|' && !is_escaped)
            symbols.emplace_back();
        else
            symbols.back() += pattern[at];
    }
    return symbols;
}

}  // namespace

std::string write_symbol_split(std::vector<std::string> symbols) {
    return fmt::format(
        "{{\"type\": \"Split\", \"pattern\": {{\"Regex\": {}}}, \"behavior\": \"Isolated\", \"invert\": false}}",
        nlohmann::json(pattern_of(std::move(symbols))).dump());
}

std::vector<std::string> read_symbol_split(const Field& pre_tokenizer) {
    const Field pattern = pre_tokenizer.member("pattern").member("Regex");
    std::vector<std::string> symbols = symbols_of(pattern.string());
    const bool has_empty = std::any_of(symbols.begin(), symbols.end(), [](const auto& s) { return s.empty(); });
    if (has_empty || pattern_of(symbols) != pattern.string())
        pattern.refuse("symbols with | between, the longest first");
    if (pre_tokenizer.value() != nlohmann::json::parse(write_symbol_split(symbols)))
        pre_tokenizer.refuse("Split, Isolated, not inverted");
    return symbols;
}

}  // namespace templar
