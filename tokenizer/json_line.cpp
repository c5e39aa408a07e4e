#include "tokenizer/json_line.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

#include <array>
#include <cstdint>

namespace templar {

namespace {

constexpr int most_levels = 64;

constexpr std::array<bool, 256> ends_plain_run = [] {
    std::array<bool, 256> ends{};
    for (size_t c = 0; c < 0x20; ++c) ends[c] = true;
    ends['"'] = ends['\\'] = true;
    return ends;
}();

class LineReader {
  public:
    LineReader(std::string_view line, std::string_view field) : line_(line), field_(field) {}

    void read(std::string& out) {
        if (const size_t bad = find_invalid_utf8(line_); bad != std::string_view::npos) {
            at_ = bad;
            wrong(fmt::format("not UTF-8 (0x{:02x})", static_cast<uint8_t>(line_[bad])));
        }
        skip_space();
        if (peek() != '{') wrong(fmt::format("expected an object with the field \"{}\", found {}", field_, found()));
        bool have = false;
        std::string key;
        members([&] {
            const size_t begin = at_;
            string(&key);
            colon();
            if (key != field_) return value(1);
            if (have) {
                at_ = begin;
                wrong(fmt::format("the field \"{}\" stands twice", field_));
            }
            have = true;
            if (peek() != '"') wrong(fmt::format("expected a text in the field \"{}\", found {}", field_, found()));
            const size_t text = at_;
            out.clear();
            string(&out);
            if (out.find('\0') != std::string::npos) {
                at_ = text;
                wrong(fmt::format("the text in the field \"{}\" has a NUL character", field_));
            }
        });
        skip_space();
        if (at_ < line_.size()) wrong(fmt::format("expected the line's end after the object, found {}", found()));
        if (!have) {
            at_ = 0;
            wrong(fmt::format("no field \"{}\" in this object; --field names the one that holds the text", field_));
        }
    }

  private:
    [[noreturn]] void wrong(const std::string& what) const { fail(ExitCode::input, "byte {}: {}", at_, what); }

    char peek() const { return at_ < line_.size() ? line_[at_] : '\0'; }
    std::string found() const {
        if (at_ >= line_.size()) return "the line's end";
        const Utf8Char c = utf8_at(line_, at_);
        if (c.code < 0x20 || c.code == 0x7f)
            return fmt::format("the control character 0x{:02x}", static_cast<uint32_t>(c.code));
        return fmt::format("'{}'", line_.substr(at_, static_cast<size_t>(c.length)));
    }
    void skip_space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n') ++at_;
    }
    void expect(char c) {
        if (peek() != c) wrong(fmt::format("expected '{}', found {}", c, found()));
        ++at_;
    }
    void colon() {
        skip_space();
        expect(':');
        skip_space();
    }

    // From '{' to '}'; member() reads a key and its value.
    template <class Member>
    void members(const Member& member) {
        expect('{');
        skip_space();
        if (peek() != '}') {
            while (true) {
                if (peek() != '"') wrong(fmt::format("expected a key in quotes, found {}", found()));
                member();
                skip_space();
                if (peek() != ',') break;
                ++at_;
                skip_space();
            }
        }
        if (peek() != '}') wrong(fmt::format("expected ',' or '}}', found {}", found()));
        ++at_;
    }
    void list(int level) {
        expect('[');
        skip_space();
        if (peek() != ']') {
            while (true) {
                value(level);
                skip_space();
                if (peek() != ',') break;
                ++at_;
                skip_space();
            }
        }
        if (peek() != ']') wrong(fmt::format("expected ',' or ']', found {}", found()));
        ++at_;
    }

    void value(int level) {
        if (level > most_levels) wrong(fmt::format("nested deeper than {} levels", most_levels));
        switch (peek()) {
            case '{':
                return members([&] {
                    string(nullptr);
                    colon();
                    value(level + 1);
                });
            case '[':
                return list(level + 1);
            case '"':
                return string(nullptr);
            case 't':
                return word("true");
            case 'f':
                return word("false");
            case 'n':
                return word("null");
            default:
                return number();
        }
    }
    void word(std::string_view expected) {
        if (!line_.substr(at_).starts_with(expected)) wrong(fmt::format("expected a value, found {}", found()));
        at_ += expected.size();
    }
    void number() {
        const size_t begin = at_;
        if (peek() == '-') ++at_;
        if (peek() == '0') {
            ++at_;
        } else if (!digits()) {
            if (at_ == begin) wrong(fmt::format("expected a value, found {}", found()));
            wrong(fmt::format("expected a digit, found {}", found()));
        }
        if (peek() == '.') {
            ++at_;
            if (!digits()) wrong(fmt::format("expected a digit, found {}", found()));
        }
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            if (!digits()) wrong(fmt::format("expected a digit, found {}", found()));
        }
    }
    bool digits() {
        const size_t begin = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        return at_ > begin;
    }

    // Appends what a string says to *out, if there is one.
    void string(std::string* out) {
        const size_t begin = at_++;
        if (out) out->clear();
        while (true) {
            size_t end = at_;
            while (end < line_.size() && !ends_plain_run[static_cast<uint8_t>(line_[end])]) ++end;
            if (out) out->append(line_, at_, end - at_);
            at_ = end;
            if (at_ >= line_.size()) {
                at_ = begin;
                wrong("a text that begins here and does not end in this line");
            }
            if (line_[at_] == '"') break;
            if (line_[at_] != '\\')
                wrong(fmt::format("expected \\u{:04x} in a text, found {}", static_cast<int>(line_[at_]), found()));
            escape(out);
        }
        ++at_;
    }
    void escape(std::string* out) {
        const size_t begin = at_++;
        constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const char name = peek();
        if (const size_t which = names.find(name); name != '\0' && which != std::string_view::npos) {
            ++at_;
            if (out) out->push_back(meanings[which]);
            return;
        }
        if (name != 'u') wrong(fmt::format("expected one of \" \\ / b f n r t u after a backslash, found {}", found()));
        uint32_t code = hex4();
        if (code >= 0xd800 && code < 0xe000) {
            const bool high = code < 0xdc00 && line_.substr(at_).starts_with("\\u");
            if (high) ++at_;
            const uint32_t low = high ? hex4() : 0;
            if (low < 0xdc00 || low >= 0xe000) {
                at_ = begin;
                wrong("half a surrogate pair: this is no Unicode text");
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        if (out) append_utf8(*out, code);
    }
    // The number after 'u', where `at_` stands.
    uint32_t hex4() {
        ++at_;
        uint32_t code = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = peek();
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) wrong(fmt::format("expected four hexadecimal digits after \\u, found {}", found()));
            code = code << 4 | static_cast<uint32_t>(digit);
        }
        return code;
    }

    const std::string_view line_, field_;
    size_t at_ = 0;
};

}  // namespace

void read_json_text(std::string_view line, std::string_view field, std::string& out) {
    LineReader(line, field).read(out);
}

}  // namespace templar
