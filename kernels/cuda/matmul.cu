// c (m, n) = op(a)·op(b) (+ c): every matrix product of the model except those inside attention and
// loss_eval.
//
// bf16 or fp32 operands, sums in fp32 (true fp32: no TF32). Bound: 2·m·n·k floating-point operations; on one
// H200 cuBLASLt itself reaches some 80 % of the tensor cores' nominal rate, and these products are about 80 %
// of a training step. So the choice of the algorithm is what matters here: the library's heuristics propose,
// timing decides, and the choice is kept for the next run.
//
// The same bits on every run: a fixed algorithm, a workspace of its own for each stream, and of the ways to
// split the sum over k only the one that adds partial sums in a stated order.
#include "kernels/cuda/matmul.h"

#include "base/file.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <vector>

namespace templar::cuda {

namespace {

constexpr size_t workspace_bytes = size_t{32} << 20;  // what NVIDIA recommends for Hopper
constexpr int candidates = 32;                        // asked for; the library may know fewer
constexpr int rounds = 6;                             // of timing all candidates; the first is a warm-up
constexpr int64_t longest_file = 16 << 20;

void check(cublasStatus_t status, const char* doing) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    cuda::check(cudaPeekAtLastError(),
                doing);  // names a kernel that failed earlier, which cuBLASLt reports as its own
    fail(ExitCode::device, "the GPU failed in {}: {} ({})", doing, cublasLtGetStatusString(status),
         cublasLtGetStatusName(status));
}

cudaDataType_t data_type(DType type) {
    return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Calls Destroy on a cuBLASLt handle when it leaves scope.
template <class Handle, cublasStatus_t (*Destroy)(Handle)>
struct Owned {
    Handle handle = nullptr;
    Owned() = default;
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() {
        if (handle) Destroy(handle);
    }
};
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class Value>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, Value value) {
    check(cublasLtMatmulDescSetAttribute(description.handle, attribute, &value, sizeof value), "matmul");
}
template <class Value>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference.handle, attribute, &value, sizeof value), "matmul");
}

void create(Layout& layout, DType type, ColumnMajor matrix) {
    check(cublasLtMatrixLayoutCreate(&layout.handle, data_type(type), static_cast<uint64_t>(matrix.rows),
                                     static_cast<uint64_t>(matrix.cols), matrix.rows),
          "matmul");
}

// Moments in a stream's work.
class Marks {
  public:
    // By way of another constructor, so that the destructor runs when an event cannot be made.
    explicit Marks(int count) : Marks() {
        for (events_.resize(static_cast<size_t>(count)); cudaEvent_t & event : events_)
            cuda::check(cudaEventCreate(&event), "matmul");
    }
    Marks(const Marks&) = delete;
    Marks& operator=(const Marks&) = delete;
    ~Marks() {
        for (cudaEvent_t event : events_)
            if (event) cudaEventDestroy(event);
    }
    void record(int index, cudaStream_t stream) {
        cuda::check(cudaEventRecord(events_[index], stream), "matmul");
    }
    void wait(int index) { cuda::check(cudaEventSynchronize(events_[index]), "matmul"); }
    float milliseconds(int from, int to) const {
        float result = 0;
        cuda::check(cudaEventElapsedTime(&result, events_[from], events_[to]), "matmul");
        return result;
    }

  private:
    Marks() = default;
    std::vector<cudaEvent_t> events_;
};

