// The speed that a GPU's maker states, for model FLOPs utilisation.
#pragma once

#include <optional>
#include <string_view>

namespace templar {

// Dense bf16 operations per second on the tensor cores, at the clock of the data sheet. `device`: the name that CUDA
// gives, or Device::description(), which starts with it and a comma. Nothing for a device that is not in the table.
std::optional<double> dense_bf16_peak(std::string_view device);

}  // namespace templar
