// Answers of an S3 service: what the scanner accepts is written and scanned as the same; what a parser takes
// from it is in range.
#include "net/s3/answers.h"
#include "net/s3/xml.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (c == '<' || c == '>' || c == '&')
            out += fmt::format("&#x{:x};", c);
        else
            out += c;
    }
}

void write(std::string& out, const XmlElement& element) {
    out += "<" + element.name + ">";
    append_escaped(out, element.text);
    for (const XmlElement& child : element.children) write(out, child);
    out += "</" + element.name + ">";
}

bool same(const XmlElement& a, const XmlElement& b) {
    return a.name == b.name && a.text == b.text && std::ranges::equal(a.children, b.children, same);
}

size_t depth(const XmlElement& element) {
    size_t deepest = 0;
    for (const XmlElement& child : element.children) deepest = std::max(deepest, depth(child));
    return deepest + 1;
}

void check_scanner(std::string_view text) {
    const auto root = accepted([&] { return parse_xml(text); });
    if (!root) return;
    require(depth(*root) <= 16, "nesting is bounded");
    require(!root->name.empty() && root->name.find(':') == std::string::npos, "a name has no prefix");
    std::string again;
    write(again, *root);
    require(same(*root, parse_xml(again)), "an element written is scanned as the same");
}

void check_lists(std::string_view text) {
    if (const auto page = accepted([&] { return parse_list_page(text); })) {
        require(page->objects.size() <= 1000, "a page has at most 1000 objects");
        for (const S3ListedObject& object : page->objects)
            require(!object.key.empty() && object.size >= 0 && object.modified_ms >= 0,
                    "a listed object has a key, a size and a time");
        require(page->truncated != page->next_token.empty(), "a page goes on with a token");
    }
    if (const auto uploads = accepted([&] { return parse_uploads(text); }))
        for (const S3Upload& upload : *uploads)
            require(!upload.key.empty() && !upload.upload_id.empty() && upload.initiated_ms >= 0,
                    "an upload has a key, an id and a time");
}

void check_parts(std::string_view text) {
    const auto page = accepted([&] { return parse_parts(text); });
    if (!page) return;
    for (const S3Part& part : page->parts)
        require(part.number >= 1 && part.number <= 10'000 && part.size >= 0,
                "a part has a number and a size");
    const XmlElement body = parse_xml(complete_upload_body(page->parts));
    require(body.children.size() == page->parts.size(), "every part is in the completing request");
    for (size_t i = 0; i < body.children.size(); ++i)
        require(body.children[i].text_of("ETag") == "\"" + page->parts[i].etag + "\"",
                "a part is completed with its own ETag");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text = as_text({data, size});
    check_scanner(text);
    check_lists(text);
    check_parts(text);
    if (const auto fault = parse_fault(text))
        require(refused([&] { parse_list_page(text); }), "an error is no list");
    accepted([&] { return parse_upload_id(text); });
    accepted([&] { return parse_completed_etag(text); });
    return 0;
}
