// How byte-level BPE files spell bytes: each of the 256 bytes is a printable character (GPT-2's
// bytes_to_unicode), so that a space is "Ġ" and tokens can stand in JSON and in space-separated lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace templar {

std::string to_byte_level(std::string_view bytes);  // UTF-8
// Nothing when the UTF-8 text has a character that stands for no byte.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace templar
