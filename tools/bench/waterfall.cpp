// Where a training step's time goes: every call of an operation in real steps, between two events of its stream.
#include "kernels/cases/operations.h"
#include "kernels/cases/with_table.h"
#include "tools/bench/bench.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <type_traits>

namespace templar::bench {

namespace {

// A call's arguments without their names.
struct Arguments {
    std::vector<Tensor> tensors;
    std::vector<double> numbers;

    template <class Argument>
    void add(const Argument& argument) {
        if constexpr (std::is_same_v<Argument, Tensor>) tensors.push_back(argument);
        if constexpr (std::is_arithmetic_v<Argument>) numbers.push_back(static_cast<double>(argument));
    }
};

// What the call must do at least: floating-point operations, or bytes read and written.
struct Cost {
    Bound bound;
    double work;
};

struct Inner {
    double m, n, k;
};
Inner inner(const Arguments& a) {
    const auto m = static_cast<double>(a.tensors[0].rows());
    return {m, static_cast<double>(a.tensors[0].last()), static_cast<double>(a.tensors[1].numel()) / m};
}

Cost cost_of(std::string_view op, const Arguments& a) {
    const auto bytes = [&](size_t i) { return static_cast<double>(a.tensors[i].bytes()); };
    const auto extent = [&](size_t i, size_t dimension) { return static_cast<double>(a.tensors[i].shape[dimension]); };
    if (op == "matmul") {
        const auto [m, n, k] = inner(a);
        return {Bound::compute, 2 * m * n * k};
    }
    // Half of the (T, T) scores; two products forward, five backward.
    const auto attention = [&](size_t out, double products) {
        return Cost{Bound::compute,
                    products * extent(out, 0) * extent(out, 1) * extent(out, 1) * extent(out, 2) * extent(out, 3)};
    };
    if (op == "attention_forward") return attention(0, 2);
    if (op == "attention_backward") return attention(2, 5);
    if (op == "loss_eval") return {Bound::compute, 2.0 * static_cast<double>(a.tensors[2].numel()) * extent(3, 0)};
    // Of the table only the rows of the batch.
    if (op == "embedding_forward") return {Bound::memory, 2 * bytes(0) + bytes(2)};
    if (op == "embedding_backward")
        return {Bound::memory, bytes(1) + 2.0 * sizeof(float) * static_cast<double>(a.tensors[1].numel()) + bytes(2)};
    // The heads that are rotated, in place.
    if (op == "rope_forward" || op == "rope_backward")
        return {Bound::memory, 2 * bytes(0) * a.numbers[0] / extent(0, 2)};
    double all = 0;
    for (size_t i = 0; i < a.tensors.size(); ++i) all += bytes(i);
    if (op == "rmsnorm_backward" || op == "cross_entropy_fused") all += bytes(1);  // read and written
    if (op == "adamw") all += bytes(0) + bytes(2) + bytes(3);
    return {Bound::memory, all};
}

std::string shape_of(std::string_view op, const Arguments& a) {
    if (op == "matmul") {
        const auto [m, n, k] = inner(a);
        return fmt::format("{}x{}x{} {}{}{}", m, n, k, a.numbers[0] != 0 ? 't' : 'n', a.numbers[1] != 0 ? 't' : 'n',
                           a.numbers[2] != 0 ? " +=" : "");
    }
    if (op == "adamw") return "";  // ranges of many lengths, one operation
    std::string text;
    const Tensor& first = a.tensors[op == "embedding_backward" ? 1 : 0];
    for (int i = 0; i < first.rank; ++i) text += fmt::format("{}{}", i == 0 ? "" : "x", first.shape[i]);
    return text;
}

// The calls of a few steps.
class Recorder {
  public:
    Recorder(Device& device, Stopwatch& stopwatch) : device_(device), stopwatch_(stopwatch), ops_(device.ops()) {}

    const Ops& ops() const { return ops_; }
    void begin(std::string_view op, const Arguments& arguments) {
        if (used_ == calls_.size()) calls_.emplace_back();
        Call& call = calls_[used_++];
        const std::string shape = shape_of(op, arguments);
        call.group = fmt::format("{}{}{}", op, shape.empty() ? "" : " ", shape);
        call.cost = cost_of(op, arguments);
        stopwatch_.set(call.start);
    }
    void end() { stopwatch_.set(calls_[used_ - 1].end); }

    struct Group {
        int64_t calls = 0;
        double seconds = 0;
        Cost cost{Bound::memory, 0};  // of all calls
    };
    // Waits for one step's calls, and adds them.
    void finish_step() {
        device_.wait(device_.stream());
        for (size_t i = 0; i < used_; ++i) {
            Group& group = groups_[calls_[i].group];
            ++group.calls;
            group.seconds += stopwatch_.between(calls_[i].start, calls_[i].end);
            group.cost.bound = calls_[i].cost.bound;
            group.cost.work += calls_[i].cost.work;
        }
        used_ = 0;
        ++steps_;
    }
    void forget() {
        groups_.clear();
        steps_ = 0;
    }
    int64_t steps() const { return steps_; }
    const std::map<std::string, Group>& groups() const { return groups_; }

