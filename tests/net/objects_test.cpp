#include "net/swarm/objects.h"

#include "net/bucket/key.h"
#include "tests/net/error_code.h"

#include <bit>
#include <cmath>

using namespace templar;

namespace {

const Digest run_id = sha256(as_bytes("run"));
Hotkey hotkey(int n) {
    return sha256(as_bytes(std::to_string(n)));
}
constexpr int64_t window = 12;

Record example_record() {
    Record record;
    record.run_id = run_id;
    record.window = window;
    record.root = hotkey(100);
    record.eta_bits = std::bit_cast<uint32_t>(4e-4f);
    record.keep_bits = std::bit_cast<uint32_t>(0.99999f);
    record.step = 11;
    record.accepted = {{0, hotkey(0), hotkey(10)}, {3, hotkey(3), hotkey(13)}};
    record.rejected = {{1, hotkey(1), "malformed", "layout: expected a, found b"},
                       {2, hotkey(2), "late", ""}};
    record.gather = {hotkey(3), hotkey(0)};
    record.reserve = {hotkey(5)};
    return record;
}

Scores example_scores() {
    Scores scores;
    scores.run_id = run_id;
    scores.window = window;
    scores.root = hotkey(100);
    scores.secret = hotkey(101);
    scores.random_sequences = {{5, 1}, {7, 0}};
    scores.train_loss = 3.25;
    ScoreEntry peer;
    peer.uid = 4;
    peer.hotkey = hotkey(4);
    peer.tokens = 123456;
    peer.evaluated = true;
    peer.evaluation = {1.0 / 3.0, std::nextafter(2.5, 3), 5e-324, 10.123456789012345, -0.0};
    peer.after = {26.1, 7.9};
    peer.binary_average = -0.05;
    peer.sync = 0.57243340223994621;
    peer.final_score = -1.25;
    peer.weight = 0.1;
    peer.overlap = 1e-17;
    peer.penalty = {Reason::overlap, "index overlap 0.41 with …", 0.5, 0.5};
    peer.own_sequences = {{1, 2}};
    scores.peers = {peer, {}};
    scores.peers[1].uid = 5;
    return scores;
}

bool same_bits(double a, double b) {
    return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("keys of a window's objects") {
    const Hotkey key = hotkey(1);
    CHECK(commit_key(12, key) == "commit/00000012/" + to_hex(key));
    CHECK(payload_key(0, key) == "payload/00000000/" + to_hex(key));
    CHECK(record_key(99'999'999) == "record/99999999");
    CHECK(secret_commit_key(3, key) == "secret/00000003/" + to_hex(key));
    CHECK(scores_key(3, key) == "scores/00000003/" + to_hex(key));
    for (const std::string& name : {commit_key(12, key), record_key(1), std::string(genesis_key),
                                    std::string(tokenizer_key), std::string(manifest_key)})
        CHECK_NOTHROW(check_key(name));
    CHECK_THROWS_AS(record_key(-1), Error);
    CHECK_THROWS_AS(record_key(100'000'000), Error);
}

TEST_CASE("commit: round trip, and refused for another run or window") {
    const Commit commit{run_id, window, hotkey(7), 23'700'000, 1'000'000};
    const std::string text = commit_to_json(commit);
    const Commit back = commit_from_json(text, run_id, window);
    CHECK(commit_to_json(back) == text);
    CHECK(back.object_hash == commit.object_hash);
    CHECK(back.object_bytes == commit.object_bytes);
    CHECK(back.tokens == commit.tokens);
    CHECK(code_of([&] { commit_from_json(text, hotkey(1), window); }, "commit: run_id: expected") ==
          ExitCode::input);
    CHECK(code_of([&] { commit_from_json(text, run_id, 13); }, "commit: window: expected 13, found 12") ==
          ExitCode::input);
    CHECK(code_of([&] { commit_from_json(replaced(text, "23700000", "0"), run_id, window); },
                  "object_bytes") == ExitCode::input);
    CHECK(code_of([&] { commit_from_json(replaced(text, "1000000", "-5"), run_id, window); }, "tokens") ==
          ExitCode::input);
}

TEST_CASE("record: round trip to the bit") {
    const Record record = example_record();
    const std::string text = record_to_json(record);
    const Record back = record_from_json(text, run_id, window);
    CHECK(record_to_json(back) == text);
    CHECK(back.root == record.root);
    CHECK(back.eta_bits == record.eta_bits);
    CHECK(back.keep_bits == record.keep_bits);
    CHECK(back.step == 11);
    REQUIRE(back.accepted.size() == 2);
    CHECK(back.accepted[1].uid == 3);
    CHECK(back.accepted[1].hotkey == hotkey(3));
    CHECK(back.accepted[1].object_hash == hotkey(13));
    REQUIRE(back.rejected.size() == 2);
    CHECK(back.rejected[0].reason == "malformed");
    CHECK(back.rejected[0].evidence == "layout: expected a, found b");
    CHECK(back.gather == record.gather);
    CHECK(back.reserve == record.reserve);
    Record empty;
    empty.run_id = run_id;
    CHECK(record_from_json(record_to_json(empty), run_id, 0).accepted.empty());
}

TEST_CASE("record: bounds hold, whoever signs it") {
    auto refused = [](std::string_view mentions, auto change) {
        Record record = example_record();
        change(record);
        CHECK(code_of([&] { record_to_json(record); }, mentions) == ExitCode::input);
    };
    for (float bad : {NAN, INFINITY, -INFINITY, -1e-3f, 1.5f}) {
        refused("record: eta_bits", [=](Record& r) { r.eta_bits = std::bit_cast<uint32_t>(bad); });
        refused("record: keep_bits", [=](Record& r) { r.keep_bits = std::bit_cast<uint32_t>(bad); });
    }
    refused("record: accepted: expected ascending", [](Record& r) { r.accepted[1].uid = 0; });
    refused("record: accepted: expected ascending",
            [](Record& r) { std::swap(r.accepted[0], r.accepted[1]); });
    refused("record: rejected: expected ascending",
            [](Record& r) { std::swap(r.rejected[0], r.rejected[1]); });
    refused("accepted[0].uid", [](Record& r) { r.accepted[0].uid = -1; });
    refused("accepted[1].uid", [](Record& r) { r.accepted[1].uid = 1024; });
    refused("rejected[0].reason", [](Record& r) { r.rejected[0].reason = "dislike"; });
    refused("record: step", [](Record& r) { r.step = 13; });
    refused("record: window", [](Record& r) { r.window = -1; });
    refused("record: gather", [](Record& r) { r.gather.resize(1025); });
    refused("record: accepted", [](Record& r) { r.accepted.resize(1025); });

    // The same from a text that its writer did not check.
    const std::string text = record_to_json(example_record());
    auto text_refused = [&](std::string_view from, std::string_view to, std::string_view mentions) {
        CHECK(code_of([&] { record_from_json(replaced(text, from, to), run_id, window); }, mentions) ==
              ExitCode::input);
    };
    text_refused("\"uid\":3", "\"uid\":0", "ascending uids");
    text_refused("\"eta_bits\":\"39d1b717\"", "\"eta_bits\":\"7fc00000\"", "eta_bits");
    text_refused("\"step\":11", "\"step\":11.0", "step");
    text_refused("\"reason\":\"late\"", "\"reason\":\"LATE\"", "rejected[1].reason");
    text_refused("\"evidence\":\"\"", "\"evidence\":\"" + std::string(301, 'x') + "\"",
                 "rejected[1].evidence");
    text_refused("\"step\":11", "\"step\":11,\"more\":1", "more");
    text_refused("\"step\":11,", "", "step");
    text_refused("\"step\":11", "\"step\":11,\"step\":12", "twice");
    // Evidence quotes what strangers sent: it never makes a record unwritable, nor longer than readers
    // accept.
    Record record = example_record();
    record.rejected[0].evidence = std::string("\xff\x00\n", 3) + std::string(10'000, 'x');
    const Record back = record_from_json(record_to_json(record), run_id, window);
    CHECK(back.rejected[0].evidence.size() == 300);
    CHECK(back.rejected[0].evidence.starts_with("???xxx"));
}

TEST_CASE("scores: round trip to the bit") {
    const Scores scores = example_scores();
    const std::string text = scores_to_json(scores);
    const Scores back = scores_from_json(text, run_id, window);
    CHECK(scores_to_json(back) == text);
    REQUIRE(back.peers.size() == 2);
    const ScoreEntry &a = scores.peers[0], &b = back.peers[0];
    CHECK(same_bits(a.evaluation.own_before, b.evaluation.own_before));
    CHECK(same_bits(a.evaluation.own_after, b.evaluation.own_after));
    CHECK(same_bits(a.evaluation.random_before, b.evaluation.random_before));
    CHECK(same_bits(a.evaluation.random_after, b.evaluation.random_after));
    CHECK(same_bits(a.evaluation.screen, b.evaluation.screen));
    CHECK(a.before == b.before);
    CHECK(a.after == b.after);
    CHECK(same_bits(a.binary_average, b.binary_average));
    CHECK(same_bits(a.sync, b.sync));
    CHECK(same_bits(a.final_score, b.final_score));
    CHECK(same_bits(a.weight, b.weight));
    CHECK(same_bits(a.overlap, b.overlap));
    CHECK(b.penalty.reason == Reason::overlap);
    CHECK(b.penalty.evidence == a.penalty.evidence);
    CHECK(b.penalty.factor_score == 0.5);
    CHECK(b.own_sequences == a.own_sequences);
    CHECK(back.random_sequences == scores.random_sequences);
    CHECK(back.secret == scores.secret);
    CHECK(b.evaluated);
    CHECK_FALSE(back.peers[1].evaluated);
}

TEST_CASE("scores: bounds hold, and a full swarm's scores fit") {
    auto refused = [](std::string_view mentions, auto change) {
        Scores scores = example_scores();
        change(scores);
        CHECK(code_of([&] { scores_to_json(scores); }, mentions) == ExitCode::input);
    };
    refused("peers[0].evaluation.own_after: expected a finite",
            [](Scores& s) { s.peers[0].evaluation.own_after = NAN; });
    refused("peers[1].before.sigma", [](Scores& s) { s.peers[1].before.sigma = -1; });
    refused("peers[0].sync", [](Scores& s) { s.peers[0].sync = 1.01; });
    refused("peers[0].weight", [](Scores& s) { s.peers[0].weight = INFINITY; });
    refused("peers: expected ascending", [](Scores& s) { s.peers[1].uid = 4; });
    refused("random_sequences", [](Scores& s) { s.random_sequences.resize(1025); });
    refused("random_sequences", [](Scores& s) { s.random_sequences[0].first = -1; });
    const std::string text = scores_to_json(example_scores());
    CHECK(code_of([&] {
              scores_from_json(replaced(text, "\"overlap\"}", "\"overlapping\"}"), run_id, window);
          }) != ExitCode::ok);
    CHECK(code_of([&] { scores_from_json(replaced(text, "3.25", "1e999"), run_id, window); }) ==
          ExitCode::input);
    for (size_t size = 0; size < text.size(); size += 7)
        CHECK(code_of([&] { scores_from_json(text.substr(0, size), run_id, window); }) == ExitCode::input);

    Scores full = example_scores();
    Record full_record = example_record();
    full.peers.assign(1024, full.peers[0]);
    full_record.rejected.assign(1024, full_record.rejected[0]);
    for (int i = 0; i < 1024; ++i) {
        full.peers[i].uid = full_record.rejected[i].uid = i;
        full.peers[i].penalty.evidence = full_record.rejected[i].evidence = std::string(1000, 'e');
    }
    full_record.gather.resize(1024);
    CHECK(scores_to_json(full).size() < max_scores_bytes);
    CHECK(record_to_json(full_record).size() < max_record_bytes);
}
