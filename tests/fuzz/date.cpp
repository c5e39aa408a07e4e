// Dates in headers and answers: what is accepted is the date that the C library writes for that time.
#include "net/s3/answers.h"
#include "tests/fuzz/target.h"

#include <ctime>

using namespace templar;
using namespace templar::fuzz;

namespace {

std::string written(int64_t time_ms, const char* format) {
    require(time_ms >= 0 && time_ms % 1000 == 0, "a time is whole seconds since 1970");
    const auto seconds = static_cast<time_t>(time_ms / 1000);
    tm parts{};
    require(::gmtime_r(&seconds, &parts) != nullptr, "a time is a date");
    char text[64];
    return {text, std::strftime(text, sizeof text, format, &parts)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text = as_text({data, size});
    // The last second of a day may be a leap second, which no clock of these systems shows.
    if (const auto time_ms = parse_http_date(text); time_ms && text.substr(23, 2) != "60")
        require(written(*time_ms, "%d %b %Y %H:%M:%S GMT") == text.substr(5), "an HTTP date is that time's");
    if (const auto time_ms = parse_iso_date(text); time_ms && text.substr(17, 2) != "60")
        require(written(*time_ms, "%Y-%m-%dT%H:%M:%S") == text.substr(0, 19), "an ISO date is that time's");
    return 0;
}
