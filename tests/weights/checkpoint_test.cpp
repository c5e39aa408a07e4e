#include "weights/checkpoint.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <stdexcept>

using namespace templar;
namespace fs = std::filesystem;

namespace {

Checkpoint sample(uint64_t window, size_t parameters = 1000) {
    Checkpoint checkpoint;
    checkpoint.window = window;
    checkpoint.step = static_cast<int64_t>(window) - 3;
    checkpoint.root = sha256(as_bytes("root " + std::to_string(window)));
    checkpoint.theta.resize(parameters);
    checkpoint.momentum.resize(parameters);
    for (size_t i = 0; i < parameters; ++i) {
        checkpoint.theta[i] = static_cast<float>(i) + static_cast<float>(window);
        checkpoint.momentum[i] = -0.5f * checkpoint.theta[i];
    }
    checkpoint.extra =
        "{\"window\": " + std::to_string(window) + ", \"quote\": \"\\\"\", \"text\": \"né\\n\"}\n";
    return checkpoint;
}

fs::path file_of(const fs::path& folder) {
    return folder / "checkpoint.safetensors";
}

// Without the syncs of write_file(), and those of some file systems for a file made shorter: these tests
// damage a file a thousand times.
void overwrite(const fs::path& path, ByteSpan bytes) {
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << as_text(bytes);
}

std::string refusal(const fs::path& folder, int64_t parameters) {
    try {
        load_checkpoint(folder, parameters);
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        CHECK(std::string(error.what()).find("checkpoint.safetensors") != std::string::npos);
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("checkpoint: what is loaded is what was saved") {
    const TemporaryFolder folder;
    const fs::path deep = folder.path() / "a" / "b";
    CHECK(!load_checkpoint(deep, 1000));
    save_checkpoint(deep, sample(7));
    CHECK(load_checkpoint(deep, 1000) == sample(7));

    Checkpoint validator = sample(std::numeric_limits<uint64_t>::max());
    validator.step = -1;
    validator.momentum.clear();
    validator.extra.clear();
    save_checkpoint(deep, validator);
    CHECK(load_checkpoint(deep, 1000) == validator);
}

TEST_CASE("checkpoint: every bit of every float survives") {
    const TemporaryFolder folder;
    Checkpoint checkpoint = sample(1, 6);
    const uint32_t bits[6] = {0x80000000u, 0x7fc01234u, 0xff800000u, 0x00000001u, 0x7f7fffffu, 0x7f800001u};
    std::memcpy(checkpoint.theta.data(), bits, sizeof bits);
    save_checkpoint(folder.path(), checkpoint);
    const std::optional<Checkpoint> loaded = load_checkpoint(folder.path(), 6);
    REQUIRE(loaded);
    CHECK(std::memcmp(loaded->theta.data(), bits, sizeof bits) == 0);
}

TEST_CASE("checkpoint: a flipped bit anywhere or a lost tail is noticed") {
    const TemporaryFolder folder;
    save_checkpoint(folder.path(), sample(7, 20));
    const Bytes good = read_file(file_of(folder.path()), 1 << 20);
    const Checkpoint expected = sample(7, 20);
    for (size_t i = 0; i < good.size(); ++i) {
        Bytes bad = good;
        bad[i] ^= static_cast<uint8_t>(1 << (i % 8));
        overwrite(file_of(folder.path()), bad);
        std::optional<Checkpoint> loaded;
        try {
            loaded = load_checkpoint(folder.path(), 20);
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
            continue;
        }
        // An upper-case hexadecimal digit is the same digit; nothing else may pass.
        CHECK(loaded == expected);
    }
    for (size_t length = 0; length < good.size(); ++length) {
        overwrite(file_of(folder.path()), ByteSpan(good).first(length));
        CHECK_THROWS_AS(load_checkpoint(folder.path(), 20), Error);
    }
    Bytes changed = good;
    changed.back() ^= 1;
    write_file(file_of(folder.path()), changed);
    CHECK(refusal(folder.path(), 20).find("damaged") != std::string::npos);
}

TEST_CASE("checkpoint: another model's, another program's and a dangling link are refused") {
    const TemporaryFolder folder;
    save_checkpoint(folder.path(), sample(7));
    CHECK(refusal(folder.path(), 1001).find("theta: expected 1001 values, found 1000") != std::string::npos);
    const std::string header = "{}      ";
    Bytes other{8, 0, 0, 0, 0, 0, 0, 0};
    other.insert(other.end(), header.begin(), header.end());
    write_file(file_of(folder.path()), other);
    CHECK(refusal(folder.path(), 1000).find("format is missing") != std::string::npos);

    fs::remove(file_of(folder.path()));
    fs::create_symlink(folder.path() / "nowhere", file_of(folder.path()));
    CHECK_THROWS_AS(load_checkpoint(folder.path(), 1000), Error);
}

TEST_CASE("checkpoint: what could not be loaded is not saved") {
    const TemporaryFolder folder;
    Checkpoint uneven = sample(7);
    uneven.momentum.pop_back();
    CHECK_THROWS_AS(save_checkpoint(folder.path(), uneven), std::invalid_argument);
    Checkpoint binary = sample(7);
    binary.extra = "\xff";
    CHECK_THROWS_AS(save_checkpoint(folder.path(), binary), std::invalid_argument);
    CHECK(!load_checkpoint(folder.path(), 1000));
}

TEST_CASE("checkpoint: a folder that cannot be written is a storage error") {
    const TemporaryFolder folder;
    write_file(folder.path() / "file", as_bytes("not a folder"));
    try {
        save_checkpoint(folder.path() / "file", sample(1));
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::storage);
    }
}

TEST_CASE("checkpoint: kill -9 at any moment leaves the old or the new one, and no rubbish for long") {
    const TemporaryFolder folder;
    constexpr size_t parameters = 20'000;
    save_checkpoint(folder.path(), sample(0, parameters));
    uint64_t newest = 0;
    for (int round = 0; round < 12; ++round) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            try {
                for (uint64_t window = newest + 1;; ++window)
                    save_checkpoint(folder.path(), sample(window, parameters));
            } catch (...) {
                ::_exit(1);
            }
        }
        ::usleep(static_cast<useconds_t>(1000 + 1700 * round));
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        const std::optional<Checkpoint> found = load_checkpoint(folder.path(), parameters);
        REQUIRE(found);
        CHECK(found->window >= newest);
        CHECK(*found == sample(found->window, parameters));
        newest = found->window;
    }
    write_file(folder.path() / "mine.tmp", as_bytes("not ours"));
    save_checkpoint(folder.path(), sample(newest + 1, parameters));
    size_t files = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path())) ++files;
    CHECK(files == 2);
}
