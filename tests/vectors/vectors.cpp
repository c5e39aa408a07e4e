#include "tests/vectors/vectors.h"

#include "base/error.h"
#include "tests/cpu.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace templar::vectors {

std::filesystem::path folder() {
    const char* chosen = std::getenv("VECTORS_DIR");
    return chosen && *chosen ? std::filesystem::path(chosen)
                             : std::filesystem::path(TEMPLAR_SOURCE_DIR) / "tests/vectors";
}

void for_each_file(std::string_view prefix, const std::function<void(const nlohmann::json&)>& check) {
    std::vector<std::filesystem::path> files;
    std::error_code missing;
    for (const auto& entry : std::filesystem::directory_iterator(folder(), missing))
        if (entry.path().extension() == ".json" && entry.path().filename().string().starts_with(prefix))
            files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) fmt::print("skipped: no {}*.json in {}\n", prefix, folder().string());
    for (const auto& path : files) {
        INFO("vectors: " << path.string());
        std::ifstream stream(path);
        const nlohmann::json file = nlohmann::json::parse(stream, nullptr, false);
        REQUIRE_MESSAGE(!file.is_discarded(), "not JSON");
        check(file);
    }
}

std::vector<Device*> runnable_devices() {
    std::vector<Device*> devices;
    for (const char* isa : {"portable", "avx2", "avx512"}) {
        try {
            devices.push_back(&test::cpu(2, isa));
        } catch (const Error& error) {
            fmt::print("skipped: {}\n", error.what());
        }
    }
    return devices;
}

}  // namespace templar::vectors
