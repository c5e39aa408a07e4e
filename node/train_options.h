// What a training run on one machine is made of, and what of it must not change when it is resumed.
#pragma once

#include "base/sha256.h"
#include "engine/model/config.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "kernels/device.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace templar {

enum class OptimizerKind { adamw, sgd };
enum class DecayOn { matrices, all, none };  // matrices: 2-D tensors, which the embedding and the head are too
// random: sequences drawn by a generator keyed by (seed, step). sequential: as the offset and the strides say.
enum class DataOrder { random, sequential };

struct TrainOptions {
    LlamaConfig model;
    int64_t seq = 128;
    int64_t micro_batch = 8;    // sequences per forward and backward
    int64_t micro_batches = 1;  // per step
    int64_t steps = 1000;
    uint64_t seed = 42;  // of genesis weights and of the order of the data

    Digest data{};  // names what is trained on
    DataOrder order = DataOrder::random;
    // sequential: row r of step s is the seq inputs and the last target from token offset + s·stride + r·row_stride on.
    int64_t offset = 0, stride = 0, row_stride = 0;
    int32_t end_token = -1, heldout_end_token = -1;  // not a target; -1: every token is one

    OptimizerKind optimizer = OptimizerKind::adamw;
    float beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;  // adamw
    float momentum = 0;                              // sgd
    float weight_decay = 0.1f;                       // adamw: decoupled; sgd: coupled (engine/optim/sgd.h)
    DecayOn decay_on = DecayOn::matrices;
    float clip = 1.0f;  // of the gradient's global norm; 0: none
    TrainSchedule schedule{.warmup_steps = 50, .decay_begin = 50, .decay_steps = 950};

    int64_t checkpoint_steps = 100;
    int64_t eval_steps = 50;      // held-out loss every so many steps, before the first and after the last; 0: never
    int64_t eval_sequences = 64;  // spread over the held-out tokens; 0: all
    DeviceChoice device{.name = "cpu"};
    std::filesystem::path folder;        // config.json, tokenizer.json, checkpoint.safetensors, events.jsonl
    std::filesystem::path tokenizer;     // copied into the folder; empty: none
    int64_t max_positions = 0;           // for config.json; at least seq
    int32_t begin_id = -1, end_id = -1;  // for config.json
    std::string origin;                  // of the first weights, for people

    int64_t rows() const { return micro_batch * micro_batches; }  // sequences of a step
    int64_t step_tokens() const { return rows() * seq; }
};

// The optimiser that the options ask for.
std::unique_ptr<Optimizer> make_optimizer(Device& device, const TrainOptions& options);
// fp32 arrays as long as the parameters that it keeps.
int64_t optimizer_arrays(const TrainOptions& options);

// What a checkpoint says of the run it belongs to, as JSON: everything that its weights depend on. first_weights:
// SHA-256 of the weights that were given; all zero for genesis weights, which the model and the seed say.
std::string kept_options(const TrainOptions& options, DType compute, const Digest& first_weights);

// Throws Error(usage), naming the option that differs, unless going on after `step` steps with the options of `now`
// gives what a run with them from the start would have given. So the schedule may change from here on (a longer
// --steps), its past may not. `what` names the checkpoint.
void require_same_past(std::string_view kept, std::string_view now, int64_t step, std::string_view what);

}  // namespace templar
