#include "tests/simt/test_device.h"

#include "base/error.h"
#include "tests/simt/simt.h"
#include "tests/simt/simt_device.h"

#include <cstdlib>
#include <string>

namespace templar::test {

namespace {

std::string wanted_device() {
    const char* wanted = std::getenv("TEMPLAR_TEST_DEVICE");
    return wanted ? wanted : "simt";
}

}  // namespace

std::unique_ptr<Device> test_device(DType compute) {
    const std::string wanted = wanted_device();
    if (wanted == "simt") return simt_device(compute);
    if (wanted == "cuda") return cuda_device(0, compute);
    if (wanted == "cpu") return cpu_device(2, "portable");
    fail(ExitCode::usage, "TEMPLAR_TEST_DEVICE={}: expected simt, cuda or cpu", wanted);
}

void set_schedule(int index) {
    constexpr simt::Schedule all[schedules] = {simt::Schedule::fifo, simt::Schedule::reversed, simt::Schedule::random};
    simt::schedule = all[index];
}

}  // namespace templar::test
