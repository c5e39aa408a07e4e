#include "base/new_folder.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>

using namespace templar;
namespace fs = std::filesystem;

namespace {

ExitCode refused(const fs::path& path) {
    try {
        const NewFolder folder(path);
        return ExitCode::ok;
    } catch (const Error& error) {
        return error.code();
    }
}

}  // namespace

TEST_CASE("new folder: there with all it holds, or not at all") {
    const TemporaryFolder scratch;
    const fs::path wanted = scratch.path() / "a" / "b";
    {
        NewFolder folder(wanted);
        write_file(folder.path() / "file", as_bytes("text"));
        CHECK(!fs::exists(wanted));
    }
    CHECK(fs::is_empty(scratch.path() / "a"));
    {
        NewFolder folder(wanted / "");
        write_file(folder.path() / "file", as_bytes("text"));
        folder.commit();
    }
    CHECK(read_text_file(wanted / "file", 10) == "text");
    CHECK(std::distance(fs::directory_iterator(scratch.path() / "a"), {}) == 1);
}

TEST_CASE("new folder: only an empty one is replaced") {
    const TemporaryFolder scratch;
    fs::create_directory(scratch.path() / "empty");
    NewFolder folder(scratch.path() / "empty");
    folder.commit();
    write_file(scratch.path() / "empty" / "file", as_bytes("text"));
    CHECK(refused(scratch.path() / "empty") == ExitCode::usage);
    CHECK(refused(scratch.path() / "empty" / "file") == ExitCode::usage);
    CHECK(refused(scratch.path() / "empty" / "file" / "below") == ExitCode::storage);
    fs::create_symlink("nowhere", scratch.path() / "link");
    CHECK(refused(scratch.path() / "link") == ExitCode::usage);

    fs::create_directory(scratch.path() / "other");
    fs::create_symlink("other", scratch.path() / "to other");
    NewFolder linked(scratch.path() / "to other" / "");
    linked.commit();
    CHECK(fs::is_symlink(scratch.path() / "to other"));
    CHECK(refused("") == ExitCode::usage);

    // What came in meanwhile stays.
    NewFolder late(scratch.path() / "late");
    fs::create_directory(scratch.path() / "late");
    write_file(scratch.path() / "late" / "file", as_bytes("text"));
    CHECK_THROWS_AS(late.commit(), Error);
    CHECK(fs::exists(scratch.path() / "late" / "file"));
}

TEST_CASE("new folder: not in the place of the working folder") {
    const TemporaryFolder scratch;
    const fs::path before = fs::current_path();
    fs::current_path(scratch.path());
    const ExitCode here = refused("."), by_name = refused(scratch.path());
    fs::current_path(before);
    CHECK(here == ExitCode::usage);
    CHECK(by_name == ExitCode::usage);
}
