// The programs as a user meets them: real processes, killed, interrupted, starved of disk, told nonsense.
#include "base/file.h"
#include "tools/swarm/processes.h"
#include "tests/node/sample.h"
#include "tests/process.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

using namespace templar;
using namespace templar::test;

namespace {

// Waits until `done` holds; false after a minute.
bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 1200; ++i) {
        if (done()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
}

// Processes whose command line names the folder.
int processes_of(const std::filesystem::path& folder) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        std::string line;
        if (FILE* file = std::fopen((entry.path() / "cmdline").c_str(), "r")) {
            char buffer[4096];
            line.assign(buffer, std::fread(buffer, 1, sizeof buffer, file));
            std::fclose(file);
        }
        count += contains(line, folder.string());
    }
    return count;
}

std::filesystem::path sample_text(const std::filesystem::path& folder, size_t bytes = 300'000) {
    write_file(folder / "text.txt", as_bytes(sample::text(bytes)));
    return folder / "text.txt";
}

std::vector<std::string> small_swarm(const std::filesystem::path& folder,
                                     const std::vector<std::string>& more) {
    std::vector<std::string> argv = {program("swarm"),
                                     "--folder",
                                     (folder / "swarm").string(),
                                     "--text",
                                     sample_text(folder).string(),
                                     "--preset",
                                     "tiny",
                                     "--miners",
                                     "2",
                                     "--copycats",
                                     "0",
                                     "--noise",
                                     "0"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
}

}  // namespace

TEST_CASE("every program teaches by --help and refuses an unknown option") {
    const sample::TemporaryFolder folder;
    for (const char* name : {"miner", "validator", "train", "swarm", "tokenize", "report", "bench", "eval", "export", "import", "generate"}) {
        CAPTURE(name);
        const Result help = run({program(name), "--help"}, folder.path());
        CHECK(help.code == 0);
        CHECK(contains(help.output, "Exit codes"));
        CHECK(run({program(name), "--no-such-option"}, folder.path()).code == 2);
    }
}

TEST_CASE("bad texts end in one clear line and exit code 3") {
    const sample::TemporaryFolder folder;
    write_file(folder.path() / "empty.txt", {});
    write_file(folder.path() / "binary.txt", as_bytes(std::string_view("\x7f"
                                                                       "ELF\0\0\1",
                                                                       7)));
    for (const char* name : {"missing.txt", "empty.txt", "binary.txt"}) {
        CAPTURE(name);
        const Result result = run({program("swarm"), "--folder", (folder.path() / "swarm").string(), "--text",
                                   (folder.path() / name).string()},
                                  folder.path());
        CHECK(result.code == 3);
        CHECK(contains(result.output, name));
    }
}

TEST_CASE("a key file readable by others is refused with the chmod to type") {
    const sample::TemporaryFolder folder;
    REQUIRE(run(small_swarm(folder.path(), {"--create-only"}), folder.path()).code == 0);
    const std::filesystem::path peer = folder.path() / "swarm" / "peers" / "validator-1";
    ::chmod((peer / "key").c_str(), 0644);
    const Result result =
        run({program("validator"), "--bucket", "file://" + (folder.path() / "swarm" / "bucket").string(),
             "--folder", peer.string()},
            folder.path());
    CHECK(result.code == 6);
    CHECK(contains(result.output, "chmod"));
}

TEST_CASE("a virtual swarm by the program: same root for 1 and 2 threads") {
    std::string roots[2];
    for (int threads : {1, 2}) {
        const sample::TemporaryFolder folder;
        const Result result =
            run(small_swarm(folder.path(), {"--virtual-clock", "--tokens-per-window", "256", "--windows", "4",
                                            "--threads", std::to_string(threads)}),
                folder.path());
        REQUIRE(result.code == 0);
        const auto summary =
            nlohmann::json::parse(read_text_file(folder.path() / "swarm" / "summary.json", 1 << 20));
        CHECK(summary.at("roots_equal") == true);
        CHECK(std::filesystem::file_size(folder.path() / "swarm" / "report.html") > 1000);
        roots[threads - 1] = summary.at("root");
    }
    CHECK(roots[0] == roots[1]);
}

