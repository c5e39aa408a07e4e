// One case of one operation: its tensors, how it is called, how exact it must be and what it costs. The same case is
// run against the CPU's table, against finite differences (both in tests/simt) and against the clock (tools/bench).
//
// To add an operation: a slot in ops.h, the CPU twin, the .cu, and its cases in one file of this folder.
#pragma once

#include "kernels/device.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace templar {

enum class Role {
    input,
    output,
    in_out,
    scratch  // room for an operation to work in: bytes 0xff at first, compared with nothing
};

// A tensor of a case. Values are made on the host when the case is prepared; those of a bf16 tensor are given in fp32
// and rounded, and the CPU twin (fp32 only) sees the rounded values. An `output` starts as NaN (bytes 0xff).
struct CaseTensor {
    std::string name;
    DType dtype = DType::f32;
    Role role = Role::input;
    std::vector<int64_t> shape;  // up to four extents
    // The one that fits dtype (f32 and bf16: floats); none for an output.
    std::function<std::vector<float>()> floats = {};
    std::function<std::vector<int32_t>()> ints = {};
    std::function<std::vector<uint8_t>()> bytes = {};
    // How near a result must be to the CPU's: the normalised mean squared error Σ(x - y)²/Σy² may not pass this.
    // 0: the same bits. Each limit that is not a default has its reason beside it.
    double limit = -1;  // -1: 1e-10 for fp32, 2e-5 for bf16 (one rounding is about 3e-6)
};

// The tensors of a prepared case, by name.
class CaseTensors {
  public:
    void add(const std::string& name, Tensor tensor) { tensors_[name] = tensor; }
    const Tensor& operator[](const std::string& name) const { return tensors_.at(name); }
    // For an operation that returns numbers to the host (sum_of_squares, screen): keeps them as the case's result.
    void returned(std::vector<double> numbers) const { returned_ = std::move(numbers); }
    const std::vector<double>& returned() const { return returned_; }

  private:
    std::map<std::string, Tensor> tensors_;
    mutable std::vector<double> returned_;
};

using RunCase = std::function<void(const Ops&, Stream&, const CaseTensors&)>;

// What a case's speed is held against; the ceilings are measured in the same run of the bench.
enum class Bound { compute, memory };

// A backward operation's forward: d<output_gradient, output>/d(input) must be what the case leaves in the gradient.
struct Gradient {
    RunCase forward;  // from the case's inputs to `output`
    std::string output, output_gradient;
    std::vector<std::pair<std::string, std::string>> inputs;  // (input, its gradient), e.g. ("x", "dx")
};

struct OpCase {
    std::string op;     // the slot in ops.h
    std::string shape;  // for people: "7x80", "1b"
    std::vector<CaseTensor> tensors;
    RunCase run;
    Bound bound = Bound::memory;
    double flops = 0;  // floating-point operations of one run, for Bound::compute
    double bytes = 0;  // read and written, each counted once, for Bound::memory
    double items = 0;  // what people count, e.g. tokens; 0: nothing
    std::string item = "";
    std::vector<Gradient> gradient = {};  // none or one
    // For numbers returned to the host: how near they must be to the CPU's, as CaseTensor::limit. 1e-20: sums in
    // double.
    double returned_limit = 1e-20;
};

enum class CaseSizes {
    small,  // odd sizes, one row, sizes that fill no block: for tests; each a few ten thousand elements
    model,  // the shapes of the 1.2B preset, T = 2048, 16 sequences: for the bench on a GPU
    laptop  // shapes of a model that trains on a CPU: for the bench without a GPU
};

// Cases of every operation, activations and weights in `compute` (fp32 or bf16). One function for each file of this
// folder.
std::vector<OpCase> op_cases(DType compute, CaseSizes sizes);
std::vector<OpCase> elementwise_cases(DType compute, CaseSizes sizes);  // embedding, norms, RoPE, SwiGLU, optimiser
std::vector<OpCase> attention_cases(DType compute, CaseSizes sizes);
std::vector<OpCase> loss_cases(DType compute, CaseSizes sizes);  // cross-entropy
std::vector<OpCase> loss_eval_cases(DType compute, CaseSizes sizes);
std::vector<OpCase> matmul_cases(DType compute, CaseSizes sizes);
std::vector<OpCase> compress_cases(DType compute, CaseSizes sizes);  // DCT, demo_compress
std::vector<OpCase> exact_cases(DType compute, CaseSizes sizes);     // merge_apply … state_tree

// Standard normal values times `scale`; the same for the same seed.
std::vector<float> normal_values(int64_t count, uint64_t seed, double scale = 1.0);

// How the tensors of a prepared case lie in memory.
struct Placement {
    // Bytes of a known pattern before and after each tensor. None under the address sanitizer, which sees more.
    int64_t guard_bytes = 0;
    // Elements by which each tensor starts after a multiple of 256 bytes: an operation may count on no more alignment
    // than an element's, since tensors are also views into larger ones.
    int64_t shift = 0;
};

// A case with its tensors on a device.
class PreparedCase {
  public:
    // The case and the device outlive this object. Throws Error(internal) when a tensor's values do not fit its shape.
    PreparedCase(Device& device, const OpCase& what, Placement placement = {});
    // Runs it once and waits.
    void run();
    // Enqueues it.
    void enqueue();
    // Enqueues the case's forward (Gradient), on the same tensors.
    void enqueue_forward();
    // The tensor's values now, bf16 widened to fp32; the same for a CPU device prepared with fp32 twins.
    std::vector<float> floats(const std::string& name) const;
    std::vector<uint8_t> bytes(const std::string& name) const;
    const std::vector<double>& returned() const { return tensors_.returned(); }
    // Gives an f32 tensor these values.
    void set(const std::string& name, std::span<const float> values);
    // Puts every in_out and output tensor back to its first values.
    void reset();
    // What was written that no run may write: inputs, and the guards of any tensor. Empty when all is well.
    std::string damage() const;

  private:
    struct Placed {
        const CaseTensor* what;
        DeviceMemory memory;  // guard, the tensor, guard
        Tensor tensor;
    };
    const Placed& find(const std::string& name) const;
    void upload(const Placed& placed, std::span<const uint8_t> bytes);

    Device& device_;
    const OpCase& what_;
    Placement placement_;
    std::vector<Placed> placed_;
    CaseTensors tensors_;
};

// The case with every bf16 tensor made fp32 (its values rounded to bf16 first): what the CPU's table is given. Tensors
// with the limit 0 keep their type: what must agree bit for bit is the same operation.
OpCase fp32_twin(const OpCase& what);

// The result's distance from the reference: Σ(x - y)²/Σy² (Σ(x - y)² where y is 0 everywhere). NaN where either has
// one.
double normalised_error(std::span<const float> x, std::span<const float> y);
double normalised_error(std::span<const double> x, std::span<const double> y);

}  // namespace templar
