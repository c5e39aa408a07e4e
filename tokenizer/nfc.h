// Unicode's normalisation form C: characters composed where Unicode has them composed. By utf8proc, whose Unicode is
// younger than that of Hugging Face's tokenizers (which know no combining marks of Unicode 10 and later): rows of such
// marks may be ordered here that are not there.
#pragma once

#include <string>
#include <string_view>

namespace templar {

// The text in NFC: `text` itself where that shows at a glance, or else in `storage`. A byte that is not part of valid
// UTF-8 stays as it is, and what lies before it and behind it is normalised apart. Before an ASCII character nothing
// depends on what follows: NFC of a text is that of its parts up to there and from there.
std::string_view to_nfc(std::string_view text, std::string& storage);

}  // namespace templar
