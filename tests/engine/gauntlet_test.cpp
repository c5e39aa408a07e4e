#include "engine/gauntlet/gauntlet.h"

#include "base/error.h"
#include "base/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

using namespace templar;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

Digest hotkey(int i) {
    return sha256(as_bytes("peer " + std::to_string(i)));
}

Submission in_sync() {
    return {Reason::none, "", 0, 0.0, ""};
}
Submission faulty(Reason fault) {
    return {fault, "seen in a test", {}, 0.0, ""};
}

// A peer that lowers the loss by `own` per cent on its own pages and by `random` per cent on the random ones.
Evaluation improving(double own, double random) {
    return {
        .own_before = 4, .own_after = 4 - 0.04 * own, .random_before = 5, .random_after = 5 - 0.05 * random};
}

// Peers 0 … n-1 in sync in every window; peer i improves the loss the more the larger i is.
void honest_window(Gauntlet& gauntlet, int64_t window, int n) {
    std::map<Digest, Submission> submissions;
    std::map<Digest, Evaluation> evaluations;
    for (int i = 0; i < n; ++i) {
        submissions[hotkey(i)] = in_sync();
        evaluations[hotkey(i)] = improving(1.0 + i, 0.5 + 0.1 * i);
    }
    gauntlet.stage1(window, submissions, false);
    gauntlet.stage2(window, evaluations, {});
    gauntlet.age(window);
}

// A Gauntlet in which peers 0 … n-1 have taken part for 40 windows; the next window is 40.
Gauntlet seasoned(int n, GauntletParams params = {}) {
    Gauntlet gauntlet(params);
    for (int64_t window = 0; window < 40; ++window) honest_window(gauntlet, window, n);
    return gauntlet;
}

const PeerState& state(const Gauntlet& gauntlet, int i) {
    return gauntlet.peers().at(hotkey(i));
}

}  // namespace

TEST_CASE("gauntlet: better peers earn more, weights are shares of F squared") {
    const Gauntlet gauntlet = seasoned(5);
    double sum = 0, squares = 0;
    for (int i = 0; i < 5; ++i) {
        const PeerState& peer = state(gauntlet, i);
        CHECK(peer.rated);
        CHECK(peer.binary_average == doctest::Approx(1 - std::pow(0.95, 40)).epsilon(1e-12));
        CHECK(peer.final_score == peer.rating.ordinal() * peer.binary_average);
        if (i > 0) CHECK(peer.rating.ordinal() > state(gauntlet, i - 1).rating.ordinal());
        sum += peer.weight;
        if (peer.final_score > 0) squares += peer.final_score * peer.final_score;
    }
    CHECK(sum == doctest::Approx(1).epsilon(1e-12));
    const double best = state(gauntlet, 4).final_score;
    CHECK(best > 0);
    CHECK(state(gauntlet, 4).weight == doctest::Approx(best * best / squares).epsilon(1e-12));
    CHECK(state(gauntlet, 0).final_score < 0);  // a negative ordinal makes a negative score …
    CHECK(state(gauntlet, 0).weight == 0);      // … and no weight
}

TEST_CASE("gauntlet: sync factor") {
    const GauntletParams params;
    CHECK(sync_factor(params, 0) == 1.0);
    CHECK(sync_factor(params, 1) == doctest::Approx(std::pow(0.8, 2.5)).epsilon(1e-15));
    CHECK(sync_factor(params, 4) == doctest::Approx(std::pow(0.2, 2.5)).epsilon(1e-15));
    CHECK(sync_factor(params, 5) == 0.0);
    CHECK(sync_factor(params, 1'000'000) == 0.0);
    CHECK(sync_factor(params, std::nullopt) == 0.0);
    CHECK(sync_factor(params, -1) == 0.0);  // there is no state from the future
}

