// What the log of `train` tells: read it into a model, then summarise it as JSON or as one self-contained HTML page.
#pragma once

#include "node/report.h"

#include <optional>

namespace templar {

// One step; what the log lacks stays no_value.
struct TrainLine {
    int64_t step = 0;  // 0: before the first
    double loss = no_value, grad_norm = no_value, learning_rate = no_value;
    double tokens = no_value, tokens_per_second = no_value;
    double heldout_loss = no_value;
};

struct TrainLog {
    std::string folder, name;             // as the caller gave it; its last part
    std::string origin, device, options;  // of the last start; options as JSON, indented
    double parameters = no_value, steps = no_value;
    int64_t starts = 0;    // more than one: it was resumed
    bool stopped = false;  // its last word was "stop"; otherwise it was killed or still runs
    int64_t first_ms = 0, last_ms = 0;
    int64_t bad_lines = 0;
    bool half_line = false;
    // Ascending; of a step logged twice (before and after a kill) the later line. What lies beyond the step that a
    // later start went on from does not count.
    std::vector<TrainLine> lines;
};

// The log in a folder that `train` wrote; nothing when the folder's log, if it has one, is not train's.
std::optional<TrainLog> read_training(const std::filesystem::path& folder);

// {"steps","parameters","tokens","loss_first","loss_last","heldout_loss_first","heldout_loss_last","heldout_loss_best",
// "tokens_per_second","seconds"}; loss_last: the mean of the last 20 steps; what is not known is null.
std::string summary_json(const TrainLog& log);

// One HTML page, as render_report's: losses, learning rate, gradient norm, speed, options.
std::string render_report(const TrainLog& log);

}  // namespace templar
