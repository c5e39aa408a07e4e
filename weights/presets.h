// Model shapes by name.
#pragma once

#include "engine/model/config.h"

#include <string_view>
#include <vector>

namespace templar {

struct Preset {
    std::string_view name;
    std::string_view purpose;  // one line for --help
    LlamaConfig model;
    int64_t seq;  // tokens per training sequence
};

const std::vector<Preset>& presets();

// Throws Error(usage), listing the names there are.
const Preset& find_preset(std::string_view name);

}  // namespace templar
