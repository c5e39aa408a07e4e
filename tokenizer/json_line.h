// One line of JSONL: the text in one of its fields, without building the rest. As fast as a tokenizer asks for.
#pragma once

#include <string>
#include <string_view>

namespace templar {

// Puts the text that the object's top-level `field` holds into `out`. Everything else is checked to be JSON (RFC 8259)
// and passed over, at most 64 levels deep. Throws Error(input) whose message begins with "byte N: " (N counts the
// line's bytes from 0): bad UTF-8, bad JSON, no object, no such field or one that is no text, the field twice (readers
// differ in which counts), half a surrogate pair, a NUL character in the text.
void read_json_text(std::string_view line, std::string_view field, std::string& out);

}  // namespace templar
