// Every case of every operation on the device under test (test_device.h), beside the CPU's table.
#include "kernels/cases/op_case.h"
#include "kernels/cases/operations.h"
#include "kernels/cases/with_table.h"
#include "tests/simt/op_faults.h"
#include "tests/simt/test_device.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <set>

using namespace templar;
using namespace templar::test;

namespace {

// Small cases; of one operation alone where TEMPLAR_TEST_OP names it, for work on a kernel.
std::vector<OpCase> small_cases(DType compute) {
    std::vector<OpCase> cases = op_cases(compute, CaseSizes::small);
    if (const char* only = std::getenv("TEMPLAR_TEST_OP"))
        std::erase_if(cases, [&](const OpCase& what) { return what.op != only; });
    REQUIRE_MESSAGE(!cases.empty(), "TEMPLAR_TEST_OP names no operation");
    return cases;
}

std::string title(const OpCase& what, DType compute) {
    return what.op + " " + what.shape + " " + name_of(compute);
}

const Ops* inner_ops = nullptr;  // what the tables below call

// A slot that counts its calls.
template <auto slot>
struct Counted;
template <class Result, class... Arguments, Result (*Ops::*slot)(Arguments...)>
struct Counted<slot> {
    static inline int calls = 0;
    static Result call(Arguments... arguments) {
        ++calls;
        return (inner_ops->*slot)(arguments...);
    }
};

}  // namespace

TEST_CASE("no operation is without a case, and no case without its operation") {
    const std::unique_ptr<Device> first = test_device(DType::f32);  // one table serves both types
    inner_ops = &first->ops();
    Ops table = *inner_ops;
    std::map<std::string, int*> calls;
#define COUNT(slot)                             \
    CHECK_MESSAGE(!!inner_ops->slot, #slot);    \
    calls[#slot] = &Counted<&Ops::slot>::calls; \
    table.slot = Counted<&Ops::slot>::call;
    TEMPLAR_OPERATIONS(COUNT)
#undef COUNT
    for (DType compute : {DType::f32, DType::bf16}) {
        const std::unique_ptr<Device> device = test_device(compute);
        if (device->compute_type() != compute) continue;  // the CPU's table, when the tests are pointed at it
        CAPTURE(std::string(name_of(compute)));
        WithTable counting(*device, table);
        std::set<std::string> seen;
        for (const OpCase& what : op_cases(compute, CaseSizes::small)) {
            CAPTURE(what.op);
            REQUIRE(calls.contains(what.op));
            if (!seen.insert(what.op).second) continue;
            *calls[what.op] = 0;
            PreparedCase(counting, what).run();
            CHECK_MESSAGE(*calls[what.op] > 0, "the case ", what.shape, " does not call it");
        }
        for (const auto& [op, count] : calls) CHECK_MESSAGE(seen.contains(op), op, " has no case");
    }
}

TEST_CASE("every operation agrees with the CPU's, whatever order its threads run in") {
    const std::unique_ptr<Device> cpu = cpu_device(2);
    for (DType compute : {DType::f32, DType::bf16}) {
        const std::unique_ptr<Device> device = test_device(compute);
        if (device->compute_type() != compute) continue;
        for (const OpCase& what : small_cases(compute)) {
            INFO(title(what, compute));
            CHECK(faults(*device, *cpu, what) == "");
        }
    }
}

TEST_CASE("every gradient is the slope of its forward") {
    const std::unique_ptr<Device> cpu = cpu_device(2), device = test_device(DType::f32);
    for (const OpCase& what : small_cases(DType::f32)) {
        if (what.gradient.empty()) continue;
        INFO(title(what, DType::f32));
        CHECK(gradient_faults(*device, *cpu, what) == "");
    }
}

// ---- the suite itself: faults planted in rmsnorm_forward must be found
// ------------------------------------------------------------

namespace {

OpCase rmsnorm_case() {
    constexpr int64_t N = 5, C = 33;
    const auto values = [](int64_t count, uint64_t seed) { return [=] { return normal_values(count, seed); }; };
    return {.op = "rmsnorm_forward",
            .shape = "5x33",
            .tensors = {{"y", DType::f32, Role::output, {N, C}},
                        {"rstd", DType::f32, Role::output, {N}},
                        {"x", DType::f32, Role::input, {N, C}, values(N * C, 1)},
                        {"weight", DType::f32, Role::input, {C}, values(C, 2)}},
            .run = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
                ops.rmsnorm_forward(stream, t["y"], t["rstd"], t["x"], t["weight"], 1e-6f);
            }};
}

// What the suite says of the device with another rmsnorm_forward.
std::string found_with(decltype(Ops::rmsnorm_forward) planted) {
    const std::unique_ptr<Device> cpu = cpu_device(2), device = test_device(DType::f32);
    inner_ops = &device->ops();
    Ops table = *inner_ops;
    table.rmsnorm_forward = planted;
    WithTable faulty(*device, table);
    return faults(faulty, *cpu, rmsnorm_case());
}

bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a right operation passes") {
    CHECK(found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
              inner_ops->rmsnorm_forward(stream, y, rstd, x, weight, eps);
          }) == "");
}