TEST_CASE("gauntlet: every fault of stage 1 has its price") {
    struct Case {
        Submission submission;
        double score, binary, sync;
        bool accepted;
    };
    Submission behind1 = in_sync(), behind3 = in_sync(), behind4 = in_sync(), unknown, similar = in_sync(),
               copy = in_sync();
    behind1.windows_behind = 1;
    behind3.windows_behind = 3;
    behind4.windows_behind = 4;
    similar.overlap = 0.4;
    copy.overlap = 0.6;
    Submission similar_and_behind = behind4;
    similar_and_behind.overlap = 0.5;
    const double last = std::pow(0.2, 2.5);
    const Case cases[] = {
        {in_sync(), 1, 1, 1, true},
        {faulty(Reason::no_commit), 0.75, 0.75, 1, false},
        {faulty(Reason::late), 0.75, 0.75, 1, false},
        {faulty(Reason::hash_differs), 0.75, 0.75, 1, false},
        {faulty(Reason::not_retrievable), 0.75, 0.75, 1, false},
        {faulty(Reason::malformed), 0, 1, 1, false},
        {behind1, 1, 1, std::pow(0.8, 2.5), false},
        {behind3, 1, 1, std::pow(0.4, 2.5), false},
        {behind4, 0.75, 0.75, last, false},
        {unknown, 0.75, 0.75, 0, false},
        {similar, 0.5, 0.5, 1, true},
        {copy, 0, 1, 1, false},
        {similar_and_behind, 0.375, 0.375, last, false},
    };
    const Gauntlet before = seasoned(3);
    const PeerState old = state(before, 2);
    for (const Case& c : cases) {
        CAPTURE(reason_name(c.submission.fault));
        CAPTURE(c.submission.overlap);
        Gauntlet gauntlet = before;
        const Stage1Verdict verdict = gauntlet.stage1(40, {{hotkey(2), c.submission}}, false).at(hotkey(2));
        CHECK(verdict.accepted == c.accepted);
        CHECK(verdict.penalty.factor_score == c.score);
        CHECK(verdict.penalty.factor_binary == c.binary);
        CHECK(verdict.zero_score == (c.score == 0));
        const PeerState& peer = state(gauntlet, 2);
        CHECK(peer.final_score == doctest::Approx(old.final_score * c.score).epsilon(1e-15));
        CHECK(peer.binary_average == doctest::Approx(old.binary_average * c.binary).epsilon(1e-15));
        CHECK(peer.sync == doctest::Approx(c.sync).epsilon(1e-15));
        CHECK(peer.rating == old.rating);
        CHECK((peer.last_penalty_window == 40) == (verdict.penalty.reason != Reason::none));
        if (verdict.penalty.reason != Reason::none) CHECK(!peer.last_penalty.evidence.empty());
    }
}

TEST_CASE("gauntlet: penalties multiply only what is positive") {
    Gauntlet gauntlet = seasoned(3);
    REQUIRE(state(gauntlet, 0).final_score < 0);
    const double score = state(gauntlet, 0).final_score;
    gauntlet.stage1(40, {{hotkey(0), faulty(Reason::late)}}, false);
    CHECK(state(gauntlet, 0).final_score == score);

    // A peer that gains less on its own pages than on the random ones has trained on something else.
    Gauntlet liar({});
    for (int64_t window = 0; window < 10; ++window) {
        liar.stage1(window, {{hotkey(0), in_sync()}, {hotkey(1), in_sync()}}, false);
        liar.stage2(window, {{hotkey(0), improving(1, 0.5)}, {hotkey(1), improving(0.4, 0.6)}}, {});
    }
    const double binary = state(liar, 1).binary_average;
    CHECK(binary == doctest::Approx(std::pow(0.95, 10) - 1).epsilon(1e-12));
    CHECK(state(liar, 1).rating.ordinal() > state(liar, 0).rating.ordinal());
    CHECK(state(liar, 1).final_score == 0);  // rated higher, earns nothing
    CHECK(state(liar, 1).weight == 0);
    liar.stage1(10, {{hotkey(1), faulty(Reason::not_retrievable)}}, false);
    CHECK(state(liar, 1).binary_average == binary);
}

