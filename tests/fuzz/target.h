// What fuzz targets share. A target defines
//     extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
// and returns 0 for every input. A finding is a crash, a sanitizer's report, an exception that the code under
// test does not promise, or a broken property (require).
#pragma once

#include "base/error.h"
#include "net/wire/identity.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace templar::fuzz {

inline void require(bool holds, const char* property) {
    if (holds) return;
    std::fprintf(stderr, "fuzz: this should hold and does not: %s\n", property);
    std::abort();
}

// What `parse` returns; nothing when it refuses with Error(refusal). Any other exception is a finding.
template <class Parse>
auto accepted(Parse&& parse, ExitCode refusal = ExitCode::input) -> std::optional<decltype(parse())> {
    try {
        return parse();
    } catch (const Error& error) {
        require(error.code() == refusal, "a refusal has the exit code the header promises");
        require(error.what()[0] != '\0', "a refusal says why");
        return std::nullopt;
    }
}
template <class Call>
bool refused(Call&& call, ExitCode refusal = ExitCode::input) {
    return !accepted([&] { return (call(), true); }, refusal);
}

// Reads an input from its front; past its end come zeros and empty strings.
class Input {
  public:
    Input(const uint8_t* data, size_t size) : rest_(data, size) {}
    bool empty() const { return rest_.empty(); }
    template <class Integer = uint8_t>
    Integer number() {
        std::array<uint8_t, sizeof(Integer)> raw{};
        const ByteSpan found = bytes(raw.size());
        std::copy(found.begin(), found.end(), raw.begin());
        return ByteReader(raw, "input").get<Integer>();
    }
    ByteSpan bytes(size_t count) {
        const ByteSpan front = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(front.size());
        return front;
    }
    // Up to the next '\n', which is taken too.
    std::string_view line() {
        const std::string_view text = as_text(rest_);
        const size_t end = std::min(text.find('\n'), text.size());
        bytes(std::min(end + 1, text.size()));
        return text.substr(0, end);
    }
    ByteSpan rest() { return bytes(rest_.size()); }
    std::string_view rest_text() { return as_text(rest()); }

  private:
    ByteSpan rest_;
};

// Participants that sign inside a target, so that what is behind a signature is reached too.
inline constexpr int participants = 16;
inline const Identity& participant(int i) {
    static const std::vector<Identity> all = [] {
        std::vector<Identity> made;
        for (int n = 0; n < participants; ++n)
            made.push_back(Identity::from_seed(sha256(as_bytes(fmt::format("fuzz {}", n)))));
        return made;
    }();
    return all[static_cast<size_t>(i) % participants];
}

// The run and window that objects must be of.
inline const Digest run_id = sha256(as_bytes("fuzz"));
inline constexpr int64_t window = 12;

}  // namespace templar::fuzz
