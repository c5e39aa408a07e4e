#include "engine/model/memory.h"

#include "base/error.h"
#include "engine/model/llama.h"

#include <algorithm>
#include <string>

namespace templar {

namespace {
double mib(int64_t bytes) {
    return static_cast<double>(bytes) / (1 << 20);
}
}  // namespace

void require_memory(const Device& device, int64_t bytes, int64_t batch,
                    const std::function<int64_t(int64_t)>& bytes_for) {
    const int64_t available = device.free_bytes();
    if (bytes <= available) return;
    int64_t fits = 0, too_large = batch;
    while (too_large - fits > 1) {
        const int64_t middle = fits + (too_large - fits) / 2;
        (bytes_for(middle) <= available ? fits : too_large) = middle;
    }
    const std::string advice = fits > 0 ? fmt::format("the largest batch that fits is {}", fits)
                                        : "not even one sequence fits: use shorter ones or a smaller model";
    fail(device.shares_host_memory() ? ExitCode::storage : ExitCode::device,
         "a batch of {} needs {:.0f} MiB, {:.0f} MiB are free on {}; {}", batch, mib(bytes), mib(available),
         device.description(), advice);
}

int64_t MemoryPlan::fixed_bytes() const {
    const int64_t weights = parameter_count * bytes_of(compute), fp32 = parameter_count * bytes_of(DType::f32);
    if (pass == Pass::inference) return weights;
    return weights + (compute != DType::f32 ? fp32 : 0) + fp32 + optimizer_bytes;
}

std::string MemoryPlan::table(int64_t batch) const {
    const int64_t weight_bytes = parameter_count * bytes_of(compute), fp32_bytes = parameter_count * 4;
    const bool training = pass == Pass::training, master = training && compute != DType::f32;
    const double sequences = static_cast<double>(batch);
    std::vector<Arena::Entry> groups;
    for (const Arena::Entry& entry : activations) {
        auto group = std::find_if(groups.begin(), groups.end(),
                                  [&](const auto& other) { return other.name == entry.name; });
        if (group == groups.end())
            groups.push_back(entry);
        else
            group->bytes += entry.bytes;
    }
    std::string text = fmt::format("{:<34}{:>12}{:>16}\n", "memory", "MiB", "per sequence");
    auto line = [&](const std::string& name, int64_t bytes) {
        text += fmt::format("{:<34}{:>12.1f}", name, mib(bytes));
    };
    line(fmt::format("weights ({})", name_of(compute)), weight_bytes), text += '\n';
    if (master) line("master weights (f32)", fp32_bytes), text += '\n';
    if (training) line("gradients (f32)", fp32_bytes), text += '\n';
    if (optimizer_bytes > 0) line("optimiser (f32)", optimizer_bytes), text += '\n';
    for (const auto& group : groups)
        line(group.name, group.bytes), text += fmt::format("{:>16.3f}\n", mib(group.bytes) / sequences);
    line("all activations", activation_bytes),
        text += fmt::format("{:>16.3f}\n", mib(activation_bytes) / sequences);
    line(training && optimizer_bytes == 0 ? "in all, before the optimiser" : "in all", activation_bytes + fixed_bytes()),
        text += '\n';
    return text;
}

}  // namespace templar
