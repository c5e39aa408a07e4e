#include "net/wire/identity.h"

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace templar {

namespace {

struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;
using ContextPtr = std::unique_ptr<EVP_MD_CTX, FreeContext>;

// "templar.cpp/1/" ‖ kind ‖ 0x00 ‖ bytes. Ed25519 passes over its message twice, so it must be in one piece.
Bytes message(std::string_view kind, ByteSpan bytes) {
    ByteWriter writer;
    writer.put_bytes(as_bytes("templar.cpp/1/"));
    writer.put_bytes(as_bytes(kind));
    writer.put_zeros(1);
    writer.put_bytes(bytes);
    return writer.take();
}

// The private seed as 64 hexadecimal digits, with or without the line's end.
Digest parse_key_file(ByteSpan content, const std::string& path) {
    std::string_view line = as_text(content);
    if (line.ends_with('\n')) line.remove_suffix(1);
    try {
        return digest_from_hex(line, path);
    } catch (const Error& error) {
        fail(ExitCode::identity, "{}; expected one line of 64 hexadecimal digits", error.what());
    }
}

}  // namespace

struct Identity::Key {
    KeyPtr pair;
};

Identity::Identity(const Digest& seed) : key_(std::make_shared<Key>()) {
    key_->pair.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
    size_t length = hotkey_.size();
    if (!key_->pair || EVP_PKEY_get_raw_public_key(key_->pair.get(), hotkey_.data(), &length) != 1)
        fail(ExitCode::internal, "OpenSSL refused to make an Ed25519 key");
}

Identity Identity::generate() {
    Digest seed = random_secret();
    const Identity identity(seed);
    OPENSSL_cleanse(seed.data(), seed.size());
    return identity;
}

Identity Identity::from_seed(const Digest& seed) {
    return Identity(seed);
}

Identity Identity::load(const std::filesystem::path& path) {
    const std::string name = path.string();
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file && errno == ELOOP)
        fail(ExitCode::identity, "key file {} is a symbolic link; give the path of the file itself", name);
    if (!file) fail(ExitCode::identity, "cannot open key file {}: {}", name, std::strerror(errno));
    struct stat info {};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
        fail(ExitCode::identity, "key file {} is not a regular file", name);
    if ((info.st_mode & 077) != 0)
        fail(ExitCode::identity,
             "key file {} has mode {:04o}: others may use it; expected 0600, type: chmod 600 '{}'", name,
             info.st_mode & 07777, name);
    Bytes content(66);  // one more than the longest
    content.resize(read_at(file, 0, content, name));
    Digest seed = parse_key_file(content, name);
    const Identity identity(seed);
    OPENSSL_cleanse(seed.data(), seed.size());
    OPENSSL_cleanse(content.data(), content.size());
    return identity;
}

Identity Identity::load_or_create(const std::filesystem::path& path) {
    std::error_code ignored;
    if (std::filesystem::symlink_status(path, ignored).type() == std::filesystem::file_type::not_found)
        generate().save(path);
    return load(path);
}

void Identity::save(const std::filesystem::path& path) const {
    Digest seed{};
    size_t length = seed.size();
    if (EVP_PKEY_get_raw_private_key(key_->pair.get(), seed.data(), &length) != 1)
        fail(ExitCode::internal, "OpenSSL refused to give the private key");
    std::string line = to_hex(seed) + "\n";
    const bool created = create_file(path, as_bytes(line), 0600);
    OPENSSL_cleanse(seed.data(), seed.size());
    OPENSSL_cleanse(line.data(), line.size());
    if (!created)
        fail(ExitCode::identity, "key file {} exists already and is not replaced; choose another path",
             path.string());
}

Signature Identity::sign(std::string_view kind, ByteSpan bytes) const {
    const Bytes text = message(kind, bytes);
    const ContextPtr context(EVP_MD_CTX_new());
    Signature signature{};
    size_t length = signature.size();
    if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->pair.get()) != 1 ||
        EVP_DigestSign(context.get(), signature.data(), &length, text.data(), text.size()) != 1)
        fail(ExitCode::internal, "OpenSSL refused to sign");
    return signature;
}

bool verify(const Hotkey& author, std::string_view kind, ByteSpan bytes, const Signature& signature) {
    const KeyPtr key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, author.data(), author.size()));
    const ContextPtr context(EVP_MD_CTX_new());
    if (!key || !context) return false;
    const Bytes text = message(kind, bytes);
    return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
           EVP_DigestVerify(context.get(), signature.data(), signature.size(), text.data(), text.size()) == 1;
}

}  // namespace templar