// Device memory for the time of a choice; null where there is none.
struct Temporary {
    void* memory = nullptr;
    explicit Temporary(size_t bytes) {
        if (cudaMalloc(&memory, bytes) == cudaErrorMemoryAllocation) {
            memory = nullptr;
            cudaGetLastError();  // dealt with: the next check must not find it
        }
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    ~Temporary() { cudaFree(memory); }
};

float median(std::vector<float> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

// One write() at the end of the file, so that lines of two processes do not mix. A line that a crash or a full disk cut short is
// removed first: the new one would be glued to it.
void append_line(const std::string& file, const std::string& line) {
    const std::string before = std::filesystem::exists(file) ? read_text_file(file, longest_file) : "";
    const size_t whole = before.rfind('\n') + 1;  // 0 where there is none
    const Descriptor out(open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
    const bool mended = out && (whole == before.size() || ftruncate(out.get(), static_cast<off_t>(whole)) == 0);
    if (!mended || write(out.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        fail(ExitCode::storage, "{}: cannot add a line; choose another file for the plans of matrix products",
             file);
}

}  // namespace

struct MatmulPlans::Plan {
    Description description;
    Layout left, right, result;
    cublasLtMatmulAlgo_t algorithm{};

    explicit Plan(const MatmulShape& shape) {
        check(cublasLtMatmulDescCreate(&description.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "matmul");
        set(description, CUBLASLT_MATMUL_DESC_TRANSA,
            left_operand(shape).transpose ? CUBLAS_OP_T : CUBLAS_OP_N);
        set(description, CUBLASLT_MATMUL_DESC_TRANSB,
            right_operand(shape).transpose ? CUBLAS_OP_T : CUBLAS_OP_N);
        create(left, shape.in, left_operand(shape));
        create(right, shape.in, right_operand(shape));
        create(result, shape.out, cuda::result(shape));
    }
};

MatmulPlans::MatmulPlans(const std::string& file, const std::string& gpu, int multiprocessors)
    : file_(file),
      machine_(
          fmt::format("cuBLASLt {}, {}, {} multiprocessors", cublasLtGetVersion(), gpu, multiprocessors)) {
    static_assert(sizeof(MatmulAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
    if (!file.empty() && std::filesystem::exists(file))
        kept_ = read_plans(read_text_file(file, longest_file), machine_, file);
    check(cublasLtCreate(&handle_), "starting cuBLASLt");
    if (const cudaError_t status = cudaMalloc(&workspace_, workspace_bytes)) {
        cublasLtDestroy(handle_);
        cuda::check(status, "allocating memory for matrix products");
    }
}

MatmulPlans::~MatmulPlans() {
    plans_.clear();
    cudaFree(workspace_);
    cublasLtDestroy(handle_);
}

cublasStatus_t MatmulPlans::enqueue(cudaStream_t stream, const Plan& plan,
                                    const cublasLtMatmulAlgo_t& algorithm, float beta, void* c, const void* a,
                                    const void* b) {
    const float alpha = 1.0f;
    return cublasLtMatmul(handle_, plan.description.handle, &alpha, b, plan.left.handle, a, plan.right.handle,
                          &beta, c, plan.result.handle, c, plan.result.handle, &algorithm, workspace_,
                          workspace_bytes, stream);
}

bool MatmulPlans::restore(const MatmulShape& shape, Plan& plan) {
    const auto kept = kept_.find(shape);
    if (kept == kept_.end()) return false;
    std::copy(kept->second.begin(), kept->second.end(), plan.algorithm.data);
    cublasLtMatmulHeuristicResult_t checked{};
    return cublasLtMatmulAlgoCheck(handle_, plan.description.handle, plan.left.handle, plan.right.handle,
                                   plan.result.handle, plan.result.handle, &plan.algorithm,
                                   &checked) == CUBLAS_STATUS_SUCCESS &&
           checked.workspaceSize <= workspace_bytes;
}

// Timed on the operands themselves: real activations and gradients, for constant ones would flatter (they
// draw less power). The result goes to c, which the product that was asked for overwrites afterwards, or
// beside it when c is to be added to.
bool MatmulPlans::choose(cudaStream_t stream, const MatmulShape& shape, Plan& plan, void* c, const void* a,
                         const void* b) {
    Preference preference;
    check(cublasLtMatmulPreferenceCreate(&preference.handle), "matmul");
    const auto alignment = static_cast<uint32_t>(shape.alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{workspace_bytes});
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);
    std::array<cublasLtMatmulHeuristicResult_t, candidates> found{};
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle_, plan.description.handle, plan.left.handle,
                                         plan.right.handle, plan.result.handle, plan.result.handle,
                                         preference.handle, candidates, found.data(), &count),
          "choosing an algorithm for a matrix product");
    if (count == 0 || found[0].state != CUBLAS_STATUS_SUCCESS)
        fail(ExitCode::device, "cuBLASLt knows no algorithm for a product of {}x{} by {}x{}", shape.m,
             shape.k, shape.k, shape.n);
    plan.algorithm = found[0].algo;

    const auto result_bytes = static_cast<size_t>(shape.m * shape.n * bytes_of(shape.out));
    const Temporary beside(shape.accumulate ? result_bytes : 0);
    if (shape.accumulate && !beside.memory) return false;
    if (shape.accumulate) {
        c = beside.memory;
        cuda::check(cudaMemsetAsync(c, 0, result_bytes, stream), "matmul");
    }
    Marks marks(count + 1);
    std::array<std::vector<float>, candidates> times;
    for (int round = 0; round < rounds; ++round) {
        marks.record(0, stream);
        for (int i = 0; i < count; ++i) {
            if (found[i].state == CUBLAS_STATUS_SUCCESS)
                found[i].state =
                    enqueue(stream, plan, found[i].algo, shape.accumulate ? 1.0f : 0.0f, c, a, b);
            marks.record(i + 1, stream);
        }
        marks.wait(count);
        for (int i = 0; i < count && round > 0; ++i) times[i].push_back(marks.milliseconds(i, i + 1));
    }
    // The heuristics' order is by their own estimate: a later candidate must be faster by more than the
    // timing's noise.
    float best = std::numeric_limits<float>::infinity();
    for (int i = 0; i < count; ++i) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS) continue;
        if (const float time = median(times[i]); time < 0.99f * best) {
            best = time;
            plan.algorithm = found[i].algo;
        }
    }
    return true;
}

MatmulPlans::Plan& MatmulPlans::plan(cudaStream_t stream, const MatmulShape& shape, void* c, const void* a,
                                     const void* b) {
    if (const auto known = plans_.find(shape); known != plans_.end()) return *known->second;
    auto made = std::make_unique<Plan>(shape);
    if (!restore(shape, *made) && choose(stream, shape, *made, c, a, b) && !file_.empty()) {
        MatmulAlgorithm words;
        std::copy(std::begin(made->algorithm.data), std::end(made->algorithm.data), words.begin());
        append_line(file_, plan_line(machine_, shape, words));
    }
    return *plans_.emplace(shape, std::move(made)).first->second;
}

void MatmulPlans::run(cudaStream_t stream, const MatmulShape& shape, void* c, const void* a, const void* b) {
    const Plan& chosen = plan(stream, shape, c, a, b);
    check(enqueue(stream, chosen, chosen.algorithm, shape.accumulate ? 1.0f : 0.0f, c, a, b), "matmul");
}

void matmul(Stream& stream, Tensor c, Tensor a, bool transpose_a, Tensor b, bool transpose_b,
            bool accumulate) {
    const MatmulShape shape = matmul_shape(c, a, transpose_a, b, transpose_b, accumulate);
    if (shape.m == 0 || shape.n == 0) return;
    if (shape.k > 0)
        stream.cuda->matmul->run(stream.cuda->handle, shape, c.data, a.data, b.data);
    else if (!accumulate)
        check(cudaMemsetAsync(c.data, 0, static_cast<size_t>(c.bytes()), stream.cuda->handle), "matmul");
}

}  // namespace templar::cuda
