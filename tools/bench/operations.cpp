// Every case of every operation (kernels/cases), and of its other versions, timed.
#include "kernels/cases/with_table.h"
#include "tools/bench/bench.h"

#include <fmt/core.h>

namespace templar::bench {

namespace {

int64_t memory_of(const OpCase& what) {
    int64_t bytes = 0;
    for (const CaseTensor& tensor : what.tensors) {
        int64_t count = bytes_of(tensor.dtype);
        for (int64_t extent : tensor.shape) count *= extent;
        bytes += count;
    }
    return bytes;
}

std::string tensors_of(const OpCase& what) {
    std::string text;
    for (const CaseTensor& tensor : what.tensors) {
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", tensor.name, name_of(tensor.dtype));
        for (size_t i = 0; i < tensor.shape.size(); ++i)
            text += fmt::format("{}{}", i == 0 ? " " : "x", tensor.shape[i]);
    }
    return text;
}

Figure run_operation(const Context& context, Device& device, const OpCase& what) {
    PreparedCase prepared(device, what);
    const bool memory_bound = what.bound == Bound::memory;
    return {.time = context.stopwatch.measure([&] { prepared.enqueue(); }, memory_bound),
            .bound = what.bound,
            .work = memory_bound ? what.bytes : what.flops,
            .items = what.items,
            .item = what.item};
}

Case operation_case(const OpCase& what) {
    return {what.op + "/" + what.shape, tensors_of(what), what.bound, memory_of(what),
            [what](const Context& context) { return run_operation(context, context.device, what); }};
}

// op/version/shape, the version by the first word of its name.
Case version_case(const OpCase& what, const OpsVersion& version) {
    const std::string number = version.name.substr(0, version.name.find_first_of(", "));
    return {what.op + "/" + number + "/" + what.shape, version.name, what.bound, memory_of(what),
            [what, ops = version.ops](const Context& context) {
                WithTable with_version(context.device, ops);
                return run_operation(context, with_version, what);
            }};
}

}  // namespace

std::vector<Case> operation_cases(const Device& device, CaseSizes sizes) {
    const std::vector<OpsVersion> versions = device.versions();
    std::vector<Case> cases;
    for (const OpCase& what : op_cases(device.compute_type(), sizes)) {
        for (const OpsVersion& version : versions)
            if (version.op == what.op) cases.push_back(version_case(what, version));
        cases.push_back(operation_case(what));
    }
    return cases;
}

}  // namespace templar::bench
