// Where the golden vectors are: the folder $VECTORS_DIR, by default the copy beside this file.
#pragma once

#include "kernels/device.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

namespace templar::vectors {

std::filesystem::path folder();

// Calls `check` with every <prefix>*.json of the folder, in order of name, each in a doctest INFO with its
// path. Prints "skipped: why" when there is none. A file that cannot be parsed is a failure.
void for_each_file(std::string_view prefix, const std::function<void(const nlohmann::json&)>& check);

// The CPU with each table of operations that this processor can run, two threads.
std::vector<Device*> runnable_devices();

}  // namespace templar::vectors
