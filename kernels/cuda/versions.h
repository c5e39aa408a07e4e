// Versions of operations that are not the table's own.
#pragma once

#include "kernels/device.h"

#include <vector>

namespace templar::cuda {

// As Device::versions().
std::vector<OpsVersion> ops_versions();

}  // namespace templar::cuda
