// OpenSkill's Plackett–Luce rating for teams of one (Weng & Lin 2011, algorithm 4; as openskill.py computes it).
#pragma once

#include <span>
#include <vector>

namespace templar {

struct Rating {
    double mu = 25.0;
    double sigma = 25.0 / 3.0;
    double ordinal() const { return mu - 3.0 * sigma; }
    bool operator==(const Rating&) const = default;
};

// How equal scores are treated; distinct, non-zero scores give the same result in all three.
enum class TieRule {
    v610a0,  // never tied: list order decides
    v613,    // tied; a score of exactly 0 is ranked by its list position (a quirk kept for comparison)
    v620     // tied, as in the paper: the default of this project
};

struct OpenSkillParams {
    double mu = 25.0, sigma = 25.0 / 3.0;  // of a newcomer
    double beta = 20.0;
    double tau = 0.1;
    double kappa = 1e-4;
    bool limit_sigma = false;
    TieRule ties = TieRule::v620;
    bool operator==(const OpenSkillParams&) const = default;
};

// One match: ratings[i] played and scored scores[i], higher is better. Updates in place. At least two players;
// throws std::invalid_argument otherwise, or when a score is NaN.
void rate(const OpenSkillParams& params, std::span<Rating> ratings, std::span<const double> scores);

}  // namespace templar
