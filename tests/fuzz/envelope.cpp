// Signed control objects: only what their author signed, as this kind, in the one way to write it.
//   r<object>               an object as it comes from a bucket
//   s<kind>\n<body>         a body signed inside
//   x<kind><u16>\n<body>    the same with one bit of the object flipped
#include "net/wire/envelope.h"
#include "tests/fuzz/target.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

constexpr std::string_view kinds[] = {"commit", "record", "scores", "ledger"};

std::string_view kind_of(uint8_t letter) {
    return kinds[letter % std::size(kinds)];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t mode = input.number();
    if (mode == 'r') {
        const ByteSpan object = input.rest();
        for (std::string_view kind : kinds)
            if (const auto envelope = accepted([&] { return unseal(object, kind, "object"); })) {
                require(object.size() == std::string_view("templar.cpp/1   \n").size() + kind.size() + 192 +
                                             envelope->body.size(),
                        "header and body are all there is");
                for (int i = 0; i < participants; ++i)
                    if (participant(i).hotkey() == envelope->author)
                        require(std::ranges::equal(seal(participant(i), kind, envelope->body), object),
                                "an author writes an object in one way");
            }
        return 0;
    }
    const std::string_view kind = kind_of(input.number());
    const auto flipped = mode == 'x' ? input.number<uint16_t>() : uint16_t{0};
    const std::string_view body = input.rest_text();
    Bytes object = seal(participant(0), kind, body);
    if (mode == 'x') {
        object[flipped / 8 % object.size()] ^= static_cast<uint8_t>(1 << flipped % 8);
        require(refused([&] { unseal(object, kind, "object"); }), "a changed object is refused");
        return 0;
    }
    const Envelope envelope = unseal(object, kind, "object");
    require(envelope.kind == kind && envelope.author == participant(0).hotkey() && envelope.body == body,
            "what is sealed is unsealed");
    for (std::string_view other : kinds)
        if (other != kind)
            require(refused([&] { unseal(object, other, "object"); }), "no object passes as another kind");
    return 0;
}
