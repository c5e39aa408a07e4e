// Other versions of operations: earlier ones that taught something, later ones that wait for a GPU's verdict. The bench times
// each beside the table's own, the tests hold each against the CPU.
#pragma once

#include "kernels/ops.h"

#include <string>
#include <vector>

namespace templar::cuda {

struct OpsVersion {
    std::string op;    // the slot in ops.h
    std::string name;  // e.g. "v0, logits in memory"
    Ops ops;           // the CUDA table with this version in the slot
};

// By operation, oldest first.
std::vector<OpsVersion> ops_versions();

}  // namespace templar::cuda
