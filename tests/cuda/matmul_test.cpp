// Matrix products through a fake cuBLASLt (fake_cuda.h): what it is asked for, how algorithms are chosen and
// kept.
#include "kernels/cuda/gpu.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"
#include "kernels/bf16.h"
#include "tests/cuda/fake_cuda.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <vector>

using namespace templar;
using namespace templar::test;

namespace {

// Small whole numbers: every product and sum is exact in bf16 and fp32.
std::vector<float> numbers(int64_t count, int64_t salt) {
    std::vector<float> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>((i * 7 + salt) % 5 - 2);
    return values;
}

struct Operand {
    DeviceMemory memory;
    Tensor tensor;
    Operand(Device& device, DType type, std::initializer_list<int64_t> shape,
            const std::vector<float>& values)
        : memory(device, static_cast<int64_t>(values.size()) * bytes_of(type)),
          tensor(memory.data(), type, shape) {
        for (size_t i = 0; i < values.size(); ++i)
            if (type == DType::f32)
                tensor.f32()[i] = values[i];
            else
                static_cast<bf16*>(tensor.data)[i] = to_bf16(values[i]);
    }
    float operator[](int64_t i) const {
        return tensor.dtype == DType::f32 ? tensor.f32()[i]
                                          : to_float(static_cast<const bf16*>(tensor.data)[i]);
    }
};

// One product of fixed shape; throws nothing and checks the result.
void multiply(Device& device, DType in, DType out, bool transpose_a, bool transpose_b, bool accumulate) {
    const int64_t m = 3, n = 5, k = 4;
    const std::vector<float> a = numbers(m * k, 1), b = numbers(k * n, 2), c = numbers(m * n, 3);
    const Operand left = transpose_a ? Operand(device, in, {k, m}, a) : Operand(device, in, {m, k}, a);
    const Operand right = transpose_b ? Operand(device, in, {n, k}, b) : Operand(device, in, {k, n}, b);
    const Operand result(device, out, {m, n}, c);
    device.ops().matmul(device.stream(), result.tensor, left.tensor, transpose_a, right.tensor, transpose_b,
                        accumulate);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float expected = accumulate ? c[i * n + j] : 0.0f;
            for (int64_t l = 0; l < k; ++l)
                expected +=
                    (transpose_a ? a[l * m + i] : a[i * k + l]) * (transpose_b ? b[j * k + l] : b[l * n + j]);
            CHECK(result[i * n + j] == expected);
        }
}

void multiply(Device& device) {
    multiply(device, DType::bf16, DType::bf16, false, true, false);
}

}  // namespace

TEST_CASE("every kind of product is right, and stays right when it is asked for again") {
    fake = {};
    const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::bf16, "");
    Device& device = *opened;
    for (int repeat = 0; repeat < 2; ++repeat) {
        for (const auto& [in, out] :
             {std::pair(DType::f32, DType::f32), {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}})
            for (const bool transpose_a : {false, true})
                for (const bool transpose_b : {false, true})
                    for (const bool accumulate : {false, true})
                        multiply(device, in, out, transpose_a, transpose_b, accumulate);
        CHECK(fake.choices == 24);
    }
}

TEST_CASE("the fastest algorithm is chosen once, and nothing is allocated after that") {
    fake = {};
    fake.milliseconds = {3, 2, 2.5f, 1.99f, 0.5f};
    fake.fails = {4};
    const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::bf16, "");
    Device& device = *opened;
    multiply(device);
    CHECK(fake.ran.back() == 1);  // 3 is not faster by more than noise, 4 does not run
    const int before = fake.allocations;
    fake.ran.clear();
    multiply(device);
    CHECK(fake.ran == std::vector<uint64_t>{1});
    CHECK(fake.allocations - before == 3);  // the test's own operands
    CHECK(fake.choices == 1);
}

TEST_CASE("a sum over nothing is zero, or what was there") {
    fake = {};
    const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::f32, "");
    Device& device = *opened;
    const Operand c(device, DType::f32, {2, 2}, {1, 2, 3, 4});
    float none = 0;
    const Tensor a(&none, {0, 2}), b(&none, {0, 2});
    device.ops().matmul(device.stream(), c.tensor, a, true, b, false, true);
    CHECK(c[3] == 4);
    device.ops().matmul(device.stream(), c.tensor, a, true, b, false, false);
    CHECK(c[3] == 0);
    CHECK(fake.choices == 0);
}

TEST_CASE("choices are kept in a file for the same library and GPU") {
    const TemporaryFolder folder;
    const std::string file = (folder.path() / "plans").string();
    const auto run = [&] {
        fake.ran.clear();
        fake.choices = 0;
        const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::bf16, file);
        Device& device = *opened;
        multiply(device);
        multiply(device, DType::bf16, DType::f32, true, false, true);
    };
    fake = {};
    run();
    CHECK(fake.choices == 2);
    const std::string kept = read_text_file(file, 1 << 20);
    run();
    CHECK(fake.choices == 0);
    CHECK(fake.ran == std::vector<uint64_t>{2, 2});
    CHECK(read_text_file(file, 1 << 20) == kept);

    std::filesystem::resize_file(file, kept.size() - 5);  // killed while it wrote the second
    run();
    CHECK(fake.choices == 1);
    CHECK(read_text_file(file, 1 << 20) == kept);
    run();
    CHECK(fake.choices == 0);

    fake.fails = {2};  // kept, but it runs no more
    run();
    CHECK(fake.choices == 2);
    CHECK(fake.ran.back() == 1);

    fake = {};
    fake.version = 130200;
    run();
    CHECK(fake.choices == 2);

    const std::string text = "not plans\n";
    write_file(file, ByteSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
    CHECK_THROWS_AS(run(), Error);
}

TEST_CASE("without memory for timing the library's first choice serves, and is not kept") {
    const TemporaryFolder folder;
    const std::string file = (folder.path() / "plans").string();
    fake = {};
    {
        const std::unique_ptr<Device> opened = cuda::open_gpu(0, DType::f32, file);
        Device& device = *opened;
        const std::vector<float> values = numbers(16, 1);
        const Operand a(device, DType::f32, {4, 4}, values), c(device, DType::f32, {4, 4}, values);
        fake.memory = fake.used;
        device.ops().matmul(device.stream(), c.tensor, a.tensor, false, a.tensor, false, true);
        CHECK(fake.ran == std::vector<uint64_t>{0});
        CHECK(fake.unread_errors == 0);
        fake.memory = size_t{256} << 20;
    }
    CHECK(!std::filesystem::exists(file));
    CHECK(fake.memories == 0);
    CHECK(fake.handles == 0);
}
