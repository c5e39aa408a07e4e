// Every case of every openskill*.json: openskill.py's own ratings, and two releases of the original validator
// around it.
#include "base/error.h"
#include "base/file.h"
#include "engine/gauntlet/openskill.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

using namespace templar;
using nlohmann::json;

namespace {

std::vector<json> vector_files() {
    const char* folder = std::getenv("VECTORS_DIR");
    std::vector<std::filesystem::path> paths;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder ? folder : TEMPLAR_SOURCE_DIR "/tests/vectors")) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("openskill") && name.ends_with(".json")) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<json> files;
    for (const auto& path : paths) {
        files.push_back(json::parse(read_text_file(path, 64 << 20)));
        REQUIRE_MESSAGE(files.back().at("schema") == "openskill-plackett-luce/1", path.string());
    }
    return files;
}

TieRule tie_rule(const std::string& version) {
    if (version == "6.1.0a0") return TieRule::v610a0;
    if (version == "6.1.3") return TieRule::v613;
    if (version == "6.2.0") return TieRule::v620;
    fail(ExitCode::input, "expected openskill.py 6.1.0a0, 6.1.3 or 6.2.0, found {}", version);
}

OpenSkillParams read_params(const json& params, const std::string& version) {
    return {.mu = params.at("mu"),
            .sigma = params.at("sigma"),
            .beta = params.at("beta"),
            .tau = params.at("tau"),
            .kappa = params.at("kappa"),
            .limit_sigma = params.at("limit_sigma"),
            .ties = tie_rule(version)};
}

void check_rating(const Rating& found, double mu, double sigma, double ordinal) {
    CHECK(std::abs(found.mu - mu) <= 1e-9 * std::max(1.0, std::abs(mu)));
    CHECK(std::abs(found.sigma - sigma) <= 1e-9 * sigma);
    CHECK(std::abs(found.ordinal() - ordinal) <= 1e-9 * std::max({1.0, std::abs(mu), 3 * sigma}));
}

void run_league(const json& league, const std::string& version) {
    const OpenSkillParams params = read_params(league.at("params"), version);
    std::vector<Rating> ratings;
    for (const json& pair : league.at("initial")) ratings.push_back({pair.at(0), pair.at(1)});
    REQUIRE(ratings.size() == league.at("peers").get<size_t>());

    size_t reported = 0;
    const json& expected = league.at("expected");
    for (size_t round = 0; round < league.at("rounds").size(); ++round) {
        const std::vector<size_t> uids = league["rounds"][round].at("uids");
        const std::vector<double> scores = league["rounds"][round].at("scores");
        std::vector<Rating> players;
        for (size_t uid : uids) players.push_back(ratings.at(uid));
        rate(params, players, scores);
        for (size_t i = 0; i < uids.size(); ++i) ratings[uids[i]] = players[i];

        if (reported == expected.size() || expected[reported].at("round") != round) continue;
        const json& state = expected[reported++];
        const std::vector<size_t> known = state.at("uids");
        for (size_t i = 0; i < known.size(); ++i) {
            CAPTURE(round);
            CAPTURE(known[i]);
            check_rating(ratings.at(known[i]), state.at("mu").at(i), state.at("sigma").at(i),
                         state.at("ordinal").at(i));
        }
    }
    CHECK(reported == expected.size());
}

// The original validator's loop: scores wait until two are there, and what was rated gets a new final score.
struct ValidatorPeer {
    Rating rating;
    double binary_average = 0, sync = 0, final_score = 0;
};

void run_validator(const json& validator, const std::string& version) {
    const OpenSkillParams params = read_params(validator.at("params"), version);
    const json hparams = validator.value("hparams", json::object());
    const double threshold = hparams.value("bma_threshold", 0.0);
    const size_t warmup = hparams.value("bma_warmup_windows", size_t{0});

    std::map<int, ValidatorPeer> peers;
    std::vector<std::pair<int, double>> waiting;  // in the order first recorded
    for (size_t window = 0; window < validator.at("windows").size(); ++window) {
        const json& facts = validator["windows"][window];
        for (size_t i = 0; i < facts.at("uids").size(); ++i) {
            const int uid = facts["uids"][i];
            const double score = facts.at("scores").at(i);
            ValidatorPeer& peer =
                peers.try_emplace(uid, ValidatorPeer{{params.mu, params.sigma}}).first->second;
            peer.binary_average = facts.at("bma").at(i);
            peer.sync = facts.at("sync").at(i);
            const auto same =
                std::find_if(waiting.begin(), waiting.end(), [&](auto& entry) { return entry.first == uid; });
            if (same != waiting.end())
                same->second = score;
            else
                waiting.emplace_back(uid, score);
        }

        const json& state = validator.at("expected").at(window);
        std::vector<int> rated;
        if (waiting.size() >= 2) {
            std::vector<Rating> players;
            std::vector<double> scores;
            for (const auto& [uid, score] : waiting) {
                rated.push_back(uid);
                players.push_back(peers.at(uid).rating);
                scores.push_back(score);
            }
            rate(params, players, scores);
            for (size_t i = 0; i < rated.size(); ++i) {
                ValidatorPeer& peer = peers.at(rated[i]);
                peer.rating = players[i];
                const bool counts = window < warmup || peer.binary_average >= threshold;
                const double binary = counts ? std::max(0.0, peer.binary_average) : 0.0;
                peer.final_score = peer.rating.ordinal() * binary * peer.sync;
            }
            waiting.clear();
        }
        CAPTURE(window);
        CHECK(state.at("rated_uids").get<std::vector<int>>() == rated);
        const std::vector<int> known = state.at("uids");
        CHECK(known.size() == peers.size());
        for (size_t i = 0; i < known.size(); ++i) {
            CAPTURE(known[i]);
            const ValidatorPeer& peer = peers.at(known[i]);
            check_rating(peer.rating, state.at("mu").at(i), state.at("sigma").at(i),
                         state.at("ordinal").at(i));
            const double final_score = state.at("final_score").at(i);
            CHECK(std::abs(peer.final_score - final_score) <= 2e-6 * std::max(1.0, std::abs(final_score)));
        }
    }
}

}  // namespace

TEST_CASE("openskill vectors: leagues") {
    const std::vector<json> files = vector_files();
    REQUIRE(!files.empty());
    for (const json& file : files)
        for (const json& league : file.at("cases"))
            for (const std::string version : league.at("versions")) {
                CAPTURE(league.at("id").get<std::string>());
                CAPTURE(version);
                run_league(league, version);
            }
}

TEST_CASE("openskill vectors: the validator's loop") {
    for (const json& file : vector_files())
        for (const json& validator : file.value("validator_cases", json::array()))
            for (const std::string version : validator.at("versions")) {
                CAPTURE(validator.at("id").get<std::string>());
                CAPTURE(version);
                run_validator(validator, version);
            }
}
