// Chooses the CPU table for this processor at run time.
#include "base/error.h"
#include "kernels/cpu/state_tree.h"
#include "kernels/ops.h"

#include <sched.h>

#include <algorithm>
#include <string_view>

namespace templar {

namespace portable {
Ops make_ops();
}
namespace avx2 {
Ops make_ops();
}
namespace avx512 {
Ops make_ops();
}

namespace {

Ops named(Ops ops, const char* name) {
    ops.name = name;
    ops.state_tree = cpu_state_tree;
    return ops;
}

#ifdef TEMPLAR_ISA_avx2
// The features of x86-64-v3 and -v4 that the compiler may use.
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

}  // namespace

const Ops& cpu_ops(const char* isa) {
    const std::string_view wanted = isa;
    static const Ops portable_table = named(portable::make_ops(), "cpu/portable");
#ifdef TEMPLAR_ISA_avx2
    static const Ops avx2_table = named(avx2::make_ops(), "cpu/avx2");
    static const Ops avx512_table = named(avx512::make_ops(), "cpu/avx512");
    if ((wanted == "auto" || wanted == "avx512") && has_avx512()) return avx512_table;
    if ((wanted == "auto" || wanted == "avx2") && has_avx2()) return avx2_table;
#endif
    if (wanted == "auto" || wanted == "portable") return portable_table;
    fail(ExitCode::usage, "instruction set '{}': expected auto, avx512, avx2 or portable, and a processor that has it",
         wanted);
}

int usable_threads(int requested) {
    if (requested > 0) return requested;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return std::max(1, CPU_COUNT(&set));
}

}  // namespace templar
