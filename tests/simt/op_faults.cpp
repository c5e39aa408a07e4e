#include "tests/simt/op_faults.h"

#include "kernels/bf16.h"
#include "tests/simt/test_device.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace templar::test {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t guard_bytes = 0;
#else
constexpr int64_t guard_bytes = 1024;
#endif

// What a run left behind.
struct Results {
    std::map<std::string, std::vector<uint8_t>> tensors;
    std::vector<double> returned;
};

bool is_result(const CaseTensor& tensor) {
    return tensor.role == Role::output || tensor.role == Role::in_out;
}

bool is_float(const CaseTensor& tensor) {
    return tensor.dtype == DType::f32 || tensor.dtype == DType::bf16;
}

double limit_of(const CaseTensor& tensor) {
    if (!is_float(tensor)) return 0;
    if (tensor.limit >= 0) return tensor.limit;
    return tensor.dtype == DType::bf16 ? 2e-5 : 1e-10;
}

Results results(const PreparedCase& prepared, const OpCase& what) {
    Results found{{}, prepared.returned()};
    for (const CaseTensor& tensor : what.tensors)
        if (is_result(tensor)) found.tensors[tensor.name] = prepared.bytes(tensor.name);
    return found;
}

size_t first_difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
    return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

bool untouched(const CaseTensor& tensor, const std::vector<uint8_t>& bytes) {
    return tensor.role == Role::output && std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0xff; });
}

bool writes_nothing(const PreparedCase& prepared, const OpCase& what) {
    if (!prepared.returned().empty()) return false;
    return std::ranges::all_of(what.tensors, [&](const CaseTensor& tensor) {
        return !is_result(tensor) || untouched(tensor, prepared.bytes(tensor.name));
    });
}

// Between two runs of one thing.
std::string changes(const Results& first, const Results& now, int schedule) {
    std::string found;
    for (const auto& [name, bytes] : now.tensors)
        if (const auto& earlier = first.tensors.at(name); bytes != earlier)
            found += fmt::format("{}: other bits in schedule {} than in the first, from byte {} of {} on; ", name,
                                 schedule, first_difference(bytes, earlier), bytes.size());
    if (now.returned != first.returned) found += fmt::format("other numbers returned in schedule {}; ", schedule);
    return found;
}

// The element that differs most, for people.
std::string worst(const std::vector<float>& got, const std::vector<float>& want) {
    size_t at = 0;
    double most = -1;
    for (size_t i = 0; i < got.size() && !std::isnan(most); ++i) {
        const double distance = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
        if (distance <= most) continue;
        at = i;
        most = distance;
    }
    return fmt::format("worst at element {} of {}: {}, the CPU has {}", at, got.size(), got[at], want[at]);
}

std::string difference(const CaseTensor& tensor, const PreparedCase& device, const PreparedCase& cpu) {
    const std::vector<uint8_t> bytes = device.bytes(tensor.name), wanted = cpu.bytes(tensor.name);
    const double limit = limit_of(tensor);
    if (untouched(tensor, wanted)) return untouched(tensor, bytes) ? "" : fmt::format("{}: written; ", tensor.name);
    if (limit == 0) {
        if (bytes == wanted) return "";
        const size_t at = first_difference(bytes, wanted);
        return fmt::format("{}: not the CPU's bits from byte {} of {} on; ", tensor.name, at, bytes.size());
    }
    const std::vector<float> got = device.floats(tensor.name), want = cpu.floats(tensor.name);
    const double error = normalised_error(got, want);
    if (error <= limit) return "";
    return fmt::format("{}: error {:.3g}, limit {:.3g}, {}; ", tensor.name, error, limit, worst(got, want));
}

std::string differences(const OpCase& what, const PreparedCase& device, const PreparedCase& cpu) {
    std::string found;
    for (const CaseTensor& tensor : what.tensors)
        if (is_result(tensor)) found += difference(tensor, device, cpu);
    const std::vector<double>&numbers = device.returned(), &wanted = cpu.returned();
    if (numbers.size() != wanted.size())
        return found + fmt::format("{} numbers returned, the CPU {}; ", numbers.size(), wanted.size());
    const double error = normalised_error(std::span(numbers), std::span(wanted));
    if (!(error <= what.returned_limit))
        found += fmt::format("returned numbers: error {:.3g}, limit {:.3g}; ", error, what.returned_limit);
    return found;
}

