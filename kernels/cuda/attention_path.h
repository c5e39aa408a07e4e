// The seam for another implementation of attention than this folder's kernels.
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/stream.h"
#include "kernels/tensor.h"

#include <memory>

namespace templar::cuda {

// Each does the operation of kernels/ops.h and says true; or says false, with nothing done, where it cannot.
class AttentionPath {
  public:
    virtual ~AttentionPath() = default;
    virtual bool forward(Stream& stream, Tensor out, Tensor lse, Tensor qkv) = 0;
    virtual bool backward(Stream& stream, Tensor dqkv, Tensor dout, Tensor out, Tensor lse, Tensor qkv) = 0;
};

// attention_cudnn.cu. None unless TEMPLAR_ATTENTION=cudnn asks for it; throws Error(device) when it does and the build
// had no cudnn_frontend.h.
std::unique_ptr<AttentionPath> cudnn_attention(cudaStream_t stream);

}  // namespace templar::cuda
