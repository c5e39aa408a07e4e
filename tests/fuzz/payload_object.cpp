// Payload objects: accepted only as their author encodes them, byte for byte.
//   r<object>                     as it comes from a bucket
//   <flags><u16 size>{<u16 place><u8 xor>}…
//                                 an object encoded inside, then changed; what covers the change is made to
//                                 fit again: 1 the hashes of the blocks, 2 the signature; 4: of several
//                                 blocks
#include "tests/fuzz/payload_example.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

void judge(ByteSpan object, int64_t payload_bytes) {
    if (const auto decoded = accepted([&] { return decode_payload(object, expectation(payload_bytes)); }))
        check_accepted(*decoded, object, payload_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    const uint8_t flags = input.number();
    if (flags == 'r') {
        const ByteSpan object = input.rest();
        // The length under which the object's own length is right.
        judge(object, std::max<int64_t>(0, std::ssize(object) - payload_header_bytes - 32));
        return 0;
    }
    Bytes object = example(flags & 4, input.number<uint16_t>());
    const size_t length = payload_length(object);
    change(object, input);
    if (flags & 1) fit_hashes(object, length);
    if (flags & 2) fit_signature(object);
    judge(object, static_cast<int64_t>(length));
    return 0;
}
