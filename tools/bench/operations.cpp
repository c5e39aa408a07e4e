// Every case of every operation (kernels/cases), timed.
#include "base/error.h"
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
        for (size_t i = 0; i < tensor.shape.size(); ++i) text += fmt::format("{}{}", i == 0 ? " " : "x", tensor.shape[i]);
    }
    return text;
}

Figure run_operation(const Context& context, const OpCase& what) {
    PreparedCase prepared(context.device, what);
    const bool memory_bound = what.bound == Bound::memory;
    return {.time = context.stopwatch.measure([&] { prepared.enqueue(); }, memory_bound),
            .bound = what.bound,
            .work = memory_bound ? what.bytes : what.flops,
            .items = what.items,
            .item = what.item};
}

}  // namespace

std::vector<Case> operation_cases(DType compute, CaseSizes sizes) {
    std::vector<Case> cases;
    for (const OpCase& what : op_cases(compute, sizes))
        cases.push_back({.name = what.op + "/" + what.shape,
                         .measures = tensors_of(what),
                         .bound = what.bound,
                         .bytes = memory_of(what),
                         .run = [what](const Context& context) { return run_operation(context, what); }});
    return cases;
}

}  // namespace templar::bench
