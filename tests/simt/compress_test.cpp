// What the cases of demo_compress cannot ask: little scratch memory.
#include "kernels/cuda/demo_compress.h"
#include "kernels/cases/op_case.h"
#include "kernels/cases/with_table.h"
#include "kernels/cuda/ops.h"
#include "tests/simt/op_faults.h"
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;

TEST_CASE("demo_compress does the same when the values it keeps do not fit the scratch memory") {
    const std::unique_ptr<Device> cpu = cpu_device(2), device = test_device(DType::f32);
    if (&device->ops() != &cuda::ops()) return;  // a device from elsewhere than this program
    Ops table = device->ops();
    table.demo_compress = [](Stream& stream, SparseOut out, Tensor momentum, Tensor grad, ChunkGrid grid,
                             DemoStep step) { cuda::demo_compress(stream, out, momentum, grad, grid, step, 16 << 10); };
    WithTable limited(*device, table);
    for (const OpCase& what : compress_cases(DType::f32, CaseSizes::small)) {
        if (what.op != "demo_compress") continue;
        INFO(what.shape);
        CHECK(faults(limited, *cpu, what) == "");
    }
}
