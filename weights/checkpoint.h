// What a participant needs to go on after kill −9 as if nothing had happened: one file, replaced as one step.
#pragma once

#include "base/sha256.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace templar {

inline constexpr const char* checkpoint_file = "checkpoint.safetensors";

struct Checkpoint {
    uint64_t window = 0;          // the next window to take part in
    int64_t step = 0;             // records applied that moved theta
    Digest root{};                // state root of theta
    std::vector<float> theta;     // flat parameter arena, layout order
    std::vector<float> momentum;  // error feedback, as long as theta; empty for one who does not train
    std::string extra;            // the participant's other state (the Gauntlet's, …): UTF-8, a few MB at most
    bool operator==(const Checkpoint&) const = default;
};

// Writes folder/checkpoint.safetensors (creating the folder): theta and momentum as 1-D fp32 tensors, the
// rest and a SHA-256 over everything as metadata. A reader, or a restart after kill −9 at any moment, sees
// the old checkpoint or the new one. One process at a time may save to a folder. Throws Error(storage), e.g.
// when the disk is full.
void save_checkpoint(const std::filesystem::path& folder, const Checkpoint& checkpoint);

// The folder's checkpoint, bit for bit as saved; nothing when there is none. Throws Error(input), naming the
// file, when it is damaged or was made for another model (theta has not `parameters` values).
std::optional<Checkpoint> load_checkpoint(const std::filesystem::path& folder, int64_t parameters);
// The same without the momentum, for one who only uses the model; checked as a whole all the same.
std::optional<Checkpoint> load_checkpoint_model(const std::filesystem::path& folder, int64_t parameters);

}  // namespace templar
