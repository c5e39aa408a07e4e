#include "base/temporary_folder.h"

#include "base/error.h"
#include "base/file.h"

#include <doctest/doctest.h>

#include <stdlib.h>

#include <cstdlib>
#include <optional>

using namespace templar;
namespace fs = std::filesystem;

TEST_CASE("temporary folder: its owner's alone, and gone with all it holds") {
    std::optional<TemporaryFolder> one(std::in_place);
    const TemporaryFolder other;
    const fs::path path = one->path();
    CHECK(path != other.path());
    CHECK(path.parent_path() == fs::path(fs::temp_directory_path() / "x").parent_path());
    CHECK(fs::status(path).permissions() == fs::perms::owner_all);

    fs::create_directories(path / "a" / "b");
    write_file(path / "a" / "b" / "file", as_bytes("bytes"));
    write_file(other.path() / "kept", as_bytes("bytes"));
    fs::create_directory_symlink(other.path(), path / "link");
    one.reset();
    CHECK(!fs::exists(path));
    CHECK(fs::exists(other.path() / "kept"));  // links are removed, not followed
}

TEST_CASE("temporary folder: one that is gone already is no trouble") {
    const TemporaryFolder folder;
    fs::remove(folder.path());
}

TEST_CASE("temporary folder: nowhere to put it is an error that says so") {
    const char* found = std::getenv("TMPDIR");
    const std::optional<std::string> before = found ? std::optional<std::string>(found) : std::nullopt;
    ::setenv("TMPDIR", "/no/such/folder", 1);
    try {
        const TemporaryFolder folder;
        FAIL_CHECK("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::storage);
        CHECK(std::string_view(error.what()).find("TMPDIR") != std::string_view::npos);
    }
    before ? ::setenv("TMPDIR", before->c_str(), 1) : ::unsetenv("TMPDIR");
}
