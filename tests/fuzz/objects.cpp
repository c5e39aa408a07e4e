// Bodies of commits, records and scores: c<body>, r<body>, s<body>. What is accepted can be written again,
// and is then read as the same.
#include "net/swarm/objects.h"
#include "tests/fuzz/target.h"

#include <bit>

using namespace templar;
using namespace templar::fuzz;

namespace {

template <class Object>
std::optional<Object> round_trip(std::string_view body,
                                 Object (*parse)(std::string_view, const Digest&, int64_t),
                                 std::string (*write)(const Object&)) {
    std::optional<Object> object = accepted([&] { return parse(body, run_id, window); });
    if (object) {
        const std::string text = write(*object);
        require(write(parse(text, run_id, window)) == text, "what is accepted is written and read again");
    }
    return object;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t kind = input.number();
    const std::string_view body = input.rest_text();
    if (kind == 'c') round_trip(body, commit_from_json, commit_to_json);
    if (kind == 'r')
        if (const auto record = round_trip(body, record_from_json, record_to_json))
            for (const uint32_t bits : {record->eta_bits, record->keep_bits}) {
                const auto value = std::bit_cast<float>(bits);
                require(value >= 0 && value <= 1, "a record's factors are numbers from 0 to 1");
            }
    if (kind == 's') round_trip(body, scores_from_json, scores_to_json);
    return 0;
}
