#include "base/error.h"
#include "kernels/device.h"

namespace templar {

bool cuda_found() {
    return false;
}

std::unique_ptr<Device> cuda_device(int, DType) {
    fail(ExitCode::device, "this build has no CUDA");
}

}  // namespace templar