TEST_CASE("a small error is found") {
    const std::string found = found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
        inner_ops->rmsnorm_forward(stream, y, rstd, x, weight, eps + 1e-3f);
    });
    CHECK(contains(found, "y: error"));
    CHECK(contains(found, "rstd: error"));
}

TEST_CASE("a row that is not written is found") {
    const std::string found = found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
        x.shape[0] = y.shape[0] = rstd.shape[0] = x.shape[0] - 1;
        inner_ops->rmsnorm_forward(stream, y, rstd, x, weight, eps);
    });
    CHECK(contains(found, "y: error"));
    CHECK(contains(found, "nan"));
    CHECK(contains(found, "rstd: error"));
}

TEST_CASE("a written input is found") {
    const std::string found = found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
        inner_ops->rmsnorm_forward(stream, y, rstd, x, weight, eps);
        inner_ops->rmsnorm_forward(stream, x, rstd, y, weight, eps);
    });
    CHECK(contains(found, "input x was written"));
}

#if !defined(__SANITIZE_ADDRESS__)  // which would end the program here
TEST_CASE("an element written past the end is found") {
    const std::string found = found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
        inner_ops->rmsnorm_forward(stream, y.view(1, {y.shape[0], y.shape[1]}), rstd, x, weight, eps);
    });
    CHECK(contains(found, "was written"));
    CHECK(contains(found, "y: error"));
}
#endif

TEST_CASE("a result that depends on the order of the threads is found") {
    const std::string found = found_with([](Stream& stream, Tensor y, Tensor rstd, Tensor x, Tensor weight, float eps) {
        static int run = 0;
        inner_ops->rmsnorm_forward(stream, y, rstd, x, weight, eps * (1 + 0.5f * static_cast<float>(run++ % 2)));
    });
    CHECK(contains(found, "other bits in schedule 1"));
}

TEST_CASE("a gradient that is not the slope of its forward is found") {
    const std::unique_ptr<Device> cpu = cpu_device(2), device = test_device(DType::f32);
    for (OpCase what : op_cases(DType::f32, CaseSizes::small)) {
        if (what.op != "rmsnorm_backward" || what.gradient.empty()) continue;
        what.gradient[0].forward = [](const Ops& ops, Stream& stream, const CaseTensors& t) {
            ops.rmsnorm_forward(stream, t["y"], t["rstd_again"], t["x"], t["weight"], 0.1f);  // another eps
        };
        const std::string found = gradient_faults(*device, *cpu, what);
        CHECK(contains(found, "dx: "));
        CHECK(contains(found, "dweight: "));
    }
}
