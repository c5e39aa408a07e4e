// bench: how fast this machine runs the engine, and how near that is to what the machine can do.
#include "base/error.h"
#include "tools/bench/bench.h"
#include "tools/program.h"
#include "weights/presets.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace templar::bench {

namespace {

struct Options {
    std::vector<std::string> names;
    bool all = false, list = false, json = false, processor_time = false;
    DeviceChoice device;
    std::string isa = "auto", shape = "auto", preset;
    int64_t batch = 0, seq = 0;
    double seconds = 1.0;
};

std::unique_ptr<Device> open(const Options& options) {
    if (options.isa == "auto") return open_device(options.device);
    DeviceChoice cpu = options.device;
    if (cpu.name == "auto") cpu.name = "cpu";
    if (cpu.name != "cpu")
        fail(ExitCode::usage, "--isa {} is a choice among the CPU's tables: expected --device cpu", options.isa);
    open_device(cpu);  // refuses a --dtype that the CPU has not
    return cpu_device(cpu.threads, options.isa.c_str());
}

CaseSizes sizes_of(const Options& options, const Device& device) {
    if (options.shape == "auto") return device.shares_host_memory() ? CaseSizes::laptop : CaseSizes::model;
    return options.shape == "1b" ? CaseSizes::model : options.shape == "laptop" ? CaseSizes::laptop : CaseSizes::small;
}

ModelShape model_of(const Options& options, CaseSizes sizes) {
    ModelShape shape;
    if (options.preset.empty() && sizes == CaseSizes::laptop) {
        // A model that a laptop trains in minutes.
        shape = {"laptop",
                 {.vocab_size = 4096,
                  .hidden_size = 384,
                  .intermediate_size = 1024,
                  .layers = 6,
                  .heads = 6,
                  .kv_heads = 6,
                  .head_dim = 64},
                 8,
                 256};
    } else {
        const bool small = options.preset.empty() && sizes == CaseSizes::small;
        const Preset& preset = find_preset(!options.preset.empty() ? options.preset : small ? "tiny" : "templar-1b");
        shape = {std::string(preset.name), preset.model, small ? 2 : 16, preset.seq};
    }
    if (options.batch > 0) shape.batch = options.batch;
    if (options.seq > 0) shape.seq = options.seq;
    return shape;
}

std::vector<Case> all_cases(const Device& device, CaseSizes sizes, const ModelShape& model) {
    std::vector<Case> cases = operation_cases(device, sizes);
    for (auto more : {model_cases, swarm_cases})
        std::ranges::move(more(model, device.compute_type()), std::back_inserter(cases));
    return cases;
}

// A name means one case, or every case below it: "matmul" all of matmul/….
bool means(const std::string& name, const Case& what) {
    return what.name == name || what.name.starts_with(name + "/");
}

std::vector<Case> chosen_cases(const std::vector<Case>& cases, const Options& options) {
    if (options.names.empty() && !options.all)
        fail(ExitCode::usage, "expected names of cases, or --all; bench --list prints them");
    if (options.names.empty()) return cases;
    std::vector<Case> chosen;
    for (const std::string& name : options.names) {
        const size_t before = chosen.size();
        std::ranges::copy_if(cases, std::back_inserter(chosen), [&](const Case& what) { return means(name, what); });
        if (chosen.size() == before) fail(ExitCode::usage, "no case is called '{}'; bench --list prints them", name);
    }
    return chosen;
}

void print_row(const std::string& name, const Figure& figure, const Ceilings& ceilings) {
    const double rate = figure.work / figure.time.best;
    fmt::print("{:<38} {:>11.4f} {:>11.4f} {:>16} {:>8}", name, figure.time.best * 1e3, figure.time.median * 1e3,
               figure.work > 0 ? rate_text(figure.bound, rate) : "",
               figure.work > 0 ? fmt::format("{:.1f}%", rate / ceilings.of(figure.bound) * 100) : "");
    if (!figure.item.empty()) fmt::print("  {} {}/s", short_count(figure.items / figure.time.best), figure.item);
    fmt::print("\n");
    if (!figure.text.empty()) fmt::print("{}\n", figure.text);
    std::fflush(stdout);
}

nlohmann::json as_json(const std::string& name, const Figure& figure, const Ceilings& ceilings) {
    nlohmann::json object = {{"name", name},
                             {"best_ms", figure.time.best * 1e3},
                             {"median_ms", figure.time.median * 1e3},
                             {"repetitions", figure.time.repetitions}};
    if (figure.work > 0) {
        const double rate = figure.work / figure.time.best;
        object[figure.bound == Bound::compute ? "gflops" : "gbytes"] = rate * 1e-9;
        object["share_of_ceiling"] = rate / ceilings.of(figure.bound);
    }
    if (!figure.item.empty()) object[figure.item + "_per_second"] = figure.items / figure.time.best;
    object.update(figure.details);
    return object;
}

int list_cases(const std::vector<Case>& cases) {
    for (const Case& what : cases)
        fmt::print("{:<38} {:<8} {}\n", what.name, what.bound == Bound::compute ? "compute" : "memory", what.measures);
    return 0;
}

// Why a case cannot run here; empty when it can.
std::string obstacle(const Case& what, const Device& device) {
    if (what.bytes <= device.free_bytes()) return "";
    constexpr double gib = 1 << 30;
    return fmt::format("needs {:.1f} GiB, {:.1f} are free", static_cast<double>(what.bytes) / gib,
                       static_cast<double>(device.free_bytes()) / gib);
}

int run(const Options& options) {
    const std::unique_ptr<Device> device = open(options);
    const CaseSizes sizes = sizes_of(options, *device);
    const ModelShape model = model_of(options, sizes);
    const std::vector<Case> all = all_cases(*device, sizes, model);
    if (options.list) return list_cases(options.names.empty() ? all : chosen_cases(all, options));
    const std::vector<Case> cases = chosen_cases(all, options);

    Stopwatch stopwatch(*device, options.seconds, options.processor_time ? TimeBase::processor : TimeBase::wall);
    const Context context{*device, stopwatch, measure_ceilings(*device, stopwatch), model};
    const Ceilings& ceilings = context.ceilings;
    const char* const time = !device->shares_host_memory() ? "device events"
                             : options.processor_time      ? "processor"
                                                           : "wall";
    nlohmann::json report = {{"device", device->description()},
                             {"dtype", name_of(device->compute_type())},
                             {"time", time},
                             {"matmul_edge", ceilings.edge},
                             {"matmul_gflops", ceilings.flops * 1e-9},
                             {"copy_gbytes", ceilings.bytes * 1e-9},
                             {"read_gbytes", ceilings.read * 1e-9},
                             {"cases", nlohmann::json::array()}};
    if (!options.json) {
        fmt::print("{}; time: {}; ceilings: matrix product {}³ {}, copy {}{}\n\n", device->description(), time,
                   ceilings.edge, rate_text(Bound::compute, ceilings.flops), rate_text(Bound::memory, ceilings.bytes),
                   ceilings.read > 0 ? ", read " + rate_text(Bound::memory, ceilings.read) : "");
        fmt::print("{:<38} {:>11} {:>11} {:>16} {:>8}\n", "case", "best ms", "median ms", "rate", "ceiling");
    }
    for (const Case& what : cases) {
        if (stop_requested()) return static_cast<int>(ExitCode::interrupted);
        if (const std::string why = obstacle(what, *device); !why.empty()) {
            report["cases"].push_back({{"name", what.name}, {"skipped", why}});
            if (!options.json) fmt::print("{:<38} skipped: {}\n", what.name, why);
            continue;
        }
        const Figure figure = what.run(context);
        report["cases"].push_back(as_json(what.name, figure, ceilings));
        if (!options.json) print_row(what.name, figure, ceilings);
    }
    if (options.json) fmt::print("{}\n", report.dump(2));
    return 0;
}

}  // namespace

}  // namespace templar::bench

