// Keys of a stranger's listing: accepted ones stay below the folder they are resolved in.
#include "net/bucket/key.h"
#include "tests/fuzz/target.h"

#include <filesystem>

using namespace templar;
using namespace templar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view key = as_text({data, size});
    const bool good = !refused([&] { check_key(key); });
    if (good) {
        const std::filesystem::path path = std::filesystem::path("/root") / key;
        require(key.size() <= max_key_bytes && path.lexically_normal() == path &&
                    path.string() == "/root/" + std::string(key),
                "a key is a path below the folder");
        require(!refused([&] { check_key_prefix(key); }), "a key is a prefix of itself");
        require(!refused([&] { check_key_prefix(key.substr(0, key.rfind('/') + 1)); }),
                "a key's folder is a prefix");
    }
    try {
        check_key(key);
    } catch (const Error& error) {
        for (const char* c = error.what(); *c; ++c)
            require(*c >= ' ' || static_cast<unsigned char>(*c) >= 0x80,
                    "no control characters in a message");
    }
    return 0;
}
