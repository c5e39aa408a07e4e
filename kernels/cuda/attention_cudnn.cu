// Attention by cuDNN, in bf16, behind the same operations: on Hopper it uses wgmma and TMA, which attention_forward.cu
// and attention_backward.cu do not. A graph is built for each shape at its first use (up to seconds) and kept.
//
// The backward pass is asked for cuDNN's deterministic algorithm. Its working memory is allocated at a shape's first
// use and is not part of the engine's memory plan. Where cuDNN has no kernel for a shape, ours do it.
//
// Needs cuDNN 9 and its frontend's headers (github.com/NVIDIA/cudnn-frontend). Chosen by TEMPLAR_ATTENTION=cudnn.
#include "kernels/cuda/attention_path.h"

#include "base/error.h"

#include <cstdlib>
#include <string_view>

namespace templar::cuda {

namespace {

bool cudnn_wanted() {
    const char* const wanted = std::getenv("TEMPLAR_ATTENTION");
    return wanted && std::string_view(wanted) == "cudnn";
}

}  // namespace

}  // namespace templar::cuda

#if defined(TEMPLAR_CUDNN)

#include "kernels/cuda/launch.h"

#include <cudnn_frontend.h>

#include <cmath>
#include <map>
#include <tuple>
#include <unordered_map>

namespace templar::cuda {

namespace {

namespace fe = cudnn_frontend;

enum Uid : int64_t { uid_q = 1, uid_k, uid_v, uid_out, uid_lse, uid_dout, uid_dq, uid_dk, uid_dv };

struct Shape {
    int64_t batch, seq, heads, groups, size;
    auto operator<=>(const Shape&) const = default;
    int64_t rows() const { return heads + 2 * groups; }
};

// Four-dimensional (B, heads, T, D), wherever its rows lie.
std::shared_ptr<fe::graph::Tensor_attributes> rows_of(fe::graph::Graph& graph, Uid uid, const Shape& s, int64_t heads,
                                                      int64_t rows_of_position) {
    return graph.tensor(fe::graph::Tensor_attributes()
                            .set_uid(uid)
                            .set_dim({s.batch, heads, s.seq, s.size})
                            .set_stride({s.seq * rows_of_position * s.size, s.size, rows_of_position * s.size, 1}));
}

void make_output(const std::shared_ptr<fe::graph::Tensor_attributes>& tensor, Uid uid, const Shape& s, int64_t heads,
                 int64_t rows_of_position) {
    tensor->set_output(true)
        .set_uid(uid)
        .set_dim({s.batch, heads, s.seq, s.size})
        .set_stride({s.seq * rows_of_position * s.size, s.size, rows_of_position * s.size, 1});
}

std::shared_ptr<fe::graph::Graph> make_graph() {
    auto graph = std::make_shared<fe::graph::Graph>();
    graph->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    return graph;
}

std::shared_ptr<fe::graph::Graph> forward_graph(const Shape& s, float scale) {
    auto graph = make_graph();
    const auto q = rows_of(*graph, uid_q, s, s.heads, s.rows());
    const auto k = rows_of(*graph, uid_k, s, s.groups, s.rows()), v = rows_of(*graph, uid_v, s, s.groups, s.rows());
    auto [out, lse] = graph->sdpa(
        q, k, v, fe::graph::SDPA_attributes().set_generate_stats(true).set_causal_mask(true).set_attn_scale(scale));
    make_output(out, uid_out, s, s.heads, s.heads);
    lse->set_output(true).set_uid(uid_lse).set_data_type(fe::DataType_t::FLOAT);  // (B, H, T, 1)
    return graph;
}

std::shared_ptr<fe::graph::Graph> backward_graph(const Shape& s, float scale) {
    auto graph = make_graph();
    const auto q = rows_of(*graph, uid_q, s, s.heads, s.rows());
    const auto k = rows_of(*graph, uid_k, s, s.groups, s.rows()), v = rows_of(*graph, uid_v, s, s.groups, s.rows());
    const auto out = rows_of(*graph, uid_out, s, s.heads, s.heads),
               dout = rows_of(*graph, uid_dout, s, s.heads, s.heads);
    const auto lse = graph->tensor(fe::graph::Tensor_attributes()
                                       .set_uid(uid_lse)
                                       .set_dim({s.batch, s.heads, s.seq, 1})
                                       .set_stride({s.heads * s.seq, s.seq, 1, 1})
                                       .set_data_type(fe::DataType_t::FLOAT));
    auto [dq, dk, dv] = graph->sdpa_backward(
        q, k, v, out, dout, lse,
        fe::graph::SDPA_backward_attributes().set_causal_mask(true).set_attn_scale(scale).set_deterministic_algorithm(
            true));
    make_output(dq, uid_dq, s, s.heads, s.rows());
    make_output(dk, uid_dk, s, s.groups, s.rows());
    make_output(dv, uid_dv, s, s.groups, s.rows());
    return graph;
}

class CudnnAttention final : public AttentionPath {
  public:
    explicit CudnnAttention(cudaStream_t stream) {
        if (cudnnCreate(&handle_) != CUDNN_STATUS_SUCCESS || cudnnSetStream(handle_, stream) != CUDNN_STATUS_SUCCESS)
            fail(ExitCode::device, "TEMPLAR_ATTENTION=cudnn: cuDNN does not start on this GPU");
    }
    ~CudnnAttention() override {
        for (auto& [key, plan] : plans_) cudaFree(plan.workspace);
        cudnnDestroy(handle_);
    }

