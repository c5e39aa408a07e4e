// Matrix products by cuBLASLt: for each shape the fastest algorithm, found once by timing.
#pragma once

#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/stream.h"

#include <cublasLt.h>

#include <map>
#include <memory>
#include <string>

namespace templar::cuda {

// Of one stream: streams that shared a workspace would not give the same bits on every run.
class MatmulPlans {
  public:
    // file: where choices are kept from run to run; empty: nowhere. multiprocessors and gpu name the machine
    // that they hold for. Throws Error(device), Error(input) for a file that holds something else.
    MatmulPlans(const std::string& file, const std::string& gpu, int multiprocessors);
    ~MatmulPlans();
    MatmulPlans(const MatmulPlans&) = delete;
    MatmulPlans& operator=(const MatmulPlans&) = delete;

    // Enqueues c = op(a)·op(b) (+ c). The first use of a shape times its candidates and, when it accumulates,
    // needs memory of c's size for that while.
    void run(cudaStream_t stream, const MatmulShape& shape, void* c, const void* a, const void* b);

  private:
    struct Plan;
    Plan& plan(cudaStream_t stream, const MatmulShape& shape, void* c, const void* a, const void* b);
    bool restore(const MatmulShape& shape, Plan& plan);
    // Whether the choice was timed: without memory for that it is the library's first.
    bool choose(cudaStream_t stream, const MatmulShape& shape, Plan& plan, void* c, const void* a,
                const void* b);
    cublasStatus_t enqueue(cudaStream_t stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                           float beta, void* c, const void* a, const void* b);

    std::string file_, machine_;
    std::map<MatmulShape, MatmulAlgorithm> kept_;
    std::map<MatmulShape, std::unique_ptr<Plan>> plans_;
    cublasLtHandle_t handle_ = nullptr;
    void* workspace_ = nullptr;
};

}  // namespace templar::cuda
