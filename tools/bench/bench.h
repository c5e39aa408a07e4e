// What the bench's cases share: how time is taken, what speed is held against, what a case reports.
#pragma once

#include "engine/model/config.h"
#include "kernels/cases/op_case.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace templar::bench {

// On the CPU: the clock on the wall, or the processor time of all threads divided by their number. The second is the
// fairer one while other programs use the machine; it does not see a thread that waits. A GPU's time is that of its own
// events.
enum class TimeBase { wall, processor };

// Seconds for one step. `best` is the figure to compare.
struct Timing {
    double best = 0, median = 0;
    int64_t repetitions = 0;
};

// A point of a stream's work.
struct Mark {
    std::unique_ptr<Device::Event> event;  // on a GPU
    double seconds = 0;                    // on the CPU
};

// Repeats steps on a device.
class Stopwatch {
  public:
    Stopwatch(Device& device, double seconds, TimeBase base);
    void set(Mark& mark);
    // After the device has done both.
    double between(const Mark& from, const Mark& to) const;
    // `step` enqueues work; it is repeated for about `seconds` after two steps to warm up, at least three times.
    // `cold`: on a GPU its cache holds nothing of the step's when it starts.
    Timing measure(const std::function<void()>& step, bool cold = false);
    // The same for work of the host alone, on one thread.
    Timing measure_host(const std::function<void()>& step) const;

  private:
    Timing repeat_on_host(const std::function<void()>& step, int threads) const;
    double processor_or_wall(int threads) const;
    std::vector<double> measure_group(const std::function<void()>& step, bool cold, size_t repetitions);

    Device& device_;
    double seconds_;
    TimeBase base_;
    DeviceMemory flush_;  // larger than a GPU's L2 cache; none on the CPU
    std::vector<Mark> marks_;
};

// Measured in the same run, on random normal values.
struct Ceilings {
    int64_t edge = 0;  // of the square matrix product
    double flops = 0;  // per second, of that product in the compute type
    double bytes = 0;  // per second, of a copy: read and written
    double read = 0;   // bytes per second that are read alone, on the CPU: what bounds a single token
    double of(Bound bound) const { return bound == Bound::compute ? flops : bytes; }
};
Ceilings measure_ceilings(Device& device, Stopwatch& stopwatch);

// "12.3 TFLOP/s": work per second in a unit that fits.
std::string rate_text(Bound bound, double per_second);

// The model of the whole-model cases.
struct ModelShape {
    std::string name;
    LlamaConfig config;
    int64_t batch, seq;
};

struct Context {
    Device& device;
    Stopwatch& stopwatch;
    Ceilings ceilings;
    ModelShape model;
};

// What a case found. `work` is that of one step: floating-point operations or bytes, as `bound` says; 0: none is
// stated.
struct Figure {
    Timing time;
    Bound bound = Bound::compute;
    double work = 0;
    double items = 0;
    std::string item = "";
    nlohmann::json details = nlohmann::json::object();  // what only this case has
    std::string text = "";                              // the same for people, printed below its row
};

struct Case {
    std::string name;      // an operation's: op/shape
    std::string measures;  // one line for --list
    Bound bound;
    int64_t bytes;  // of device memory
    std::function<Figure(const Context&)> run;
};

std::vector<Case> operation_cases(const Device& device, CaseSizes sizes);  // operations.cpp
std::vector<Case> model_cases(const ModelShape& model, DType compute);     // model.cpp: a training step, losses
std::vector<Case> swarm_cases(const ModelShape& model, DType compute);     // swarm.cpp: compression, update, checks
Figure waterfall(const Context& context);                                  // waterfall.cpp

// A model ready to train, with every buffer on the device.
class Training {
  public:
    Training(Device& device, const ModelShape& shape);
    ~Training();
    void step();
    double flops(bool causal_half) const;  // of one step
    int64_t tokens() const;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

// Tokens per second and, on a known GPU in bf16, model FLOPs utilisation in both conventions: into `figure`.
void add_utilisation(Figure& figure, const Context& context, double causal_flops, double palm_flops);

}  // namespace templar::bench