    bool forward(Stream&, Tensor out, Tensor lse, Tensor qkv) override {
        const Shape s = shape_of(out, qkv);
        Plan* const plan = qkv.dtype == DType::bf16 ? find(s, false) : nullptr;
        if (!plan) return false;
        Pointers pointers = inputs(s, qkv);
        pointers[uid_out] = out.data;
        pointers[uid_lse] = lse.data;
        run(*plan, pointers, "attention_forward (cuDNN)");
        return true;
    }

    bool backward(Stream&, Tensor dqkv, Tensor dout, Tensor out, Tensor lse, Tensor qkv) override {
        const Shape s = shape_of(out, qkv);
        Plan* const plan = qkv.dtype == DType::bf16 ? find(s, true) : nullptr;
        if (!plan) return false;
        Pointers pointers = inputs(s, qkv);
        pointers[uid_out] = out.data;
        pointers[uid_dout] = dout.data;
        pointers[uid_lse] = lse.data;
        pointers[uid_dq] = dqkv.view(0, {}).data;
        pointers[uid_dk] = dqkv.view(s.heads * s.size, {}).data;
        pointers[uid_dv] = dqkv.view((s.heads + s.groups) * s.size, {}).data;
        run(*plan, pointers, "attention_backward (cuDNN)");
        return true;
    }

  private:
    using Pointers = std::unordered_map<int64_t, void*>;
    struct Plan {
        std::shared_ptr<fe::graph::Graph> graph;
        void* workspace = nullptr;
    };

    static Shape shape_of(const Tensor& out, const Tensor& qkv) {
        return {qkv.shape[0], qkv.shape[1], out.shape[2], (qkv.shape[2] - out.shape[2]) / 2, qkv.shape[3]};
    }
    static Pointers inputs(const Shape& s, const Tensor& qkv) {
        return {{uid_q, qkv.data},
                {uid_k, qkv.view(s.heads * s.size, {}).data},
                {uid_v, qkv.view((s.heads + s.groups) * s.size, {}).data}};
    }

    Plan* find(const Shape& s, bool backward) {
        const auto [place, is_new] = plans_.try_emplace({s, backward});
        Plan& plan = place->second;
        if (is_new) {  // cuDNN refuses some shapes: then graph stays null
            const float scale = 1.0f / std::sqrt(static_cast<float>(s.size));
            auto graph = backward ? backward_graph(s, scale) : forward_graph(s, scale);
            int64_t bytes = 0;
            if (graph->build(handle_, {fe::HeurMode_t::A}).is_good() && graph->get_workspace_size(bytes).is_good()) {
                if (bytes > 0) check(cudaMalloc(&plan.workspace, static_cast<size_t>(bytes)), "cuDNN's working memory");
                plan.graph = std::move(graph);
            }
        }
        return plan.graph ? &plan : nullptr;
    }

    void run(Plan& plan, Pointers& pointers, const char* name) {
        const auto status = plan.graph->execute(handle_, pointers, plan.workspace);
        if (status.is_bad()) fail(ExitCode::device, "the GPU failed in {}: {}", name, status.err_msg);
    }

    cudnnHandle_t handle_ = nullptr;
    std::map<std::pair<Shape, bool>, Plan> plans_;  // true: backward
};

}  // namespace

std::unique_ptr<AttentionPath> cudnn_attention(cudaStream_t stream) {
    if (!cudnn_wanted()) return nullptr;
    return std::make_unique<CudnnAttention>(stream);
}

}  // namespace templar::cuda

#else

namespace templar::cuda {

std::unique_ptr<AttentionPath> cudnn_attention(cudaStream_t) {
    if (cudnn_wanted())
        fail(ExitCode::device,
             "TEMPLAR_ATTENTION=cudnn: this program was built without cuDNN and its frontend's headers; unset it, or "
             "build it where they are");
    return nullptr;
}

}  // namespace templar::cuda

#endif
