// Versions of operations that are not the table's own (Device::versions), by the cases of their operation.
#include "kernels/cases/with_table.h"
#include "tests/simt/op_faults.h"
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::test;

TEST_CASE("every version of an operation agrees with the CPU's") {
    const std::unique_ptr<Device> cpu = cpu_device(2);
    for (DType compute : {DType::f32, DType::bf16}) {
        const std::unique_ptr<Device> device = test_device(compute);
        if (device->compute_type() != compute) continue;  // the CPU has fp32 only
        for (const OpsVersion& version : device->versions()) {
            WithTable with_version(*device, version.ops);
            for (OpCase what : op_cases(compute, CaseSizes::small)) {
                if (what.op != version.op) continue;
                const bool limited = compute == DType::bf16 && version.limit >= 0;
                for (CaseTensor& tensor : what.tensors)
                    if (limited && tensor.role != Role::input) tensor.limit = version.limit;
                INFO(version.op, " ", version.name, " ", what.shape, " ", name_of(compute));
                CHECK(faults(with_version, *cpu, what) == "");
            }
        }
    }
}