TEST_CASE("Ctrl-C ends the whole swarm and leaves no process") {
    const sample::TemporaryFolder folder;
    const pid_t swarm = spawn(small_swarm(folder.path(), {"--windows", "100000", "--window-seconds", "1"}),
                              folder.path() / "log");
    CHECK(eventually([&] { return std::filesystem::exists(folder.path() / "swarm" / "bucket" / "record"); }));
    ::kill(swarm, SIGINT);
    CHECK(wait_for(swarm) == 130);
    CHECK(eventually([&] { return processes_of(folder.path()) == 0; }));
    CHECK(std::filesystem::exists(folder.path() / "swarm" / "summary.json"));
}

TEST_CASE("the swarm's death by kill -9 takes its processes with it") {
    const sample::TemporaryFolder folder;
    const pid_t swarm = spawn(small_swarm(folder.path(), {"--windows", "100000", "--window-seconds", "1"}),
                              folder.path() / "log");
    CHECK(eventually([&] { return processes_of(folder.path()) == 4; }));
    ::kill(swarm, SIGKILL);
    CHECK(wait_for(swarm) == 128 + SIGKILL);
    CHECK(eventually([&] { return processes_of(folder.path()) == 0; }));
}

TEST_CASE("miners killed with -9 again and again come back to the run's state") {
    const sample::TemporaryFolder folder;
    REQUIRE(run(small_swarm(folder.path(), {"--create-only", "--window-seconds", "1", "--start-in", "1"}),
                folder.path())
                .code == 0);
    const std::filesystem::path peers = folder.path() / "swarm" / "peers";
    const std::string bucket = "file://" + (folder.path() / "swarm" / "bucket").string();
    auto start = [&](const std::string& name) {
        std::filesystem::create_directories(peers / name);
        std::vector<std::string> argv = {program(name == "validator-1" ? "validator" : "miner"),
                                         "--bucket",
                                         bucket,
                                         "--folder",
                                         (peers / name).string(),
                                         "--threads",
                                         "1",
                                         "--last-window",
                                         "14"};
        return spawn(argv, peers / name / "log.txt");
    };
    const pid_t validator = start("validator-1");
    const pid_t steady = start("miner-1");
    // Fixed, uneven moments: inside training, around commits, reveals and checkpoints.
    for (int pause_ms : {2350, 1010, 1490, 730, 1980}) {
        const pid_t killed = start("miner-2");
        std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
        ::kill(killed, SIGKILL);
        wait_for(killed);
    }
    const pid_t last = start("miner-2");
    CHECK(wait_for(validator) == 0);
    CHECK(wait_for(steady) == 0);
    CHECK(wait_for(last) == 0);
    const std::string roots[] = {last_line(peers / "validator-1" / "log.txt"),
                                 last_line(peers / "miner-1" / "log.txt"),
                                 last_line(peers / "miner-2" / "log.txt")};
    auto root = [](const std::string& line) { return line.substr(line.size() - 64); };
    REQUIRE(roots[0].size() > 64);
    REQUIRE(roots[1].size() > 64);
    REQUIRE(roots[2].size() > 64);
    CHECK(root(roots[0]) == root(roots[1]));
    CHECK(root(roots[0]) == root(roots[2]));
}

TEST_CASE("a full disk ends in one clear line and exit code 5, and the next start goes on") {
    const sample::TemporaryFolder folder;
    REQUIRE(run(small_swarm(folder.path(), {"--create-only", "--window-seconds", "1", "--start-in", "0"}),
                folder.path())
                .code == 0);
    const std::string bucket = "file://" + (folder.path() / "swarm" / "bucket").string();
    const std::vector<std::string> miner = {program("miner"),
                                            "--bucket",
                                            bucket,
                                            "--folder",
                                            (folder.path() / "swarm" / "peers" / "miner-1").string(),
                                            "--threads",
                                            "1"};
    // Enough for the log and the data, too little for a checkpoint of the model.
    const Result starved = run(miner, folder.path(), 64 << 10);
    CHECK(starved.code == 5);
    CHECK(contains(starved.output, "miner: "));
    const pid_t again = spawn(miner, folder.path() / "again.txt");
    const std::filesystem::path events =
        folder.path() / "swarm" / "peers" / "miner-1" / "checkpoint.safetensors";
    CHECK(eventually([&] { return std::filesystem::exists(events); }));
    ::kill(again, SIGINT);
    CHECK(wait_for(again) == 130);
}