  private:
    struct Call {
        std::string group;
        Cost cost{Bound::memory, 0};
        Mark start, end;
    };
    Device& device_;
    Stopwatch& stopwatch_;
    const Ops& ops_;
    std::vector<Call> calls_;  // and their marks, used again in every step
    size_t used_ = 0;
    int64_t steps_ = 0;
    std::map<std::string, Group> groups_;
};

Recorder* recorder = nullptr;  // of the waterfall that runs: a table's functions have no other way to find it

template <auto slot>
struct Timed;
template <class Result, class... Parameters, Result (*Ops::*slot)(Stream&, Parameters...)>
struct Timed<slot> {
    static inline const char* name = "";
    static Result call(Stream& stream, Parameters... parameters) {
        Arguments arguments;
        (arguments.add(parameters), ...);
        recorder->begin(name, arguments);
        if constexpr (std::is_void_v<Result>) {
            (recorder->ops().*slot)(stream, parameters...);
            recorder->end();
        } else {
            const Result result = (recorder->ops().*slot)(stream, parameters...);
            recorder->end();
            return result;
        }
    }
};

Ops timed_table(const Ops& ops) {
    Ops table = ops;
#define TIME(slot)                    \
    Timed<& Ops::slot>::name = #slot; \
    table.slot = Timed<&Ops::slot>::call;
    TEMPLAR_OPERATIONS(TIME)
#undef TIME
    return table;
}

struct Row {
    std::string name;
    double calls, seconds, rate, share, bound_seconds;  // of one step
    Bound bound;
};

std::vector<Row> rows_of(const Recorder& recorded, const Ceilings& ceilings) {
    std::vector<Row> rows;
    const auto steps = static_cast<double>(recorded.steps());
    for (const auto& [name, group] : recorded.groups()) {
        const double ceiling = ceilings.of(group.cost.bound), rate = group.cost.work / group.seconds;
        rows.push_back({name, static_cast<double>(group.calls) / steps, group.seconds / steps, rate, rate / ceiling,
                        group.cost.work / ceiling / steps, group.cost.bound});
    }
    std::ranges::sort(rows, std::ranges::greater{}, &Row::seconds);
    return rows;
}

void describe(Figure& figure, const std::vector<Row>& rows, double tokens) {
    const double step = figure.time.median;
    double all = 0, bound = 0;
    figure.text += fmt::format("\n    {:<40} {:>6} {:>10} {:>7} {:>15} {:>9} {:>10}\n", "operation", "calls", "ms",
                               "step", "rate", "ceiling", "beyond ms");
    for (const Row& row : rows) {
        all += row.seconds;
        bound += row.bound_seconds;
        figure.text +=
            fmt::format("    {:<40} {:>6} {:>10.3f} {:>6.1f}% {:>15} {:>8.1f}% {:>10.3f}\n", row.name, row.calls,
                        row.seconds * 1e3, row.seconds / step * 100, rate_text(row.bound, row.rate), row.share * 100,
                        (row.seconds - row.bound_seconds) * 1e3);
        figure.details["operations"].push_back({{"name", row.name},
                                                {"calls", row.calls},
                                                {"ms", row.seconds * 1e3},
                                                {"share_of_ceiling", row.share},
                                                {"ms_at_ceiling", row.bound_seconds * 1e3}});
    }
    figure.details["operations_ms"] = all * 1e3;
    figure.details["ms_at_ceilings"] = bound * 1e3;
    figure.text += fmt::format(
        "    operations {:.3f} ms, between them {:.3f} ms, the step {:.3f} ms (median, not instrumented)\n"
        "    with every operation at its measured ceiling {:.3f} ms: {:.0f} tokens/s",
        all * 1e3, (step - all) * 1e3, step * 1e3, bound * 1e3, tokens / bound);
}

}  // namespace

Figure waterfall(const Context& context) {
    Recorder calls(context.device, context.stopwatch);
    recorder = &calls;
    const Ops table = timed_table(context.device.ops());
    WithTable timed(context.device, table);

    Figure figure;
    {
        Training training(context.device, context.model);
        figure.time = context.stopwatch.measure([&] { training.step(); });
        figure.work = training.flops(true);
        figure.items = static_cast<double>(training.tokens());
        figure.item = "tokens";
        add_utilisation(figure, context, training.flops(true), training.flops(false));
    }
    Training training(timed, context.model);
    training.step();
    calls.finish_step();
    calls.forget();
    context.stopwatch.measure([&] {
        training.step();
        calls.finish_step();
    });
    describe(figure, rows_of(calls, context.ceilings), figure.items);
    return figure;
}

}  // namespace templar::bench