TEST_CASE("gauntlet: a penalty of stage 1 still holds after stage 2 made F anew") {
    for (const auto& [overlap, factor] : {std::pair{0.45, 0.5}, std::pair{0.0, 1.0}}) {
        Gauntlet gauntlet = seasoned(3);
        std::map<Digest, Submission> submissions;
        std::map<Digest, Evaluation> evaluations;
        for (int i = 0; i < 3; ++i) {
            submissions[hotkey(i)] = in_sync();
            evaluations[hotkey(i)] = improving(1 + i, 0.5 + i);
        }
        submissions[hotkey(2)].overlap = overlap;
        gauntlet.stage1(40, submissions, false);
        gauntlet.stage2(40, evaluations, {});
        const PeerState& peer = state(gauntlet, 2);
        CHECK(peer.final_score == peer.rating.ordinal() * peer.binary_average * factor);
        honest_window(gauntlet, 41, 3);  // and is forgiven in the next window
        CHECK(peer.final_score == peer.rating.ordinal() * peer.binary_average);
    }
    // Malformed: in the match with the lowest rank, F = 0 for the window.
    Gauntlet gauntlet = seasoned(3);
    gauntlet.stage1(
        40, {{hotkey(0), in_sync()}, {hotkey(1), in_sync()}, {hotkey(2), faulty(Reason::malformed)}}, false);
    const double mu = state(gauntlet, 2).rating.mu;
    gauntlet.stage2(40, {{hotkey(0), improving(1, 0.5)}, {hotkey(1), improving(1, 0.5)}}, {hotkey(2)});
    CHECK(state(gauntlet, 2).rating.mu < mu);
    CHECK(state(gauntlet, 2).rating.ordinal() > 0);
    CHECK(state(gauntlet, 2).final_score == 0);
}

TEST_CASE("gauntlet: a copier is banned, and its ban outlasts its rating") {
    GauntletParams params;
    params.reset_windows = 8;
    Gauntlet gauntlet = seasoned(3, params);
    Submission copy = in_sync();
    copy.overlap = 0.97;
    copy.overlap_with = "uid 0";
    const Stage1Verdict caught = gauntlet.stage1(40, {{hotkey(2), copy}}, false).at(hotkey(2));
    CHECK(caught.penalty.reason == Reason::overlap);
    CHECK(caught.penalty.evidence.find("0.970 with uid 0") != std::string::npos);
    CHECK(state(gauntlet, 2).weight == 0);
    CHECK(state(gauntlet, 2).banned_until == 61);

    // Banned: refused, takes no part in the match in any role, earns nothing.
    const Rating rating = state(gauntlet, 2).rating;
    const Stage1Verdict refused = gauntlet.stage1(41, {{hotkey(2), in_sync()}}, false).at(hotkey(2));
    CHECK(!refused.accepted);
    CHECK(refused.zero_score);
    CHECK(refused.penalty.reason == Reason::banned);
    CHECK(refused.penalty.evidence == "banned until window 61");
    const std::map<Digest, Evaluation> others{{hotkey(0), improving(1, 0.5)}, {hotkey(1), improving(1, 0.6)}};
    gauntlet.stage2(41, others, {hotkey(2)});
    std::map<Digest, Evaluation> with_it = others;
    with_it[hotkey(2)] = improving(3, 2);
    gauntlet.stage2(42, with_it, {});
    CHECK(state(gauntlet, 2).rating == rating);
    CHECK(state(gauntlet, 2).final_score == 0);
    CHECK(state(gauntlet, 2).weight == 0);

    // Silent for longer than reset_windows: rating and averages are forgotten, the ban is not.
    gauntlet.age(50);
    CHECK(state(gauntlet, 2).rating == Rating{});
    CHECK(state(gauntlet, 2).binary_average == 0);
    CHECK(!gauntlet.stage1(60, {{hotkey(2), in_sync()}}, false).at(hotkey(2)).accepted);
    CHECK(gauntlet.stage1(61, {{hotkey(2), in_sync()}}, false).at(hotkey(2)).accepted);
}

TEST_CASE("gauntlet: newcomers owe nothing before their first commit") {
    Gauntlet gauntlet({});
    const Stage1Verdict verdict =
        gauntlet.stage1(7, {{hotkey(0), faulty(Reason::no_commit)}}, false).at(hotkey(0));
    CHECK(!verdict.accepted);
    CHECK(verdict.penalty.reason == Reason::no_commit);
    CHECK(verdict.penalty.factor_binary == 1);
    CHECK(gauntlet.peers().empty());
    CHECK(!gauntlet.active(hotkey(0), 7));

    gauntlet.stage1(8, {{hotkey(0), in_sync()}}, false);
    CHECK(gauntlet.active(hotkey(0), 8));
    CHECK(gauntlet.active(hotkey(0), 12));
    CHECK(!gauntlet.active(hotkey(0), 13));
    CHECK(gauntlet.stage1(9, {{hotkey(0), faulty(Reason::no_commit)}}, false)
              .at(hotkey(0))
              .penalty.factor_binary == 0.75);
    // Inactive again: that is for age() to price, once.
    CHECK(gauntlet.stage1(13, {{hotkey(0), faulty(Reason::no_commit)}}, false)
              .at(hotkey(0))
              .penalty.factor_binary == 1);
}

