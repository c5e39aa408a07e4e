#include "base/sha256.h"

#include "base/error.h"

#include <doctest/doctest.h>

using namespace templar;

namespace {

std::string hash(std::string_view text) {
    return to_hex(sha256(as_bytes(text)));
}

}  // namespace

TEST_CASE("SHA-256: the examples of FIPS 180") {
    CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(std::string(1'000'000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256: pieces hash like the whole, whatever their length") {
    std::string text;
    for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i * 7));
    const Digest whole = sha256(as_bytes(text));
    for (size_t piece = 1; piece <= 130; ++piece) {
        Sha256 hash;
        for (size_t at = 0; at < text.size(); at += piece)
            hash.update(std::string_view(text).substr(at, piece));
        CHECK(hash.finish() == whole);
    }
    CHECK(Sha256().update("").update(Bytes{}).finish() == sha256(Bytes{}));
}

TEST_CASE("SHA-256: lengths around the padding's edges differ from their neighbours") {
    Digest previous{};
    for (size_t size = 50; size < 135; ++size) {
        const Digest digest = sha256(Bytes(size, 0x5a));
        CHECK(digest != previous);
        previous = digest;
    }
    // 55, 56 and 64 bytes: padding that fits, that just does not, and a full block.
    CHECK(hash(std::string(55, 'a')) == "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    CHECK(hash(std::string(56, 'a')) == "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    CHECK(hash(std::string(64, 'a')) == "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST_CASE("SHA-256: integers are hashed little-endian") {
    CHECK(Sha256().update_le(uint32_t{0x04030201}).finish() == sha256(Bytes{1, 2, 3, 4}));
    CHECK(Sha256().update_le(int64_t{-2}).finish() == sha256(Bytes{0xfe, 255, 255, 255, 255, 255, 255, 255}));
}

TEST_CASE("digests from hexadecimal, and what is none") {
    const Digest digest = sha256(as_bytes("abc"));
    CHECK(digest_from_hex(to_hex(digest), "x") == digest);
    for (const std::string& bad :
         {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(63, 'a') + "g",
          " " + std::string(63, 'a'), std::string(64, '\0'), "0x" + std::string(62, 'a')})
        CHECK_THROWS_WITH_AS(digest_from_hex(bad, "the name"), doctest::Contains("the name"), Error);
}
