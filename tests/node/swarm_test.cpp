// Whole swarms in one process on a virtual clock.
#include "sample.h"

#include "node/report.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace templar;

namespace {

std::vector<nlohmann::json> window_events(const LocalPeer& peer) {
    std::vector<nlohmann::json> events;
    std::ifstream file(peer.folder / "events.jsonl");
    for (std::string line; std::getline(file, line);) {
        const auto event = nlohmann::json::parse(line);
        if (event.at("event") == "window") events.push_back(event);
    }
    return events;
}

Digest final_root(int threads, const std::vector<size_t>& order, int64_t windows) {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 3);
    const std::vector<Digest> roots = run_virtual(swarm,
                                                  {.windows = windows,
                                                   .device = {.name = "cpu", .threads = threads},
                                                   .tokens_per_window = 256,
                                                   .micro_batch = 2,
                                                   .start_order = order},
                                                  clock);
    for (const Digest& root : roots) CHECK(root == roots.front());
    CHECK(roots.front() != swarm.created.run.description.genesis_root);
    return roots.front();
}

}  // namespace

TEST_CASE("20 windows end in the same root with 1 and 2 threads and in any starting order") {
    const Digest root = final_root(1, {0, 1, 2, 3}, 20);
    CHECK(final_root(2, {0, 1, 2, 3}, 20) == root);
    CHECK(final_root(1, {3, 2, 1, 0}, 20) == root);
    CHECK(final_root(1, {2, 0, 3, 1}, 20) == root);
}

TEST_CASE("a swarm learns, and its cheaters end below every honest miner") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 3, 1, 1);
    run_virtual(swarm,
                {.windows = 20, .tokens_per_window = 512, .micro_batch = 4, .start_order = {}},
                clock);
    const auto summary = nlohmann::json::parse(summary_json(read_run(swarm.folder)));
    CHECK(summary.at("roots_equal") == true);
    CHECK(summary.at("windows") == 20);
    CHECK(summary.at("heldout_loss_end").get<double>() <
          summary.at("heldout_loss_start").get<double>() - 0.5);
    std::vector<std::string> ranking;
    for (const auto& peer : summary.at("peers")) ranking.push_back(peer.at("role"));
    REQUIRE(ranking.size() == 5);
    for (size_t i = 0; i < 3; ++i) CHECK(ranking[i] == "miner");

    // The copycat is caught by name, the noise maker by its losses.
    bool caught = false;
    for (const auto& event : window_events(swarm.peers[0]))
        for (const auto& peer : event.at("peers"))
            if (peer.at("hotkey") == to_hex(swarm.peers[4].hotkey) && peer.at("penalty").is_object())
                caught |= peer.at("penalty").at("reason") == "overlap";
    CHECK(caught);
}

TEST_CASE("participants that stop and start again end in the same root as those that never stopped") {
    const Digest straight = final_root(1, {}, 8);
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 3);
    VirtualRunOptions options{
        .windows = 3, .tokens_per_window = 256, .micro_batch = 2, .start_order = {}};
    run_virtual(swarm, options, clock);
    options.windows = 8;
    const std::vector<Digest> roots = run_virtual(swarm, options, clock);
    for (const Digest& root : roots) CHECK(root == straight);
}

TEST_CASE("two validators: one record each window, one state") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 2, 0, 0, 2);
    const std::vector<Digest> roots = run_virtual(
        swarm,
        {.windows = 6, .tokens_per_window = 256, .micro_batch = 2, .start_order = {1, 0, 2, 3}},
        clock);
    for (const Digest& root : roots) CHECK(root == roots.front());
    const auto bucket = open_bucket(swarm.bucket_url);
    CHECK(bucket->list("record/").size() == 6);
    // Both publish what they found.
    CHECK(bucket->list("scores/").size() == 12);
}

TEST_CASE("a run description edited after the run began is refused") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 1);
    const std::filesystem::path file = swarm.folder / "bucket" / "run.json";
    std::string text = read_text_file(file, 1 << 20);
    const size_t at = text.find("\"put_ms\": 1000");
    REQUIRE(at != std::string::npos);
    text.replace(at, 14, "\"put_ms\": 9999");
    write_file(file, as_bytes(text));
    try {
        run_virtual(
            swarm, {.windows = 1, .tokens_per_window = 64, .micro_batch = 2, .start_order = {}},
            clock);
        FAIL("the edited description was believed");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::diverged);
    }
}

TEST_CASE("creating a run refuses texts that are missing, empty, binary or too short") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    auto message = [&](const std::string& name) -> std::string {
        LocalSwarmOptions options;
        options.folder = folder.path() / (name + "-swarm");
        options.texts = {folder.path() / name};
        options.run = sample::run_description();
        try {
            create_local_swarm(options, clock);
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
            return error.what();
        }
        return "accepted";
    };
    write_file(folder.path() / "empty.txt", {});
    write_file(folder.path() / "binary.txt", as_bytes(std::string_view("some text\0and a zero byte", 25)));
    write_file(folder.path() / "short.txt", as_bytes("Only one sentence.\nAnd another.\n"));
    for (const char* name : {"missing.txt", "empty.txt", "binary.txt"})
        CHECK(message(name).find(name) != std::string::npos);
    CHECK(message("short.txt") != "accepted");
}