TEST_CASE("gauntlet: the inactive fade, lose their weight, and are forgotten") {
    Gauntlet gauntlet = seasoned(3);
    const double score = state(gauntlet, 2).final_score;
    for (int64_t window = 40; window < 44; ++window) honest_window(gauntlet, window, 2);
    CHECK(state(gauntlet, 2).final_score == score);
    CHECK(state(gauntlet, 2).weight > 0);
    for (int64_t window = 44; window < 47; ++window) honest_window(gauntlet, window, 2);
    CHECK(state(gauntlet, 2).final_score == doctest::Approx(score * std::pow(0.75, 3)).epsilon(1e-15));
    CHECK(state(gauntlet, 2).weight == 0);
    CHECK(state(gauntlet, 2).last_penalty.reason == Reason::inactive);
    CHECK(state(gauntlet, 2).last_penalty.evidence == "no commit since window 39");
    for (int64_t window = 47; window <= 64; ++window) honest_window(gauntlet, window, 2);
    CHECK(gauntlet.peers().contains(hotkey(2)));
    honest_window(gauntlet, 65, 2);  // 26 windows after its last commit
    CHECK(!gauntlet.peers().contains(hotkey(2)));
}

TEST_CASE("gauntlet: when the validator's own connection fails nobody is penalised") {
    const Gauntlet before = seasoned(3);
    for (Reason fault :
         {Reason::no_commit, Reason::late, Reason::not_retrievable, Reason::malformed, Reason::none}) {
        Gauntlet gauntlet = before;
        Submission submission = faulty(fault);
        submission.overlap = 0.9;
        const Stage1Verdict verdict = gauntlet.stage1(40, {{hotkey(2), submission}}, true).at(hotkey(2));
        CHECK(!verdict.accepted);
        CHECK(verdict.penalty.reason == (fault == Reason::none ? Reason::overlap : fault));
        CHECK(verdict.penalty.factor_score == 1);
        CHECK(!verdict.zero_score);
        gauntlet.stage2(40, {{hotkey(0), improving(1, 0.5)}, {hotkey(1), improving(1, 0.6)}}, {hotkey(2)});
        gauntlet.age(40);
        const PeerState &now = state(gauntlet, 2), &old = state(before, 2);
        CHECK(now.rating == old.rating);
        CHECK(now.final_score == old.final_score);
        CHECK(now.binary_average == old.binary_average);
        CHECK(now.banned_until == -1);
        CHECK(now.sync == old.sync);
        CHECK(state(gauntlet, 1).rating != state(before, 1).rating);
    }
    // The inactive do not fade either, and accepted payloads are accepted as ever.
    Gauntlet gauntlet = before;
    gauntlet.stage1(60, {}, true);
    gauntlet.age(60);
    CHECK(state(gauntlet, 2).final_score == state(before, 2).final_score);
    gauntlet.age(61);
    CHECK(state(gauntlet, 2).final_score == 0.75 * state(before, 2).final_score);
    gauntlet = before;
    CHECK(gauntlet.stage1(40, {{hotkey(2), in_sync()}}, true).at(hotkey(2)).accepted);
}

TEST_CASE("gauntlet: the absent share the lowest rank") {
    Gauntlet gauntlet = seasoned(4);
    std::map<Digest, Submission> submissions{{hotkey(0), in_sync()}, {hotkey(1), in_sync()}};
    submissions[hotkey(2)] = submissions[hotkey(3)] = faulty(Reason::not_retrievable);
    gauntlet.stage1(40, submissions, false);
    const std::vector<Rating> before{state(gauntlet, 0).rating, state(gauntlet, 1).rating,
                                     state(gauntlet, 2).rating, state(gauntlet, 3).rating};
    std::vector<Rating> expected = before;
    rate(gauntlet.params().openskill, expected, std::vector<double>{-0.5, 0.5, -1, -1});
    // Peer 0 made the loss worse: still better than nothing. One named twice, one unknown: no matter.
    gauntlet.stage2(40, {{hotkey(0), improving(-1, -50)}, {hotkey(1), improving(2, 50)}},
                    {hotkey(2), hotkey(3), hotkey(3), hotkey(1), hotkey(99)});
    // Ratings are made in the order of the hotkeys, so only up to rounding.
    for (int i = 0; i < 4; ++i) {
        CHECK(state(gauntlet, i).rating.mu ==
              doctest::Approx(expected[static_cast<size_t>(i)].mu).epsilon(1e-13));
        CHECK(state(gauntlet, i).rating.sigma ==
              doctest::Approx(expected[static_cast<size_t>(i)].sigma).epsilon(1e-13));
    }
    CHECK(!gauntlet.peers().contains(hotkey(99)));
}

