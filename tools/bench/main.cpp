// bench: how fast this machine runs the engine, and how near that is to what the machine can do.
#include "base/error.h"
#include "tools/bench/bench.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace templar::bench {

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
        constexpr int64_t piece = 1 << 16;
#pragma omp parallel for num_threads(stream.threads) schedule(static)
        for (int64_t begin = 0; begin < count; begin += piece) std::copy_n(&from[begin], piece, &to[begin]);
    };
    return {2.0 * edge * edge * edge / measure(matmul, seconds, base, stream.threads).best,
            2.0 * sizeof(float) * count / measure(copy, seconds, base, stream.threads).best};
}

std::vector<Case> all_cases() {
    std::vector<Case> cases = model_cases();
    for (auto more : {compress_cases}) std::ranges::move(more(), std::back_inserter(cases));
    return cases;
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
    TimeBase base() const { return processor_time ? TimeBase::processor : TimeBase::wall; }
};

// A case's figures: its rate in FLOP/s or bytes/s, and what share of the ceiling that is.
struct Row {
    const Case& what;
    Result time;
    double rate, share;
    double items_per_second;
    std::string item;
};

Row run_case(const Case& c, const Context& context, const Ceilings& ceilings, const Options& options) {
    const Prepared prepared = c.prepare(context);
    const Result time = measure(prepared.step, options.seconds, options.base(), context.stream.threads);
    const bool compute = c.bound == Bound::compute;
    const double rate = (compute ? prepared.flops : prepared.bytes) / time.best;
    return {c,
            time,
            rate,
            rate / (compute ? ceilings.flops : ceilings.bytes),
            prepared.items / time.best,
            prepared.item};
}

void print_row(const Row& row) {
    const char* unit = row.what.bound == Bound::compute ? "GFLOP/s" : "GB/s";
    fmt::print("{:<20} {:>10.3f} {:>10.3f} {:>11.1f} {:<7} {:>7.1f}%", row.what.name, row.time.best * 1e3,
               row.time.median * 1e3, row.rate * 1e-9, unit, row.share * 100);
    if (!row.item.empty()) fmt::print("  {} {}/s", short_count(row.items_per_second), row.item);
    fmt::print("\n");
    std::fflush(stdout);
}

nlohmann::json as_json(const Row& row) {
    nlohmann::json object = {{"name", row.what.name},
                             {"best_ms", row.time.best * 1e3},
                             {"median_ms", row.time.median * 1e3},
                             {"repetitions", row.time.repetitions},
                             {row.what.bound == Bound::compute ? "gflops" : "gbytes", row.rate * 1e-9},
                             {"share_of_ceiling", row.share}};
    if (!row.item.empty()) object[row.item + "_per_second"] = row.items_per_second;
    return object;
}

int list_cases() {
    for (const Case& c : all_cases())
        fmt::print("{:<20} {:<8} {}\n", c.name, c.bound == Bound::compute ? "compute" : "memory", c.measures);
    return 0;
}

int run(const Options& options) {
    if (options.list) return list_cases();
    const std::vector<Case> cases = chosen_cases(options.names);
    const Context context{cpu_ops(options.isa.c_str()), Stream{usable_threads(options.threads)}};
    const Ceilings ceilings = measure_ceilings(context, options.seconds, options.base());
    nlohmann::json report = {{"ops", context.ops.name},
                             {"threads", context.stream.threads},
                             {"time", options.processor_time ? "processor" : "wall"},
                             {"matmul_2048_gflops", ceilings.flops * 1e-9},
                             {"copy_gbytes", ceilings.bytes * 1e-9},
                             {"cases", nlohmann::json::array()}};
    if (!options.json) {
        fmt::print("{}, {} threads; ceilings: matrix product 2048³ {:.1f} GFLOP/s, copy {:.1f} GB/s\n\n",
                   context.ops.name, context.stream.threads, ceilings.flops * 1e-9, ceilings.bytes * 1e-9);
        fmt::print("{:<20} {:>10} {:>10} {:>19} {:>8}\n", "case", "best ms", "median ms", "rate", "ceiling");
    }
    for (const Case& c : cases) {
        if (stop_requested()) return static_cast<int>(ExitCode::interrupted);
        const Row row = run_case(c, context, ceilings, options);
        if (options.json)
            report["cases"].push_back(as_json(row));
        else
            print_row(row);
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
        app.add_option("case", options->names, "cases to run (default: all)")->default_str("");
        app.add_flag("--list", options->list, "print the cases and what each measures");
        app.add_flag("--json", options->json, "print the figures as JSON");
        app.add_option("--threads", options->threads, "threads; 0: all processors this process may use")
            ->check(CLI::Range(0, 1024));
        app.add_option("--seconds", options->seconds, "how long to repeat each case")
            ->check(CLI::Range(0.0, 3600.0));
        app.add_option("--isa", options->isa, "instruction set: auto, avx512, avx2 or portable");
        app.add_flag(
            "--processor-time", options->processor_time,
            "count processor time divided by threads, not wall time: for a machine shared with others");
        return [options] { return bench::run(*options); };
    };
    return run_program(argc, argv, "bench",
                       "Measures the engine's operations against this machine's ceilings.", define);
}
