#include "net/s3/xml.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace templar {

namespace {

constexpr size_t max_depth = 16;
constexpr int64_t max_elements = 32'768;  // a page of 1000 entries has some 12,000

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

std::string_view without_prefix(std::string_view name) {
    return name.substr(name.rfind(':') + 1);
}

// XML 1.0, §2.2.
bool is_character(uint32_t code) {
    if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
    return code < 0xd800 || (code > 0xdfff && code < 0xfffe) || (code > 0xffff && code <= 0x10ffff);
}

// One pass from left to right; what is open waits on a stack, so that nesting costs no recursion.
class Scanner {
  public:
    explicit Scanner(std::string_view text) : text_(text) {}

    XmlElement document() {
        if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
        refuse_control_bytes();
        while (at_ < text_.size()) {
            if (text_[at_] == '<')
                markup();
            else if (open_.empty() && is_blank(text_[at_]))
                ++at_;
            else if (open_.empty())
                refuse("an element");
            else
                character_data();
        }
        if (!root_) refuse(open_.empty() ? "an element" : "its end tag");
        return std::move(*root_);
    }

  private:
    [[noreturn]] void refuse(std::string_view expected) const {
        fail(ExitCode::input, "XML answer of {} bytes: expected {} at byte {}", text_.size(), expected, at_);
    }
    void refuse_control_bytes() {
        const auto bad = std::find_if_not(text_.begin(), text_.end(),
                                          [](char c) { return is_character(static_cast<uint8_t>(c)); });
        if (bad == text_.end()) return;
        at_ = static_cast<size_t>(bad - text_.begin());
        refuse("no control character");
    }
    bool accept(std::string_view token) {
        if (!text_.substr(at_).starts_with(token)) return false;
        at_ += token.size();
        return true;
    }
    // What stands before the next `end`, which is passed over too.
    std::string_view until(std::string_view end) {
        const size_t found = text_.find(end, at_);
        if (found == std::string_view::npos) {
            at_ = text_.size();
            refuse(end);
        }
        const std::string_view text = text_.substr(at_, found - at_);
        at_ = found + end.size();
        return text;
    }
    void skip_blanks() {
        while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    }
    std::string_view name() {
        const size_t begin = at_;
        while (at_ < text_.size() && is_name_byte(text_[at_])) ++at_;
        if (at_ == begin) refuse("a name");
        return text_.substr(begin, at_ - begin);
    }

    void markup() {
        if (accept("<!--")) {
            until("-->");
        } else if (accept("<?")) {
            until("?>");
        } else if (accept("<![CDATA[")) {
            if (open_.empty()) refuse("an element");
            open_.back().text += until("]]>");
        } else if (accept("</")) {
            end_tag();
        } else if (accept("<!")) {
            refuse("no document type");
        } else {
            ++at_;
            start_tag();
        }
    }

    void start_tag() {
        if (root_) refuse("nothing after the root element");
        if (open_.size() == max_depth) refuse("fewer levels");
        if (++elements_ > max_elements) refuse("fewer elements");
        const std::string_view full_name = name();
        names_.push_back(full_name);
        open_.emplace_back().name = without_prefix(full_name);
        if (open_.back().name.empty()) refuse("a name after the prefix");
        for (;;) {
            const size_t before = at_;
            skip_blanks();
            if (accept("/>")) return close();
            if (accept(">")) return;
            if (at_ == before) refuse("a blank, '>' or '/>'");
            attribute();
        }
    }
    void attribute() {
        name();
        skip_blanks();
        if (!accept("=")) refuse("'='");
        skip_blanks();
        const bool single = accept("'");
        if (!single && !accept("\"")) refuse("a quotation mark");
        const size_t begin = at_;
        if (until(single ? "'" : "\"").find('<') != std::string_view::npos) {
            at_ = begin;
            refuse("no '<' in an attribute");
        }
    }
    void end_tag() {
        if (open_.empty()) refuse("an element");
        const size_t begin = at_;
        if (name() != names_.back()) {
            at_ = begin;
            refuse("the end tag of the element that is open");
        }
        skip_blanks();
        if (!accept(">")) refuse("'>'");
        close();
    }
    void close() {
        XmlElement element = std::move(open_.back());
        open_.pop_back();
        names_.pop_back();
        if (!element.children.empty()) {
            const auto first = std::find_if_not(element.text.begin(), element.text.end(), is_blank);
            element.text.erase(element.text.begin(), first);
            while (!element.text.empty() && is_blank(element.text.back())) element.text.pop_back();
        }
        if (open_.empty())
            root_ = std::move(element);
        else
            open_.back().children.push_back(std::move(element));
    }

    void character_data() {
        const size_t end = std::min(text_.find_first_of("<&", at_), text_.size());
        open_.back().text += text_.substr(at_, end - at_);
        at_ = end;
        if (at_ < text_.size() && text_[at_] == '&') append_utf8(open_.back().text, entity());
    }
    uint32_t entity() {
        constexpr size_t longest = 10;  // "&#1114111;"
        const std::string_view here = text_.substr(at_, longest);
        const size_t end = here.find(';');
        if (end == std::string_view::npos) refuse("an entity");
        const std::string_view entity = here.substr(1, end - 1);
        std::optional<uint32_t> code;
        if (entity.starts_with("#x"))
            code = number(entity.substr(2), 16);
        else if (entity.starts_with("#"))
            code = number(entity.substr(1), 10);
        else
            code = named(entity);
        if (!code || !is_character(*code)) refuse("an entity that stands for a character");
        at_ += end + 1;
        return *code;
    }
    static std::optional<uint32_t> named(std::string_view entity) {
        if (entity == "amp") return '&';
        if (entity == "lt") return '<';
        if (entity == "gt") return '>';
        if (entity == "quot") return '"';
        if (entity == "apos") return '\'';
        return std::nullopt;
    }
    // At most 7 digits come here: no overflow.
    static std::optional<uint32_t> number(std::string_view digits, uint32_t base) {
        uint32_t value = 0;
        for (const char c : digits) {
            uint32_t digit = 99;
            if (c >= '0' && c <= '9') digit = static_cast<uint32_t>(c - '0');
            if (c >= 'a' && c <= 'f') digit = static_cast<uint32_t>(c - 'a') + 10;
            if (c >= 'A' && c <= 'F') digit = static_cast<uint32_t>(c - 'A') + 10;
            if (digit >= base) return std::nullopt;
            value = value * base + digit;
        }
        return value == 0 ? std::nullopt : std::optional(value);
    }

    std::string_view text_;
    size_t at_ = 0;
    int64_t elements_ = 0;
    std::vector<XmlElement> open_;         // root first
    std::vector<std::string_view> names_;  // of these, with their prefixes
    std::optional<XmlElement> root_;
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
    for (const XmlElement& element : children)
        if (element.name == child_name) return &element;
    return nullptr;
}

std::string_view XmlElement::text_of(std::string_view child_name) const {
    const XmlElement* found = child(child_name);
    return found ? std::string_view(found->text) : std::string_view();
}

XmlElement parse_xml(std::string_view text) {
    return Scanner(text).document();
}

}  // namespace templar
