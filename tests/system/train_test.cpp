// The program train: killed at any moment it goes on to the bit; with other options it says which differs.
#include "tests/node/sample.h"
#include "tests/process.h"
#include "weights/checkpoint.h"
#include "weights/saved_model.h"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

using namespace templar;
using namespace templar::test;

namespace {

// Token shards of a sample text, and a tiny model trained on them.
struct Setting {
    sample::TemporaryFolder folder;

    Setting() {
        write_file(folder.path() / "text.txt", as_bytes(sample::text(100'000)));
        const std::string tokenizer = (folder.path() / "tok.json").string(),
                          text = (folder.path() / "text.txt").string();
        REQUIRE(
            run({program("tokenize"), "train", "--vocab-size", "300", "--out", tokenizer, text}, folder.path()).code ==
            0);
        REQUIRE(run({program("tokenize"), "encode", "--tokenizer", tokenizer, "--out",
                     (folder.path() / "data").string(), text},
                    folder.path())
                    .code == 0);
    }
    std::vector<std::string> train(const std::string& name, const std::string& steps,
                                   const std::vector<std::string>& more = {}) const {
        std::vector<std::string> argv = {program("train"),
                                         "--data",
                                         (folder.path() / "data").string(),
                                         "--folder",
                                         (folder.path() / name).string(),
                                         "--preset",
                                         "tiny",
                                         "--steps",
                                         steps,
                                         "--batch",
                                         "8",
                                         "--checkpoint-steps",
                                         "10",
                                         "--device",
                                         "cpu",
                                         "--threads",
                                         "1"};
        argv.insert(argv.end(), more.begin(), more.end());
        return argv;
    }
    std::vector<float> weights(const std::string& name) const { return load_model(folder.path() / name).params; }
};

}  // namespace

TEST_CASE("train killed with -9 again and again ends with the bits of a run that was left alone") {
    const Setting s;
    REQUIRE(run(s.train("alone", "150"), s.folder.path()).code == 0);
    const std::filesystem::path checkpoint = s.folder.path() / "killed" / checkpoint_file;
    const std::filesystem::path log = s.folder.path() / "killed.log";
    int64_t last_write = 0, kills = 0;
    for (int round = 0; round < 4; ++round) {
        const pid_t pid = spawn(s.train("killed", "150"), log);
        // A little after the checkpoint was replaced: between two of them.
        int64_t written = last_write;
        for (int i = 0; i < 1200 && written == last_write; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(5 + round));
            std::error_code absent;
            const auto time = std::filesystem::last_write_time(checkpoint, absent);
            if (!absent) written = time.time_since_epoch().count();
        }
        last_write = written;
        ::kill(pid, SIGKILL);
        kills += wait_for(pid) == 128 + SIGKILL;
    }
    CHECK(kills >= 1);
    CHECK(run(s.train("killed", "150"), s.folder.path()).code == 0);
    CHECK(s.weights("killed") == s.weights("alone"));
}

TEST_CASE("train prints its memory before it trains, and refuses to go on with other options") {
    const Setting s;
    const Result first = run(s.train("run", "3"), s.folder.path());
    CHECK(first.code == 0);
    CHECK(first.output.find("optimiser (f32)") < first.output.find("step      1/3"));
    const Result other = run(s.train("run", "3", {"--clip", "2"}), s.folder.path());
    CHECK(other.code == 2);
    CHECK(contains(other.output, "--clip differs: 1.0 then, 2.0 now"));

    CHECK(run({program("report"), (s.folder.path() / "run").string()}, s.folder.path()).code == 0);
    CHECK(contains(read_text_file(s.folder.path() / "run" / "report.html", 1 << 24), "Held-out loss"));
    CHECK(contains(run({program("report"), (s.folder.path() / "run").string(), "--json"}, s.folder.path()).output,
                   "heldout_loss_last"));
}