int main(int argc, char** argv) {
    using namespace templar;
    const auto define = [](CLI::App& app) -> std::function<int()> {
        auto options = std::make_shared<bench::Options>();
        app.add_option("case", options->names, "cases to run: an operation, operation/shape, or a name of --list")
            ->default_str("");
        app.add_flag("--all", options->all, "run every case");
        app.add_flag("--list", options->list, "print the cases, or those of these names, and what each measures");
        app.add_flag("--json", options->json, "print the figures as JSON");
        app.add_option("--device", options->device.name, "auto, cpu, cuda or cuda:INDEX");
        app.add_option("--dtype", options->device.dtype, "type of activations: auto, f32 or bf16");
        app.add_option("--isa", options->isa, "the CPU's instruction set: auto, avx512, avx2 or portable");
        app.add_option("--threads", options->device.threads, "on the CPU; 0: all processors this process may use")
            ->check(CLI::Range(0, 1024));
        app.add_option("--shape", options->shape, "sizes: 1b (auto on a GPU), laptop (auto on the CPU) or small")
            ->check(CLI::IsMember({"auto", "1b", "laptop", "small"}));
        app.add_option("--preset", options->preset, "model of the whole-model cases, of " + preset_names());
        app.add_option("--batch", options->batch, "its sequences in a step")->check(CLI::Range(1, 1 << 20));
        app.add_option("--seq", options->seq, "its tokens in a sequence")->check(CLI::Range(1, 1 << 20));
        app.add_option("--seconds", options->seconds, "how long to repeat each case")->check(CLI::Range(0.0, 3600.0));
        app.add_flag("--processor-time", options->processor_time,
                     "on the CPU: processor time divided by threads, not wall time, for a machine shared with others");
        return [options] { return bench::run(*options); };
    };
    return run_program(argc, argv, "bench", "Measures the engine's operations against this machine's ceilings.",
                       define);
}
