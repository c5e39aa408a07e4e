// Bytes as text that JSON can hold (RFC 4648, section 4: A-Z a-z 0-9 + / and = to fill up).
#pragma once

#include "base/bytes.h"

namespace templar {

std::string to_base64(ByteSpan bytes);
// Throws Error(input) naming `what` unless the text is what to_base64 gives for some bytes.
Bytes from_base64(std::string_view text, std::string_view what);

}  // namespace templar
