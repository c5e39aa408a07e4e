#include "engine/model/memory.h"

#include "base/error.h"
#include "engine/model/llama.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace templar {

namespace {
double mib(int64_t bytes) {
    return static_cast<double>(bytes) / (1 << 20);
}
}  // namespace

int64_t available_memory() {
    std::ifstream info("/proc/meminfo");
    std::string field, unit;
    int64_t kib = 0;
    while (info >> field >> kib >> unit)
        if (field == "MemAvailable:") return kib * 1024;
    return std::numeric_limits<int64_t>::max();
}

void require_memory(int64_t bytes, int64_t batch, const std::function<int64_t(int64_t)>& bytes_for) {
    const int64_t available = available_memory();
    if (bytes <= available) return;
    int64_t fits = 0, too_large = batch;
    while (too_large - fits > 1) {
        const int64_t middle = fits + (too_large - fits) / 2;
        (bytes_for(middle) <= available ? fits : too_large) = middle;
    }
    const std::string advice = fits > 0 ? fmt::format("the largest batch that fits is {}", fits)
                                        : "not even one sequence fits: use shorter ones or a smaller model";
    fail(ExitCode::storage, "a batch of {} needs {:.0f} MiB for activations, {:.0f} MiB are free; {}", batch,
         mib(bytes), mib(available), advice);
}

std::string MemoryPlan::table(int64_t batch) const {
    const int64_t model_bytes = parameter_count * static_cast<int64_t>(sizeof(float));
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
    line("parameters", model_bytes), text += '\n';
    if (pass == Pass::training) line("gradients", model_bytes), text += '\n';
    for (const auto& group : groups)
        line(group.name, group.bytes), text += fmt::format("{:>16.3f}\n", mib(group.bytes) / sequences);
    line("all activations", activation_bytes),
        text += fmt::format("{:>16.3f}\n", mib(activation_bytes) / sequences);
    line("in all", activation_bytes + (pass == Pass::training ? 2 : 1) * model_bytes), text += '\n';
    return text;
}

}  // namespace templar
