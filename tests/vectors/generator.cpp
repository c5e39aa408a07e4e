#include "tests/vectors/generator.h"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace templar::vectors {

int32_t stream_s16(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return static_cast<int32_t>(z >> 48) - 32768;
}

int64_t shape_numel(const nlohmann::json& shape) {
    int64_t n = 1;
    for (const auto& extent : shape) n *= extent.get<int64_t>();
    return n;
}

std::vector<float> generate(const nlohmann::json& spec, int64_t n) {
    const int shift = spec.value("shift", 0);
    const double add = spec.value("add", 0.0);
    const double unit = std::ldexp(1.0, spec.at("log2").get<int>());
    std::vector<double> sum(static_cast<size_t>(n), 0.0);
    for (const auto& term : spec.at("terms")) {
        const double weight = term.at(0).get<double>();
        const uint64_t seed = term.at(1).get<uint64_t>();
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * (stream_s16(seed, i) >> shift);
    }
    std::vector<float> values(sum.size());
    for (size_t i = 0; i < sum.size(); ++i) values[i] = static_cast<float>(add + sum[i] * unit);
    return values;
}

std::vector<float> generate(const nlohmann::json& spec) {
    return generate(spec, shape_numel(spec.at("shape")));
}

std::string sketch_fault(std::span<const float> x, const nlohmann::json& sketch, const Tolerance& tolerance,
                         uint64_t probe_seed) {
    if (const auto n = sketch.at("n").get<size_t>(); x.size() != n)
        return fmt::format("expected {} elements, found {}", n, x.size());
    double squares = 0, sum = 0, probe = 0, largest = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double value = x[i];
        if (!std::isfinite(value)) return fmt::format("element {} is {}", i, value);
        squares += value * value;
        sum += value;
        largest = std::max(largest, std::abs(value));
        if (sketch.contains("probe")) probe += value * stream_s16(probe_seed, i) / 32768.0;
    }
    if (sketch.value("zero", false))
        return largest <= tolerance.zero ? "" : fmt::format("expected zeros, found {:.3g}", largest);

    const double l2 = sketch.at("l2").get<double>();
    const double norm_scale = tolerance.norm_scale > 0 ? tolerance.norm_scale : l2;
    std::string fault;
    auto compare = [&](std::string_view what, double found, double expected, double limit) {
        if (fault.empty() && !(std::abs(found - expected) <= limit))
            fault =
                fmt::format("{}: expected {:.9g}, found {:.9g}, differs by {:.3g} where {:.3g} is allowed",
                            what, expected, found, std::abs(found - expected), limit);
    };
    const bool every = sketch.contains("values");
    const auto expected = sketch.at(every ? "values" : "at_values").get<std::vector<double>>();
    double amax = sketch.value("amax", 0.0);
    if (!sketch.contains("amax"))
        for (double value : expected) amax = std::max(amax, std::abs(value));
    const double value_scale = tolerance.value_scale > 0 ? tolerance.value_scale : amax;
    for (size_t j = 0; j < expected.size(); ++j) {
        const size_t i = every ? j : sketch.at("at").at(j).get<size_t>();
        compare(fmt::format("element {}", i), x[i], expected[j], tolerance.value * value_scale);
    }
    compare("l2", std::sqrt(squares), l2, tolerance.norm * norm_scale);
    const double root = std::sqrt(static_cast<double>(x.size()));
    compare("sum", sum, sketch.at("sum").get<double>(), tolerance.norm * root * norm_scale);
    if (sketch.contains("probe"))
        compare("probe", probe, sketch.at("probe").get<double>(), 3 * tolerance.norm * norm_scale);
    return fault;
}

double largest_error(std::span<const float> x, std::span<const double> expected, double scale) {
    if (x.size() != expected.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        if (!std::isfinite(x[i])) return std::numeric_limits<double>::infinity();
        worst = std::max(worst, std::abs(x[i] - expected[i]));
    }
    return worst / scale;
}

}  // namespace templar::vectors