// Runs it; what it throws is a fault of the case, not the end of the suite.
std::string run(PreparedCase& prepared) {
    try {
        prepared.run();
    } catch (const std::exception& error) {
        return fmt::format("{}; ", error.what());
    }
    return "";
}

}  // namespace

std::string faults(Device& device, Device& cpu, const OpCase& what) {
    const OpCase twin = fp32_twin(what);
    PreparedCase reference(cpu, twin);
    if (const std::string failure = run(reference); !failure.empty()) return "the CPU: " + failure;
    if (writes_nothing(reference, twin)) return "the CPU writes nothing; ";

    std::string found;
    Results first;
    for (int schedule = 0; schedule < schedules && found.empty(); ++schedule) {
        set_schedule(schedule);
        PreparedCase prepared(device, what, {guard_bytes, 0});
        found = run(prepared);
        if (!found.empty()) break;
        const Results now = results(prepared, what);
        if (schedule == 0) first = now;
        found = prepared.damage() + differences(what, prepared, reference) + changes(first, now, schedule);
    }
    set_schedule(0);
    PreparedCase shifted(device, what, {guard_bytes, 1});
    std::string more = run(shifted);
    if (more.empty()) more = shifted.damage() + differences(what, shifted, reference);
    return found + (more.empty() ? "" : "not aligned: " + more);
}

namespace {

// Every element of a small tensor, else some of it.
std::vector<size_t> sampled(size_t count) {
    constexpr size_t most = 24;
    std::vector<size_t> elements;
    for (size_t i = 0; i < std::min(count, most); ++i)
        elements.push_back(count <= most ? i : i * count / most + i * 7919 % (count / most));
    return elements;
}

// Σ output·output_gradient after the forward, in double.
class Loss {
  public:
    Loss(Device& cpu, const OpCase& what) : gradient_(what.gradient.front()), cpu_(cpu), case_(cpu, what) {
        weights_ = case_.floats(gradient_.output_gradient);
    }
    // What changes from x - h to x + h at one element of an input, over 2h.
    double slope(const std::string& input, size_t element) {
        if (first_.find(input) == first_.end()) first_[input] = case_.floats(input);
        std::vector<float> x = first_[input];
        const float centre = x[element], step = 1e-2f * std::max(std::abs(centre), 0.5f);
        const std::vector<float> above = output_with(input, x, element, centre + step);
        const std::vector<float> below = output_with(input, x, element, centre - step);
        case_.set(input, first_[input]);
        double change = 0;
        for (size_t i = 0; i < above.size(); ++i)
            change +=
                (static_cast<double>(above[i]) - static_cast<double>(below[i])) * static_cast<double>(weights_[i]);
        return change / (static_cast<double>(centre + step) - static_cast<double>(centre - step));
    }

  private:
    std::vector<float> output_with(const std::string& input, std::vector<float>& x, size_t element, float value) {
        x[element] = value;
        case_.set(input, x);
        case_.enqueue_forward();
        cpu_.wait(cpu_.stream());
        return case_.floats(gradient_.output);
    }

    const Gradient& gradient_;
    Device& cpu_;
    PreparedCase case_;
    std::vector<float> weights_;
    std::map<std::string, std::vector<float>> first_;
};

}  // namespace

std::string gradient_faults(Device& device, Device& cpu, const OpCase& what) {
    // Differences of fp32 results are good to about 1e-4 of the largest slope.
    constexpr double limit = 1e-5;
    PreparedCase backward(device, what);
    std::map<std::string, std::vector<float>> before;
    for (const CaseTensor& tensor : what.tensors)
        if (tensor.role == Role::in_out && tensor.dtype == DType::f32)
            before[tensor.name] = backward.floats(tensor.name);
    backward.run();
    Loss loss(cpu, what);
    std::string found;
    for (const auto& [input, gradient] : what.gradient.front().inputs) {
        const std::vector<float> values = backward.floats(gradient);
        std::vector<float> got, want;
        for (size_t element : sampled(values.size())) {
            // Gradients of parameters are added to what is there; one that replaces its input is not.
            const bool added = before.contains(gradient) && gradient != input;
            got.push_back(values[element] - (added ? before[gradient][element] : 0));
            want.push_back(static_cast<float>(loss.slope(input, element)));
        }
        const double error = normalised_error(got, want);
        if (!(error <= limit))
            found += fmt::format("{}: {:.3g} from the slope of {} by {}, limit {:.3g}, {}; ", gradient, error,
                                 what.gradient.front().output, input, limit, worst(got, want));
    }
    return found;
}

}  // namespace templar::test
