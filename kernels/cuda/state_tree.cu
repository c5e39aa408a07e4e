// The lower levels of the state's hash tree (docs/protocol.md §6, state root), exact:
//   leaves (all leaves, 32)  SHA-256(0x00 ‖ u32 tensor ‖ u32 leaf within it ‖ up to 16,384 fp32 values)
//   nodes (tensors, 32)      SHA-256(0x01 ‖ the tensor's leaves)
//
// SHA-256 is sequential in a message, so one thread hashes one leaf: 1025 blocks of 64 bytes. Each thread reads 64
// bytes at a time from a place of its own. That is two whole sectors, and one block is 1400 instructions: staging
// through shared memory would gain nothing.
//
// Bound on an H200 for 4.8 GB: integer issue. A block of 64 bytes takes about 1400 integer operations (64 rounds of 14,
// 48 schedule steps of 10, 16 byte permutations); 75.3 M of them on 132·64 lanes at 1.755 GHz take 7.1 ms, and 73,540
// leaves on 528 schedulers leave the last of 4.5 warps uneven: 8 to 9 ms. Then the nodes, one thread each: the
// embedding's 4000 leaves are 2000 blocks in sequence, some 4 ms.
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sha256.h"

namespace templar::cuda {

namespace {

constexpr int leaf_threads = 64;  // small blocks spread evenly over the multiprocessors

__host__ __device__ constexpr int64_t leaves_of(int64_t elements) {
    return (elements + leaf_elements - 1) / leaf_elements;
}

// first_leaf (tensors + 1): leaves before each tensor. By one thread; there are some hundred tensors.
__global__ void first_leaf_kernel(int64_t* first_leaf, const int64_t* first, int64_t tensors) {
    int64_t leaves = 0;
    for (int64_t t = 0; t < tensors; ++t) {
        first_leaf[t] = leaves;
        leaves += leaves_of(first[t + 1] - first[t]);
    }
    first_leaf[tensors] = leaves;
}

// The last tensor whose first leaf is not after `leaf`, so never one without leaves.
__device__ __forceinline__ int64_t tensor_of(int64_t leaf, const int64_t* first_leaf, int64_t tensors) {
    int64_t low = 0, high = tensors;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (first_leaf[middle] <= leaf) low = middle;
        else high = middle;
    }
    return low;
}

__global__ void __launch_bounds__(leaf_threads) leaves_kernel(uint8_t* leaves, const float* theta, const int64_t* first,
                                                              const int64_t* first_leaf, int64_t tensors) {
    const int64_t leaf = int64_t{blockIdx.x} * leaf_threads + threadIdx.x;
    if (leaf >= first_leaf[tensors]) return;
    const int64_t tensor = tensor_of(leaf, first_leaf, tensors), index = leaf - first_leaf[tensor];
    const int64_t begin = first[tensor] + index * leaf_elements;
    const int64_t left = first[tensor + 1] - begin;
    const uint32_t prefix[2] = {static_cast<uint32_t>(tensor), static_cast<uint32_t>(index)};
    const Sha256State state = sha256_tagged<2>(0x00, prefix, reinterpret_cast<const uint8_t*>(theta + begin),
                                               left < leaf_elements ? left : leaf_elements);
    store_digest(leaves + leaf * 32, state);
}

// One block of one thread for each tensor: none shares its scheduler with another.
__global__ void nodes_kernel(uint8_t* nodes, const uint8_t* leaves, const int64_t* first_leaf) {
    const int64_t tensor = blockIdx.x, begin = first_leaf[tensor];
    const Sha256State state =
        sha256_tagged<0>(0x01, nullptr, leaves + begin * 32, 8 * (first_leaf[tensor + 1] - begin));
    store_digest(nodes + tensor * 32, state);
}

}  // namespace

void state_tree(Stream& stream, Tensor nodes, Tensor leaves, Tensor theta, std::span<const int64_t> first) {
    constexpr const char* name = "state_tree";
    const int64_t tensors = std::ssize(first) - 1;
    int64_t count = 0;
    for (int64_t t = 0; t < tensors; ++t) count += leaves_of(first[t + 1] - first[t]);
    require_type(name, DType::f32, {theta});
    require_type(name, DType::u8, {leaves, nodes});
    require(name, tensors >= 0 && first.front() >= 0 && first.back() <= theta.numel(), "tensors within theta");
    require(name, leaves.numel() == 32 * count && nodes.numel() == 32 * tensors,
            "32 bytes for each leaf and for each tensor");
    if (tensors == 0) return;

    const int64_t table_bytes = (tensors + 1) * int64_t{sizeof(int64_t)};
    const auto device_first = static_cast<int64_t*>(scratch(stream, 2 * table_bytes));
    const auto first_leaf = device_first + tensors + 1;
    // From pageable memory the call returns when the values are staged, so `first` may change afterwards.
    check(cudaMemcpyAsync(device_first, first.data(), static_cast<size_t>(table_bytes), cudaMemcpyHostToDevice,
                          stream.cuda->handle),
          name);
    launch(stream, name, 1, 1, 0, first_leaf_kernel, first_leaf, device_first, tensors);
    if (count > 0)
        launch(stream, name, grid_of(ceil_div(count, leaf_threads)), leaf_threads, 0, leaves_kernel, leaves.u8(),
               theta.f32(), device_first, first_leaf, tensors);
    launch(stream, name, grid_of(tensors), 1, 0, nodes_kernel, nodes.u8(), leaves.u8(), first_leaf);
}

}  // namespace templar::cuda
