#include "base/file.h"

#include "base/error.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

using namespace templar;

namespace {

struct Folder : TemporaryFolder {
    std::filesystem::path operator/(const char* name) const { return path() / name; }
    auto count() const {
        return std::distance(std::filesystem::directory_iterator(path()),
                             std::filesystem::directory_iterator());
    }
};

ExitCode code_of(const std::function<void()>& action, std::string_view mentions) {
    try {
        action();
    } catch (const Error& error) {
        INFO(error.what());
        CHECK(std::string_view(error.what()).find(mentions) != std::string_view::npos);
        return error.code();
    }
    return ExitCode::ok;
}

unsigned mode_of(const std::filesystem::path& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

}  // namespace

TEST_CASE("files: written, replaced, read, bounded") {
    const Folder folder;
    const auto path = folder / "file";
    CHECK(code_of([&] { read_file(path, 10); }, path.string()) == ExitCode::input);
    write_file(path, as_bytes("first"));
    write_file(path, as_bytes("second"));
    CHECK(read_text_file(path, 6) == "second");
    CHECK(code_of([&] { read_file(path, 5); }, "has 6 bytes, expected at most 5") == ExitCode::input);
    write_file(path, {});
    CHECK(read_file(path, 0).empty());
    CHECK(folder.count() == 1);
    CHECK(code_of([&] { write_file(folder / "no/file", as_bytes("x")); }, "no/file") == ExitCode::storage);
    const std::string longest(255, 'n');
    write_file(folder.path() / longest, as_bytes("x"));
    CHECK(read_text_file(folder.path() / longest, 1) == "x");
}

TEST_CASE("files: created once, with the mode asked for") {
    const Folder folder;
    CHECK(create_file(folder / "key", as_bytes("mine"), 0600));
    CHECK(mode_of(folder / "key") == 0600);
    CHECK_FALSE(create_file(folder / "key", as_bytes("theirs")));
    CHECK(read_text_file(folder / "key", 10) == "mine");
    std::filesystem::create_symlink(folder / "nothing", folder / "link");
    CHECK_FALSE(create_file(folder / "link", as_bytes("x")));
    CHECK_FALSE(std::filesystem::exists(folder / "nothing"));
    CHECK(code_of([&] { create_file(folder / "no/file", {}); }, "no/file") == ExitCode::storage);
    CHECK(folder.count() == 2);
}

TEST_CASE("files: names inside an open folder, with a given time") {
    const Folder folder;
    const Descriptor open_folder(::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(open_folder);
    CHECK(create_file_at(open_folder, "a", as_bytes("1"), 1'500'000'000'123, "a"));
    CHECK_FALSE(create_file_at(open_folder, "a", as_bytes("2"), std::nullopt, "a"));
    struct stat info {};
    REQUIRE(::stat((folder / "a").c_str(), &info) == 0);
    CHECK(info.st_mtim.tv_sec == 1'500'000'000);
    CHECK(info.st_mtim.tv_nsec == 123'000'000);
    write_file_at(open_folder, "a", as_bytes("3"), std::nullopt, "a");
    CHECK(read_text_file(folder / "a", 1) == "3");
    CHECK(code_of([&] { write_file_at(open_folder, "no/b", {}, std::nullopt, "bucket/no/b"); },
                  "bucket/no/b") == ExitCode::storage);
}

TEST_CASE("files: of many that create one name, one wins; readers of a replaced file see it whole") {
    const Folder folder;
    for (int round = 0; round < 20; ++round) {
        const std::string name = "race" + std::to_string(round);
        std::atomic<int> wins{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back(
                [&, i] { wins += create_file(folder.path() / name, Bytes(1000, static_cast<uint8_t>(i))); });
        for (auto& thread : threads) thread.join();
        CHECK(wins == 1);
    }
    CHECK(folder.count() == 20);

    const auto path = folder / "replaced";
    write_file(path, Bytes(50'000, 0));
    std::atomic<bool> done{false};
    std::atomic<int> mixed{0};
    std::thread reader([&] {
        while (!done) {
            const Bytes bytes = read_file(path, 100'000);
            mixed += bytes != Bytes(50'000, bytes.at(0));
        }
    });
    for (uint8_t i = 1; i < 60; ++i) write_file(path, Bytes(50'000, i));
    done = true;
    reader.join();
    CHECK(mixed == 0);
}

TEST_CASE("files: a pipe, a folder or a device is refused without waiting") {
    const Folder folder;
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0644) == 0);
    for (const auto& path : {folder / "pipe", folder.path(), std::filesystem::path("/dev/null")}) {
        CHECK(code_of([&] { read_file(path, 100); }, "is not a regular file") == ExitCode::input);
        CHECK(code_of([&] { MappedFile map(path); }, "is not a regular file") == ExitCode::input);
    }
}

TEST_CASE("files: a full disk leaves the old file and no other") {
    const Folder folder;
    write_file(folder / "old", as_bytes("old"));
    const pid_t child = ::fork();
    if (child == 0) {
        // A limit on the file size stands for the full disk.
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{1000, 1000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int failures = 0;
        auto count = [&](auto action) {
            try {
                action();
            } catch (const Error& error) {
                failures += error.code() == ExitCode::storage;
            }
        };
        count([&] { write_file(folder / "old", Bytes(5000)); });
        count([&] { create_file(folder / "new", Bytes(5000)); });
        ::_exit(failures);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 2);
    CHECK(read_text_file(folder / "old", 10) == "old");
    CHECK(folder.count() == 1);
}

TEST_CASE("files: memory maps") {
    const Folder folder;
    write_file(folder / "file", as_bytes("0123456789"));
    MappedFile map(folder / "file");
    CHECK(as_text(map.bytes()) == "0123456789");
    const MappedFile moved(std::move(map));
    CHECK(as_text(moved.bytes()) == "0123456789");
    write_file(folder / "empty", {});
    CHECK(MappedFile(folder / "empty").bytes().empty());
    CHECK(code_of([&] { MappedFile missing(folder / "missing"); }, "missing") == ExitCode::input);
}

TEST_CASE("files: read_at reads what there is, from where it is asked") {
    const Folder folder;
    write_file(folder / "file", as_bytes("0123456789"));
    const Descriptor file(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
    Bytes out(4);
    CHECK(read_at(file, 3, out, "file") == 4);
    CHECK(as_text(out) == "3456");
    CHECK(read_at(file, 8, out, "file") == 2);
    CHECK(read_at(file, 100, out, "file") == 0);
    CHECK(code_of([&] { read_at(Descriptor(), 0, out, "the file"); }, "the file") == ExitCode::storage);
}
