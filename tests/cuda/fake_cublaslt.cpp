// cuBLASLt's part: column-major products by the definition, proposals and their times as the test says.
#include "kernels/bf16.h"
#include "tests/cuda/fake_cuda.h"

#include <cublasLt.h>

#include <algorithm>
#include <cstring>

using templar::test::fake;

namespace {

struct Description {
    cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
};
struct Layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct Preference {
    uint64_t workspace = 0;
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK;
};

template <class Mine, class Theirs>
const Mine& mine(Theirs handle) {
    return *reinterpret_cast<const Mine*>(handle);
}
template <class Mine, class Theirs>
cublasStatus_t made(Theirs* handle, Mine value) {
    *handle = reinterpret_cast<Theirs>(new Mine(value));
    ++fake.handles;
    return CUBLAS_STATUS_SUCCESS;
}
template <class Mine, class Theirs>
cublasStatus_t gone(Theirs handle) {
    delete reinterpret_cast<const Mine*>(handle);
    --fake.handles;
    return CUBLAS_STATUS_SUCCESS;
}

float load(const void* data, const Layout& layout, uint64_t row, uint64_t col) {
    const uint64_t at = col * static_cast<uint64_t>(layout.ld) + row;
    return layout.type == CUDA_R_32F ? static_cast<const float*>(data)[at]
                                     : templar::to_float(static_cast<const templar::bf16*>(data)[at]);
}
void store(void* data, const Layout& layout, uint64_t row, uint64_t col, float value) {
    const uint64_t at = col * static_cast<uint64_t>(layout.ld) + row;
    if (layout.type == CUDA_R_32F)
        static_cast<float*>(data)[at] = value;
    else
        static_cast<templar::bf16*>(data)[at] = templar::to_bf16(value);
}

constexpr uint64_t mark = 0x600d;  // in every algorithm that this library made

}  // namespace

extern "C" {

const char* cublasLtGetStatusName(cublasStatus_t) {
    return "CUBLAS_STATUS";
}
const char* cublasLtGetStatusString(cublasStatus_t) {
    return "failed";
}
size_t cublasLtGetVersion() {
    return fake.version;
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    return made(handle, 'h');
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    return gone<char>(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;  // nothing of less precision
    return made(handle, Description{});
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
    return gone<Description>(handle);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t size) {
    auto& description = const_cast<Description&>(mine<Description>(handle));
    if (size != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(
        attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &description.transpose_a : &description.transpose_b, value,
        size);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
    return made(handle, Layout{type, rows, cols, ld});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
    return gone<Layout>(handle);
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* handle) {
    return made(handle, Preference{});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
    return gone<Preference>(handle);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t size) {
    auto& preference = const_cast<Preference&>(mine<Preference>(handle));
    const bool workspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    if (size != (workspace ? sizeof(uint64_t) : sizeof(uint32_t))) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace) std::memcpy(&preference.workspace, value, size);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        std::memcpy(&preference.reduction, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
    ++fake.choices;
    // Sums that are not the same on every run must not be asked for.
    if (mine<Preference>(preference).reduction & ~uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE})
        return CUBLAS_STATUS_INVALID_VALUE;
    *count = std::min(wanted, static_cast<int>(fake.milliseconds.size()));
    for (int i = 0; i < *count; ++i) {
        results[i] = {};
        results[i].algo.data[0] = static_cast<uint64_t>(i);
        results[i].algo.data[7] = mark;
        results[i].workspaceSize = mine<Preference>(preference).workspace;
        results[i].state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
    result->workspaceSize = 0;
    return algorithm->data[7] == mark && !fake.fails.contains(algorithm->data[0])
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
    if (fake.broken) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (!workspace || workspace_bytes == 0 || !stream || algorithm->data[7] != mark)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (fake.fails.contains(algorithm->data[0])) return CUBLAS_STATUS_NOT_SUPPORTED;
    fake.ran.push_back(algorithm->data[0]);
    fake.clock += static_cast<double>(fake.milliseconds[algorithm->data[0]]);
    const auto& [transpose_a, transpose_b] = mine<Description>(description);
    const Layout &left = mine<Layout>(a_layout), &right = mine<Layout>(b_layout),
                 &out = mine<Layout>(d_layout);
    const uint64_t k = transpose_a == CUBLAS_OP_N ? left.cols : left.rows;
    const float add = *static_cast<const float*>(beta);
    for (uint64_t col = 0; col < out.cols; ++col)
        for (uint64_t row = 0; row < out.rows; ++row) {
            float sum = 0;
            for (uint64_t i = 0; i < k; ++i)
                sum += (transpose_a == CUBLAS_OP_N ? load(a, left, row, i) : load(a, left, i, row)) *
                       (transpose_b == CUBLAS_OP_N ? load(b, right, i, col) : load(b, right, col, i));
            sum *= *static_cast<const float*>(alpha);
            if (add != 0) sum += add * load(c, mine<Layout>(c_layout), row, col);
            store(d, out, row, col, sum);
        }
    return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
