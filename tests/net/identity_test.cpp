#include "net/wire/identity.h"

#include "base/file.h"
#include "net/wire/envelope.h"
#include "tests/net/error_code.h"
#include "tests/net/scratch.h"

#include <sys/stat.h>

using namespace templar;

namespace {

Identity test_identity(std::string_view name) {
    return Identity::from_seed(sha256(as_bytes(name)));
}

void write_key(const std::filesystem::path& path, std::string_view content, unsigned mode = 0600) {
    std::filesystem::remove(path);
    create_file(path, as_bytes(content), 0600);
    ::chmod(path.c_str(), mode);
}

}  // namespace

TEST_CASE("Identity is Ed25519 of RFC 8032") {
    // RFC 8032, 7.1, test 1: the public key of a seed.
    const Identity identity = Identity::from_seed(
        digest_from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "seed"));
    CHECK(to_hex(identity.hotkey()) == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    CHECK(Identity::generate().hotkey() != Identity::generate().hotkey());
}

TEST_CASE("signatures hold for one author, kind and message") {
    const Identity alice = test_identity("alice");
    const Bytes message{1, 2, 3};
    const Signature signature = alice.sign("commit", message);
    CHECK(verify(alice.hotkey(), "commit", message, signature));
    CHECK(alice.sign("commit", message) == signature);
    CHECK_FALSE(verify(alice.hotkey(), "record", message, signature));
    CHECK_FALSE(verify(alice.hotkey(), "commit", Bytes{1, 2}, signature));
    CHECK_FALSE(verify(alice.hotkey(), "commit", Bytes{}, signature));
    CHECK_FALSE(verify(test_identity("bob").hotkey(), "commit", message, signature));
    CHECK_FALSE(verify(Hotkey{}, "commit", message, signature));
    Hotkey no_point;
    no_point.fill(0xff);
    CHECK_FALSE(verify(no_point, "commit", message, signature));
    for (int bit = 0; bit < 512; ++bit) {
        Signature flipped = signature;
        flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        CHECK_FALSE(verify(alice.hotkey(), "commit", message, flipped));
    }
    CHECK(verify(alice.hotkey(), "", Bytes{}, alice.sign("", Bytes{})));
}

TEST_CASE("key files: saved for their owner alone, never replaced") {
    Scratch folder;
    const Identity alice = test_identity("alice");
    alice.save(folder / "key");
    struct stat info {};
    REQUIRE(::stat((folder / "key").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    CHECK(info.st_size == 65);
    CHECK(Identity::load(folder / "key").hotkey() == alice.hotkey());
    CHECK(Identity::load_or_create(folder / "key").hotkey() == alice.hotkey());
    CHECK(code_of([&] { test_identity("bob").save(folder / "key"); }, "exists already") ==
          ExitCode::identity);
    CHECK(Identity::load(folder / "key").hotkey() == alice.hotkey());

    const Hotkey fresh = Identity::load_or_create(folder / "new").hotkey();
    CHECK(Identity::load_or_create(folder / "new").hotkey() == fresh);
    CHECK(code_of([&] { Identity::load_or_create(folder / "no/folder"); }) == ExitCode::storage);
}

TEST_CASE("key files that must not be used are refused") {
    Scratch folder;
    const std::string seed(64, 'a');
    const auto path = folder / "key";
    auto refused = [&](std::string_view mentions) {
        CHECK(code_of([&] { Identity::load(path); }, mentions) == ExitCode::identity);
        CHECK(code_of([&] { Identity::load_or_create(path); }, mentions) == ExitCode::identity);
    };
    CHECK(code_of([&] { Identity::load(path); }, "No such file") == ExitCode::identity);
    for (unsigned mode : {0640u, 0604u, 0620u, 0602u, 0610u, 0601u, 0644u, 0666u, 0777u}) {
        write_key(path, seed + "\n", mode);
        refused("chmod 600");
    }
    write_key(path, seed + "\n", 0400);
    CHECK_NOTHROW(Identity::load(path));
    write_key(path, seed);
    CHECK_NOTHROW(Identity::load(path));

    const std::string half = seed.substr(0, 63);
    for (const std::string& content :
         {std::string(), half, half + "\n", half + "g\n", seed + "\n\n", seed + "\nx", seed + " ",
          seed + seed, " " + seed, half + " \n", "0x" + seed + "\n", std::string(5000, 'a')}) {
        write_key(path, content);
        refused("64 hexadecimal digits");
        // The message must not give the key away.
        try {
            Identity::load(path);
        } catch (const Error& error) {
            CHECK(std::string_view(error.what()).find("aaaa") == std::string_view::npos);
        }
    }
    write_key(folder / "real", seed + "\n");
    std::filesystem::remove(path);
    std::filesystem::create_symlink(folder / "real", path);
    refused("symbolic link");
    std::filesystem::remove(path);
    std::filesystem::create_symlink(folder / "nothing", path);
    refused("symbolic link");
    CHECK_FALSE(std::filesystem::exists(folder / "nothing"));
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    refused("not a regular file");
    std::filesystem::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    refused("not a regular file");
}

TEST_CASE("envelope: what is sealed comes back; anything else is refused") {
    const Identity alice = test_identity("alice");
    for (const std::string& body : {std::string("{\"a\": 1}"), std::string(), std::string("\n\0\xff", 3)}) {
        const Envelope envelope = unseal(seal(alice, "commit", body), "commit", "object");
        CHECK(envelope.kind == "commit");
        CHECK(envelope.author == alice.hotkey());
        CHECK(envelope.body == body);
    }
    const Bytes object = seal(alice, "commit", "{}");
    CHECK(as_text(object).starts_with("templar.cpp/1 commit " + to_hex(alice.hotkey()) + " "));
    CHECK(object.size() == 21 + 65 + 129 + 2);
    auto refused = [](Bytes bytes, std::string_view kind = "commit") {
        return code_of([&] { unseal(bytes, kind, "commit/7/x"); }, "commit/7/x") == ExitCode::input;
    };
    CHECK(refused(object, "record"));
    CHECK(refused(object, "commi"));
    CHECK(refused(object, ""));
    for (size_t bit = 0; bit < object.size() * 8; ++bit) {
        Bytes flipped = object;
        flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        CHECK(refused(flipped));
    }
    for (size_t size = 0; size < object.size(); ++size)
        CHECK(refused(Bytes(object.begin(), object.begin() + size)));
    Bytes longer = object;
    longer.push_back('\n');
    CHECK(refused(longer));
    Bytes upper = object;
    for (size_t i = 21; i < 21 + 64; ++i) upper[i] = static_cast<uint8_t>(std::toupper(upper[i]));
    CHECK(refused(upper));
    // Another author's name over the same signature.
    std::string stolen(as_text(object));
    stolen.replace(21, 64, to_hex(test_identity("bob").hotkey()));
    CHECK(refused(Bytes(stolen.begin(), stolen.end())));
}
