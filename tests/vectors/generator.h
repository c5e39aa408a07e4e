// Inputs and expectations of the golden vectors: tensors generated from a seed, long results checked by a
// sketch.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace templar::vectors {

// Element i of the stream with this seed: splitmix64, its upper 16 bits as -32768 … 32767.
int32_t stream_s16(uint64_t seed, uint64_t i);

// The n elements of a tensor spec {"terms": [[w, seed], …], "log2": e, "shift": b, "add": a}:
// a + (Σ w·(s16(seed, i) >> b))·2^e, all exact in float32.
std::vector<float> generate(const nlohmann::json& spec, int64_t n);
// The same with n taken from the spec's "shape".
std::vector<float> generate(const nlohmann::json& spec);
int64_t shape_numel(const nlohmann::json& shape);

// How far a result may be from what a sketch says.
struct Tolerance {
    double value = 0;  // of single elements, in units of value_scale
    double norm = 0;   // |Δl2| <= norm·L, |Δsum| <= norm·√n·L, |Δprobe| <= 3·norm·L, L = norm_scale
    double value_scale = 0;  // 0: the sketch's largest magnitude
    double norm_scale = 0;   // 0: the sketch's l2 norm
    double zero = 0;         // absolute, for a tensor that must be zero
};

// Compares x with a sketch {"n", "l2", "sum", "values" or "at" + "at_values", "amax", "probe"} (the last two
// may be absent) or {"n", "zero": true}. Empty when x is within the tolerance, otherwise what differs and by
// how much.
std::string sketch_fault(std::span<const float> x, const nlohmann::json& sketch, const Tolerance& tolerance,
                         uint64_t probe_seed = 0);

// Largest |x[i] - expected[i]| in units of scale; infinity when the lengths differ or a value is not finite.
double largest_error(std::span<const float> x, std::span<const double> expected, double scale);

}  // namespace templar::vectors