TEST_CASE("gauntlet: fewer than two scores make no match") {
    Gauntlet gauntlet = seasoned(2);
    const Rating first = state(gauntlet, 0).rating, second = state(gauntlet, 1).rating;
    const double binary = state(gauntlet, 1).binary_average;
    gauntlet.stage2(40, {{hotkey(1), improving(2, 1)}}, {});
    CHECK(state(gauntlet, 1).rating == second);
    CHECK(state(gauntlet, 1).binary_average == 0.95 * binary + (1 - 0.95));
    CHECK(state(gauntlet, 1).final_score == second.ordinal() * state(gauntlet, 1).binary_average);
    gauntlet.stage2(41, {}, {hotkey(0), hotkey(1)});  // nobody was measured
    CHECK(state(gauntlet, 0).rating == first);
    CHECK(state(gauntlet, 1).rating == second);
}

TEST_CASE("gauntlet: losses of NaN and infinity lose, and never enter a rating") {
    const double nan = std::nan("");
    for (const Evaluation& hostile :
         {Evaluation{4, nan, 5, nan}, Evaluation{4, 3, 5, nan}, Evaluation{4, 3.9, 5, inf},
          Evaluation{4, inf, 5, 4.9}, Evaluation{4, nan, 5, -inf}}) {
        Gauntlet gauntlet = seasoned(3);
        const PeerState old = state(gauntlet, 2);
        gauntlet.stage2(
            40, {{hotkey(0), improving(-9, -9)}, {hotkey(1), improving(1, 0.5)}, {hotkey(2), hostile}}, {});
        const PeerState& peer = state(gauntlet, 2);
        CHECK(peer.rating.mu < old.rating.mu);
        CHECK(peer.binary_average == 0.95 * old.binary_average - (1 - 0.95));
        for (int i = 0; i < 3; ++i) {
            CHECK(std::isfinite(state(gauntlet, i).rating.mu));
            CHECK(std::isfinite(state(gauntlet, i).rating.sigma));
            CHECK(std::isfinite(state(gauntlet, i).final_score));
            CHECK(std::isfinite(state(gauntlet, i).weight));
        }
    }
    // θ itself has no loss: nobody is judged by that.
    Gauntlet gauntlet = seasoned(2);
    const std::string before = gauntlet.save();
    gauntlet.stage2(39, {{hotkey(0), {nan, nan, 5, 4}}, {hotkey(1), {4, 4, inf, inf}}}, {});
    CHECK(gauntlet.save() == before);
}

TEST_CASE("gauntlet: the binary threshold is taken off B") {
    GauntletParams params;
    params.bma_threshold = 0.5;
    Gauntlet gauntlet(params);
    for (int64_t window = 0; window < 13; ++window) honest_window(gauntlet, window, 3);
    CHECK(state(gauntlet, 2).binary_average < 0.5);
    CHECK(state(gauntlet, 2).final_score == 0);
    for (int64_t window = 13; window < 30; ++window) honest_window(gauntlet, window, 3);
    const PeerState& best = state(gauntlet, 2);
    CHECK(best.final_score == best.rating.ordinal() * (best.binary_average - 0.5));
}

TEST_CASE("gauntlet: a payload from an old state is refused and its sync factor weighs on F") {
    Gauntlet gauntlet = seasoned(3);
    Submission behind = in_sync();
    behind.windows_behind = 2;
    gauntlet.stage1(40, {{hotkey(0), in_sync()}, {hotkey(1), in_sync()}, {hotkey(2), behind}}, false);
    gauntlet.stage2(40, {{hotkey(0), improving(1, 0.5)}, {hotkey(1), improving(1, 0.6)}}, {hotkey(2)});
    const PeerState& peer = state(gauntlet, 2);
    CHECK(peer.final_score ==
          doctest::Approx(peer.rating.ordinal() * peer.binary_average * std::pow(0.6, 2.5)));
}

