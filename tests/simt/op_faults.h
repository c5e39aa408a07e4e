// What is wrong with an operation on a device, found by one of its cases.
#pragma once

#include "kernels/cases/op_case.h"

namespace templar::test {

// Runs the case on `device` in every schedule, and once more with tensors that are aligned to no more than their
// elements. Says what differs from the CPU's result by more than the case allows, from itself between schedules, and
// what was written that no run may write. Empty when all is well.
std::string faults(Device& device, Device& cpu, const OpCase& what);

// Compares what the case leaves in its gradients on `device` (fp32) with central differences of its forward on `cpu`,
// at some elements. Empty when all is well.
std::string gradient_faults(Device& device, Device& cpu, const OpCase& what);

}  // namespace templar::test
