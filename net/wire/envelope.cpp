#include "net/wire/envelope.h"

#include "base/error.h"

#include <algorithm>

namespace templar {

namespace {

constexpr std::string_view magic = "templar.cpp/1 ";

std::string header_line(std::string_view kind, const Hotkey& author, const Signature& signature) {
    return fmt::format("{}{} {} {}\n", magic, kind, to_hex(author), to_hex(signature));
}

}  // namespace

Bytes seal(const Identity& author, std::string_view kind, std::string_view body) {
    const std::string header = header_line(kind, author.hotkey(), author.sign(kind, as_bytes(body)));
    ByteWriter writer;
    writer.put_bytes(as_bytes(header));
    writer.put_bytes(as_bytes(body));
    return writer.take();
}

Envelope unseal(ByteSpan object, std::string_view kind, std::string_view what) {
    const std::string start = fmt::format("{}{} ", magic, kind);
    const size_t author_at = start.size(), signature_at = author_at + 65, body_at = signature_at + 129;
    const std::string_view text = as_text(object);
    if (text.size() < body_at || !text.starts_with(start))
        fail(ExitCode::input, "{}: expected a header line \"{}<author> <signature>\", found another start",
             what, start);
    const Hotkey author = digest_from_hex(text.substr(author_at, 64), fmt::format("{}: author", what));
    const Bytes hex = from_hex(text.substr(signature_at, 128), 64, fmt::format("{}: signature", what));
    Signature signature;
    std::copy(hex.begin(), hex.end(), signature.begin());
    // One way to write a header, so that nobody can make a second object of the same meaning from a signed
    // one.
    if (text.substr(0, body_at) != header_line(kind, author, signature))
        fail(ExitCode::input, "{}: the header line is not written as \"{}<64 hex> <128 hex>\" in lower case",
             what, start);
    const std::string_view body = text.substr(body_at);
    if (!verify(author, kind, as_bytes(body), signature))
        fail(ExitCode::input, "{}: the signature of {} does not verify", what, to_hex(author));
    return {std::string(kind), author, std::string(body)};
}

}  // namespace templar
