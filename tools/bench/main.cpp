// bench: how fast this machine runs the engine, and how near that is to what the machine can do.
#include "base/error.h"
#include "tools/bench/bench.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace templar::bench {

Result measure(const std::function<void()>& step, double seconds, TimeBase base, int threads) {
    using Clock = std::chrono::steady_clock;
    step();
    std::vector<double> times;
    for (double total = 0; total < seconds || times.size() < 3;) {
        const auto start = Clock::now();
        const std::clock_t processor_start = std::clock();
        step();
        const double processor = static_cast<double>(std::clock() - processor_start) / CLOCKS_PER_SEC;
        const double wall = std::chrono::duration<double>(Clock::now() - start).count();
        times.push_back(base == TimeBase::wall ? wall : processor / threads);
        total += wall;
    }
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() / 2], static_cast<int64_t>(times.size())};
}

std::vector<float> random_values(int64_t n, uint64_t seed) {
    std::vector<float> values(static_cast<size_t>(n));
    uint32_t state = static_cast<uint32_t>(seed) * 2654435769u + 1;
    for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    }
    return values;
}

namespace {

struct Ceilings {
    double flops = 0;  // per second, matrix product 2048 x 2048 x 2048
    double bytes = 0;  // per second, copy of 128 MiB: read and written
};

Ceilings measure_ceilings(const Context& context, double seconds, TimeBase base) {
    constexpr int64_t edge = 2048, count = int64_t{32} << 20;
    Stream stream = context.stream;
    std::vector<float> a = random_values(edge * edge, 1), b = random_values(edge * edge, 2), c(a.size());
    const auto matmul = [&] {
        context.ops.matmul(stream, Tensor(c.data(), {edge, edge}), Tensor(a.data(), {edge, edge}), false,
                           Tensor(b.data(), {edge, edge}), true, false);
    };
    std::vector<float> from = random_values(count, 3), to(from.size());
    const auto copy = [&] {
        const int64_t share = count / stream.threads;
#pragma omp parallel for num_threads(stream.threads) schedule(static)
        for (int64_t part = 0; part < stream.threads; ++part)
            std::copy_n(from.data() + part * share, share, to.data() + part * share);
    };
    return {2.0 * edge * edge * edge / measure(matmul, seconds, base, stream.threads).best,
            2.0 * sizeof(float) * count / measure(copy, seconds, base, stream.threads).best};
}

std::vector<Case> all_cases() {
    return model_cases();
}

std::vector<Case> chosen_cases(const std::vector<std::string>& names) {
    std::vector<Case> chosen;
    const std::vector<Case> all = all_cases();
    for (const std::string& name : names) {
        const auto found =
            std::find_if(all.begin(), all.end(), [&](const Case& c) { return c.name == name; });
        if (found == all.end())
            fail(ExitCode::usage, "no case is called '{}'; bench --list prints them", name);
        chosen.push_back(*found);
    }
    return names.empty() ? all : chosen;
}

struct Options {
    std::vector<std::string> names;
    bool list = false, json = false, processor_time = false;
    int threads = 0;
    double seconds = 1.0;
    std::string isa = "auto";
};

void run(const Options& options) {
    if (options.list) {
        for (const Case& c : all_cases())
            fmt::print("{:<20} {:<8} {}\n", c.name, c.bound == Bound::compute ? "compute" : "memory",
                       c.measures);
        return;
    }
    const std::vector<Case> cases = chosen_cases(options.names);
    const Context context{cpu_ops(options.isa.c_str()), Stream{usable_threads(options.threads)}};
    const TimeBase base = options.processor_time ? TimeBase::processor : TimeBase::wall;
    const Ceilings ceilings = measure_ceilings(context, options.seconds, base);
    nlohmann::json report = {{"ops", context.ops.name},
                             {"threads", context.stream.threads},
                             {"time", options.processor_time ? "processor" : "wall"},
                             {"matmul_2048_gflops", ceilings.flops * 1e-9},
                             {"copy_gbytes", ceilings.bytes * 1e-9},
                             {"cases", nlohmann::json::array()}};
    if (!options.json) {
        fmt::print("{}, {} threads; ceilings: matrix product 2048³ {:.1f} GFLOP/s, copy {:.1f} GB/s\n\n",
                   context.ops.name, context.stream.threads, ceilings.flops * 1e-9, ceilings.bytes * 1e-9);
        fmt::print("{:<20} {:>10} {:>10} {:>18} {:>9}\n", "case", "best ms", "median ms", "rate", "ceiling");
    }
    for (const Case& c : cases) {
        const Prepared prepared = c.prepare(context);
        const Result time = measure(prepared.step, options.seconds, base, context.stream.threads);
        const bool compute = c.bound == Bound::compute;
        const double rate = (compute ? prepared.flops : prepared.bytes) / time.best;
        const double share = rate / (compute ? ceilings.flops : ceilings.bytes);
        if (options.json) {
            report["cases"].push_back({{"name", c.name},
                                       {"best_ms", time.best * 1e3},
                                       {"median_ms", time.median * 1e3},
                                       {"repetitions", time.repetitions},
                                       {compute ? "gflops" : "gbytes", rate * 1e-9},
                                       {"share_of_ceiling", share}});
            if (prepared.items > 0)
                report["cases"].back()[prepared.item + "_per_second"] = prepared.items / time.best;
            continue;
        }
        fmt::print("{:<20} {:>10.3f} {:>10.3f} {:>11.1f} {:<6} {:>8.1f}%", c.name, time.best * 1e3,
                   time.median * 1e3, rate * 1e-9, compute ? "GFLOP/s" : "GB/s", share * 100);
        if (prepared.items > 0) fmt::print("  {:.0f} {}/s", prepared.items / time.best, prepared.item);
        fmt::print("\n");
    }
    if (options.json) fmt::print("{}\n", report.dump(2));
}

}  // namespace

}  // namespace templar::bench

int main(int argc, char** argv) {
    using namespace templar;
    bench::Options options;
    CLI::App app("Measures the engine's operations against this machine's ceilings.");
    app.add_option("case", options.names, "cases to run (default: all)");
    app.add_flag("--list", options.list, "print the cases and what each measures");
    app.add_flag("--json", options.json, "print the figures as JSON");
    app.add_flag("--processor-time", options.processor_time,
                 "count processor time divided by threads, not wall time: for a machine shared with others");
    app.add_option("--threads", options.threads, "threads (default: all processors this process may use)")
        ->check(CLI::Range(1, 1024));
    app.add_option("--seconds", options.seconds, "how long to repeat each case")
        ->check(CLI::Range(0.0, 3600.0));
    app.add_option("--isa", options.isa, "instruction set: auto, avx512, avx2 or portable");
    try {
        app.parse(argc, argv);
        bench::run(options);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? 0 : static_cast<int>(ExitCode::usage);
    } catch (const Error& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return static_cast<int>(error.code());
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return static_cast<int>(ExitCode::internal);
    }
    return 0;
}
