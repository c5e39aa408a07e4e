// In place of OpenMP's header where the kernels run in one thread: a fuzzer watches one input at a time.
#pragma once

inline int omp_get_thread_num() {
    return 0;
}
inline int omp_get_num_threads() {
    return 1;
}
