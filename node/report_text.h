// Text of the report: escaping, and numbers the way people read them. A number that is missing or not finite shows as "–".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace templar::html {

// Safe as element content and inside quoted attributes. Bytes that are not UTF-8, control characters and those that change
// the writing direction become U+FFFD: a stranger's name cannot reorder the line it stands in.
std::string escape(std::string_view text);
// At most `characters` code points, then "…". Not escaped.
std::string clip(std::string_view text, size_t characters);
// Code points, counting every byte that is not UTF-8 as one.
size_t length(std::string_view text);

// A unit follows its number after a no-break space.
std::string number(double value, int decimals);    // 3.21, −0.004, 1.2e+09
std::string percent(double share, int decimals);   // 0.0123 -> "1.2 %"
std::string count(double value);                   // 950, 12.3 k, 4.56 M
std::string grouped(double value);                 // 1,234,567
std::string bytes(double value);                   // 23.7 MB (powers of 1000)
std::string duration(double seconds);              // 45 s, 12:05, 1:02:03
std::string seconds(double value);                 // 0.31 s, 12.4 s
std::string date(int64_t ms);                      // 2026-11-21 23:26 UTC; "–" when unknown

}  // namespace templar::html
