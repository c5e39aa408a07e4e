// Files as users have them, compressed in the ways that tools write them.
#pragma once

#include "base/file.h"
#include "base/temporary_folder.h"
#include "tests/tokenizer/text.h"

#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace templar::testing {

inline std::string gzip(std::string_view text) {
    z_stream state{};
    REQUIRE(::deflateInit2(&state, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(::deflateBound(&state, text.size()), '\0');
    state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    state.avail_in = static_cast<uInt>(text.size());
    state.next_out = reinterpret_cast<Bytef*>(out.data());
    state.avail_out = static_cast<uInt>(out.size());
    REQUIRE(::deflate(&state, Z_FINISH) == Z_STREAM_END);
    out.resize(state.total_out);
    ::deflateEnd(&state);
    return out;
}

// With a checksum, as the program zstd does.
inline std::string zstd(std::string_view text) {
    const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> state(::ZSTD_createCCtx(), ::ZSTD_freeCCtx);
    ::ZSTD_CCtx_setParameter(state.get(), ZSTD_c_checksumFlag, 1);
    std::string out(::ZSTD_compressBound(text.size()), '\0');
    const size_t size = ::ZSTD_compress2(state.get(), out.data(), out.size(), text.data(), text.size());
    REQUIRE(!::ZSTD_isError(size));
    out.resize(size);
    return out;
}

struct Folder : TemporaryFolder {
    std::string file(const std::string& name, std::string_view content) const {
        write_file(path() / name, as_bytes(content));
        return (path() / name).string();
    }
};

template <class Function>
std::string error_of(ExitCode code, const Function& function) {
    try {
        function();
    } catch (const Error& error) {
        CHECK(error.code() == code);
        return error.what();
    }
    return "no error";
}

#define CHECK_HAS(message, part) CHECK_MESSAGE((message).find(part) != std::string::npos, message)

}  // namespace templar::testing
