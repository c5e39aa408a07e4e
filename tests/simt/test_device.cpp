#include "tests/simt/test_device.h"

#include "base/error.h"

#include <cstdlib>
#include <string>

namespace templar::test {

namespace {

std::string wanted_device() {
    const char* wanted = std::getenv("TEMPLAR_TEST_DEVICE");
    return wanted ? wanted : "cpu";
}

}  // namespace

std::unique_ptr<Device> test_device(DType compute) {
    const std::string wanted = wanted_device();
    if (wanted == "cuda") return cuda_device(0, compute);
    if (wanted == "cpu") return cpu_device(2, "portable");
    fail(ExitCode::usage, "TEMPLAR_TEST_DEVICE={}: expected simt, cuda or cpu", wanted);
}

void set_schedule(int) {}

}  // namespace templar::test
