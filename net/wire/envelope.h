// Signed control objects (commits, records, scores, ledger entries): one line of header, then the body
// exactly as signed:
//   templar.cpp/1 <kind> <author: 64 hex> <signature: 128 hex>\n<body>
// The body is JSON text for people and tools; its bytes are what is signed, so there is no canonical form to
// get wrong.
#pragma once

#include "net/wire/identity.h"

#include <string>

namespace templar {

struct Envelope {
    std::string kind;
    Hotkey author{};
    std::string body;
};

Bytes seal(const Identity& author, std::string_view kind, std::string_view body);
// Throws Error(input) naming `what` when the header is malformed, the kind is not `kind` or the signature
// does not verify.
Envelope unseal(ByteSpan object, std::string_view kind, std::string_view what);

}  // namespace templar
