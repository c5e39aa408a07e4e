#include "tests/vectors/generator.h"
#include "tests/vectors/vectors.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace templar::vectors;
using nlohmann::json;

TEST_CASE("the vectors' generator gives the first values that the files list") {
    for (const char* prefix : {"llama", "demo"})
        for_each_file(prefix, [](const json& file) {
            REQUIRE(!file.at("generator_check").empty());
            for (const json& check : file.at("generator_check")) {
                const json& seed = check.at("seed");
                for (size_t i = 0; i < check.at("first").size(); ++i)
                    CHECK(stream_s16(seed.get<uint64_t>(), i) == check.at("first").at(i).get<int>());
            }
        });
}

TEST_CASE("a sketch notices a wrong element, a permutation and a wrong length") {
    const json spec = {{"shape", {300}}, {"terms", {{1, 7}}}, {"log2", -15}};
    std::vector<float> x = generate(spec);
    double squares = 0, sum = 0, probe = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        squares += double(x[i]) * x[i];
        sum += x[i];
        probe += x[i] * stream_s16(5, i) / 32768.0;
    }
    const json sketch = {
        {"n", 300},     {"l2", std::sqrt(squares)}, {"sum", sum}, {"amax", 1.0}, {"probe", probe},
        {"at", {3, 9}}, {"at_values", {x[3], x[9]}}};
    const Tolerance tolerance{.value = 1e-6, .norm = 1e-6};
    CHECK(sketch_fault(x, sketch, tolerance, 5) == "");
    std::swap(x[10], x[20]);
    CHECK(sketch_fault(x, sketch, tolerance, 5).starts_with("probe"));
    std::swap(x[10], x[20]);
    x[9] += 1e-4f;
    CHECK(sketch_fault(x, sketch, tolerance, 5).starts_with("element 9"));
    x.pop_back();
    CHECK(sketch_fault(x, sketch, tolerance, 5) == "expected 300 elements, found 299");
}
