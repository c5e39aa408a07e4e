#include "kernels/cases/op_case.h"

#include "base/error.h"
#include "kernels/bf16.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numbers>

namespace templar {

namespace {

constexpr int64_t alignment = 256;
constexpr uint8_t guard_byte = 0xa5;

int64_t numel(const CaseTensor& what) {
    int64_t n = 1;
    for (int64_t extent : what.shape) n *= extent;
    return n;
}

int64_t bytes_of(const CaseTensor& what) {
    return numel(what) * bytes_of(what.dtype);
}

template <class T>
std::vector<uint8_t> raw(const CaseTensor& what, const std::vector<T>& values) {
    if (std::ssize(values) != numel(what))
        fail(ExitCode::internal, "case tensor {}: {} values, its shape has {}", what.name, values.size(), numel(what));
    std::vector<uint8_t> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

std::vector<bf16> rounded(const std::vector<float>& values) {
    std::vector<bf16> result(values.size());
#pragma omp parallel for
    for (size_t i = 0; i < values.size(); ++i) result[i] = to_bf16(values[i]);
    return result;
}

// The bytes a tensor starts with.
std::vector<uint8_t> first_bytes(const CaseTensor& what) {
    if (what.role == Role::output || what.role == Role::scratch)
        return std::vector<uint8_t>(static_cast<size_t>(bytes_of(what)), 0xff);
    const bool made = what.dtype == DType::i32 ? !!what.ints : what.dtype == DType::u8 ? !!what.bytes : !!what.floats;
    if (!made)
        fail(ExitCode::internal, "case tensor {} ({}) has no values of its type", what.name, name_of(what.dtype));
    switch (what.dtype) {
        case DType::f32:
            return raw(what, what.floats());
        case DType::bf16:
            return raw(what, rounded(what.floats()));
        case DType::i32:
            return raw(what, what.ints());
        case DType::u8:
            return raw(what, what.bytes());
    }
    return {};
}

Tensor view(void* data, const CaseTensor& what) {
    if (what.shape.empty() || what.shape.size() > 4)
        fail(ExitCode::internal, "case tensor {}: {} extents, expected 1 to 4", what.name, what.shape.size());
    Tensor tensor(data, what.dtype, {});
    for (int64_t extent : what.shape) tensor.shape[tensor.rank++] = extent;
    return tensor;
}

// Sequence of one 64-bit state after another (Steele, Lea & Flood 2014), entered anywhere.
uint64_t splitmix(uint64_t state) {
    uint64_t z = state * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

}  // namespace

std::vector<float> normal_values(int64_t count, uint64_t seed, double scale) {
    std::vector<float> values(static_cast<size_t>(count));
    const uint64_t start = splitmix(seed + 1);
    const float factor = static_cast<float>(scale);
    // Box-Muller: two values from two uniform numbers.
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += 2) {
        const uint64_t bits = splitmix(start + static_cast<uint64_t>(i));
        const float u = (static_cast<float>(bits >> 40) + 1) * 0x1p-24f;  // (0, 1]
        const float angle = static_cast<float>(bits & 0xffffff) * (0x1p-24f * 2 * std::numbers::pi_v<float>);
        const float radius = std::sqrt(-2 * std::log(u)) * factor;
        values[static_cast<size_t>(i)] = radius * std::cos(angle);
        if (i + 1 < count) values[static_cast<size_t>(i) + 1] = radius * std::sin(angle);
    }
    return values;
}

PreparedCase::PreparedCase(Device& device, const OpCase& what, Placement placement)
    : device_(device), what_(what), placement_(placement) {
    for (const CaseTensor& tensor : what.tensors) {
        const int64_t front = (placement.guard_bytes + alignment - 1) / alignment * alignment;
        const int64_t start = front + placement.shift * templar::bytes_of(tensor.dtype);
        const int64_t bytes = bytes_of(tensor);
        placed_.push_back(
            {&tensor, DeviceMemory(device, std::max<int64_t>(start + bytes + placement.guard_bytes, 1)), {}});
        Placed& placed = placed_.back();
        std::byte* const memory = static_cast<std::byte*>(placed.memory.data());
        placed.tensor = view(memory + start, tensor);
        tensors_.add(tensor.name, placed.tensor);
        if (placement.guard_bytes > 0) {
            const std::vector<uint8_t> pattern(static_cast<size_t>(placed.memory.bytes()), guard_byte);
            device.upload(device.stream(), memory, pattern.data(), placed.memory.bytes());
        }
        upload(placed, first_bytes(tensor));
    }
    device.wait(device.stream());
}

void PreparedCase::upload(const Placed& placed, std::span<const uint8_t> bytes) {
    device_.upload(device_.stream(), placed.tensor.data, bytes.data(), std::ssize(bytes));
}

void PreparedCase::run() {
    enqueue();
    device_.wait(device_.stream());
}

void PreparedCase::enqueue() {
    what_.run(device_.ops(), device_.stream(), tensors_);
}

void PreparedCase::enqueue_forward() {
    what_.gradient.front().forward(device_.ops(), device_.stream(), tensors_);
}

const PreparedCase::Placed& PreparedCase::find(const std::string& name) const {
    for (const Placed& placed : placed_)
        if (placed.what->name == name) return placed;
    fail(ExitCode::internal, "case {} {} has no tensor {}", what_.op, what_.shape, name);
}

std::vector<uint8_t> PreparedCase::bytes(const std::string& name) const {
    const Tensor tensor = find(name).tensor;
    std::vector<uint8_t> values(static_cast<size_t>(tensor.bytes()));
    device_.download(device_.stream(), values.data(), tensor.data, tensor.bytes());
    device_.wait(device_.stream());
    return values;
}

std::vector<float> PreparedCase::floats(const std::string& name) const {
    const DType type = find(name).what->dtype;
    const std::vector<uint8_t> raw = bytes(name);
    std::vector<float> values(raw.size() / static_cast<size_t>(templar::bytes_of(type)));
    for (size_t i = 0; i < values.size(); ++i) {
        if (type == DType::bf16) {
            bf16 value;
            std::memcpy(&value, &raw[2 * i], sizeof value);
            values[i] = to_float(value);
        } else if (type == DType::f32) {
            std::memcpy(&values[i], &raw[4 * i], sizeof values[i]);
        } else {
            fail(ExitCode::internal, "case tensor {} holds {}, no floats", name, name_of(type));
        }
    }
    return values;
}

void PreparedCase::set(const std::string& name, std::span<const float> values) {
    const Placed& placed = find(name);
    if (placed.what->dtype != DType::f32 || std::ssize(values) != placed.tensor.numel())
        fail(ExitCode::internal, "case tensor {}: {} fp32 values do not fit", name, values.size());
    upload(placed, {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()});
    device_.wait(device_.stream());
}

void PreparedCase::reset() {
    for (const Placed& placed : placed_)
        if (placed.what->role != Role::input) upload(placed, first_bytes(*placed.what));
    device_.wait(device_.stream());
}

std::string PreparedCase::damage() const {
    std::string found;
    for (const Placed& placed : placed_) {
        if (placed.what->role == Role::input && bytes(placed.what->name) != first_bytes(*placed.what))
            found += fmt::format("input {} was written; ", placed.what->name);
        if (placement_.guard_bytes == 0) continue;
        std::vector<uint8_t> all(static_cast<size_t>(placed.memory.bytes()));
        device_.download(device_.stream(), all.data(), placed.memory.data(), placed.memory.bytes());
        device_.wait(device_.stream());
        const int64_t start =
            static_cast<std::byte*>(placed.tensor.data) - static_cast<std::byte*>(placed.memory.data());
        const int64_t end = start + placed.tensor.bytes();
        for (int64_t i = 0; i < std::ssize(all); ++i) {
            if ((i >= start && i < end) || all[static_cast<size_t>(i)] == guard_byte) continue;
            found +=
                fmt::format("{}: byte {} of {} was written; ", placed.what->name, i - start, placed.tensor.bytes());
            break;
        }
    }
    return found;
}

OpCase fp32_twin(const OpCase& what) {
    OpCase twin = what;
    for (CaseTensor& tensor : twin.tensors) {
        if (tensor.dtype != DType::bf16 || tensor.limit == 0) continue;
        tensor.dtype = DType::f32;
        if (!tensor.floats) continue;
        tensor.floats = [values = tensor.floats] {
            std::vector<float> result = values();
            for (float& value : result) value = to_float(to_bf16(value));
            return result;
        };
    }
    return twin;
}

namespace {

template <class T>
double squared_distance(std::span<const T> x, std::span<const T> y) {
    if (x.size() != y.size()) fail(ExitCode::internal, "normalised_error: {} values beside {}", x.size(), y.size());
    double error = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double a = x[i], b = y[i];
        error += (a - b) * (a - b);
        size += b * b;
    }
    return size == 0 ? error : error / size;
}

}  // namespace

double normalised_error(std::span<const float> x, std::span<const float> y) {
    return squared_distance(x, y);
}
double normalised_error(std::span<const double> x, std::span<const double> y) {
    return squared_distance(x, y);
}

std::vector<OpCase> op_cases(DType compute, CaseSizes sizes) {
    std::vector<OpCase> all;
    for (auto cases :
         {elementwise_cases, attention_cases, loss_cases, loss_eval_cases, matmul_cases, compress_cases, exact_cases})
        std::ranges::move(cases(compute, sizes), std::back_inserter(all));
    return all;
}

}  // namespace templar
