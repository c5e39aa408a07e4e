// Where and with what an operation runs: passed to every operation instead of hidden state.
#pragma once

namespace templar {

struct CudaStream;  // kernels/cuda/stream.h

// On the CPU a stream runs each operation before the call returns, on `threads` threads.
// No result depends on their number. On a GPU operations of one stream run one after another.
struct Stream {
    int threads = 1;
    CudaStream* cuda = nullptr;
};

// Threads this process may use: `requested`, or every processor it is allowed to run on when requested is 0.
int usable_threads(int requested);

}  // namespace templar
