// The device that tests/simt is about.
#pragma once

#include "kernels/device.h"

namespace templar::test {

// TEMPLAR_TEST_DEVICE in the environment: unset or "simt", the CUDA sources on the CPU emulator; "cuda", a real GPU;
// "cpu", the portable CPU table (fp32 only), for trying a case before its kernel exists.
std::unique_ptr<Device> test_device(DType compute);

// The orders in which the emulator can run threads, and how often a real device repeats: results must be the same bits.
constexpr int schedules = 3;
void set_schedule(int index);

}  // namespace templar::test