TEST_CASE("gauntlet: a fault that no submission can have is a bug of the caller") {
    Gauntlet gauntlet({});
    CHECK_THROWS_AS(gauntlet.stage1(0, {{hotkey(0), faulty(Reason::banned)}}, false), std::invalid_argument);
}

TEST_CASE("gauntlet: saved and loaded, it goes on with the same bits") {
    Gauntlet gauntlet = seasoned(6);
    Submission copy = in_sync();
    copy.overlap = 0.8;
    copy.overlap_with = "a \"name\" with \xff bytes that are no UTF-8";
    Submission behind;
    behind.windows_behind = 1;
    gauntlet.stage1(40, {{hotkey(0), copy}, {hotkey(1), behind}, {hotkey(2), faulty(Reason::late)}}, true);
    gauntlet.stage1(41, {{hotkey(0), copy}, {hotkey(1), behind}, {hotkey(2), faulty(Reason::late)}}, false);

    Gauntlet loaded({});
    loaded.load(gauntlet.save());
    CHECK(loaded.save() == gauntlet.save());
    REQUIRE(loaded.peers().size() == gauntlet.peers().size());
    for (const auto& [key, peer] : gauntlet.peers()) {
        const PeerState& other = loaded.peers().at(key);
        for (const auto& [a, b] : {std::pair{peer.rating.mu, other.rating.mu},
                                   {peer.rating.sigma, other.rating.sigma},
                                   {peer.binary_average, other.binary_average},
                                   {peer.sync, other.sync},
                                   {peer.final_score, other.final_score},
                                   {peer.weight, other.weight}})
            CHECK(std::memcmp(&a, &b, sizeof a) == 0);
    }
    // What comes next depends on everything kept, the window of own fault included.
    for (Gauntlet* either : {&gauntlet, &loaded})
        for (int64_t window : {40, 41, 42, 61, 70}) honest_window(*either, window, 4);
    CHECK(loaded.save() == gauntlet.save());
}

TEST_CASE("gauntlet: a damaged state is refused and changes nothing") {
    Gauntlet gauntlet = seasoned(2);
    const std::string good = gauntlet.save();
    auto refused = [&](std::string text, const std::string& from, const std::string& to) {
        CAPTURE(to);
        const size_t at = text.find(from);
        REQUIRE(at != std::string::npos);
        text.replace(at, from.size(), to);
        CHECK_THROWS_AS(gauntlet.load(text), Error);
        CHECK(gauntlet.save() == good);
    };
    refused(good, "\"version\":1", "\"version\":2");
    refused(good, "\"version\":1", "\"version\":1,\"more\":0");
    refused(good, "\"rated\":true", "\"rated\":1");
    refused(good, "\"sync\":1.0", "\"sync\":1.5");
    refused(good, "\"sync\":1.0", "\"sync\":null");
    refused(good, "\"sync\":1.0,", "");
    refused(good, "\"sync\":1.0", "\"sink\":1.0");
    refused(good, "\"sigma\":", "\"sigma\":-");
    refused(good, "\"sigma\":", "\"sigma\":1e999,\"x\":");
    refused(good, "\"last_commit\":39", "\"last_commit\":39.5");
    refused(good, "\"last_commit\":39", "\"last_commit\":-2");
    refused(good, "\"last_commit\":39", "\"last_commit\":9223372036854775808");
    refused(good, "\"reason\":\"none\"", "\"reason\":\"mood\"");
    refused(good, "\"evidence\":\"\"", "\"evidence\":7");
    refused(good, "\"peers\":{", "\"peers\":{\"00\":{},");
    refused(good, "\"peers\":{", "\"peers\":[],\"people\":{");
    for (size_t length = 0; length < good.size(); length += 7)
        CHECK_THROWS_AS(gauntlet.load(good.substr(0, length)), Error);
    CHECK_THROWS_AS(gauntlet.load(std::string(100'000, '[')), Error);
    CHECK(gauntlet.save() == good);

    try {
        std::string text = good;
        gauntlet.load(text.replace(text.find("\"sync\":1.0"), 10, "\"sync\":2.0"));
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::input);
        CHECK(std::string(error.what()).find("sync: expected a number from 0 to 1, found 2") !=
              std::string::npos);
    }
}
