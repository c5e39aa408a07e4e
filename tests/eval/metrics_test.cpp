#include "eval/bootstrap.h"
#include "eval/metrics.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;

TEST_CASE("the error of a share of hits") {
    const std::vector<double> hits = {1, 0, 0, 1, 1, 0, 0, 0, 0, 0};
    const Mean mean = mean_of(hits);
    CHECK(mean.value == doctest::Approx(0.3));
    CHECK(mean.error == doctest::Approx(std::sqrt(0.3 * 0.7 / 9)));
    CHECK(std::isnan(mean_of(std::vector<double>{1}).error));
    CHECK(mean_of(std::vector<double>{1, 1, 1}).error == 0);
}

TEST_CASE("pooled: weighed by size, the variance within the parts") {
    const std::vector<double> a = {1, 0, 1}, b = {0, 0, 1, 0, 1};
    const std::vector<Mean> parts = {mean_of(a), mean_of(b)};
    const Mean all = pooled(parts);
    CHECK(all.n == 8);
    CHECK(all.value == doctest::Approx(4.0 / 8));
    // Sums of squared deviations 2/3 and 6/5, over 8 − 2 degrees of freedom.
    CHECK(all.error == doctest::Approx(std::sqrt((2.0 / 3 + 6.0 / 5) / 6 / 8)));
    CHECK(std::isnan(pooled(std::vector<Mean>{mean_of(a), mean_of(std::vector<double>{1})}).error));
}

TEST_CASE("the best answer: the first of equal ones, by length when asked") {
    const std::vector<Score> scores = {{-4, false}, {-3, false}, {-3, false}, {-6, false}};
    CHECK(best_answer(scores, std::vector<int64_t>{1, 1, 1, 1}) == 1);
    CHECK(best_answer(scores, std::vector<int64_t>{1, 3, 2, 7}) == 3);
    CHECK(best_answer(scores, std::vector<int64_t>{0, 0, 6, 1}) == 2);
}

// Expected: lm_eval.api.metrics.bootstrap_stderr(perplexity, …, 2000) of lm-eval 0.4.9, Python 3.11.
TEST_CASE("the bootstrap of a perplexity draws what lm-eval draws") {
    const std::vector<double> loglikelihoods = {-0.5, -3.25, -1.0, -7.5, -2.0};
    CHECK(bootstrap_perplexity_error(loglikelihoods, 2000) == doctest::Approx(67.03236929690307).epsilon(1e-12));
    CHECK(std::isnan(bootstrap_perplexity_error(std::vector<double>{-1})));
}
