// What export and import share: reading a model and writing it as a Hugging Face directory, with progress and Ctrl-C.
#pragma once

#include "node/model_folder.h"

#include <filesystem>
#include <string>

namespace CLI {
class App;
}

namespace templar {

// load_model(). Throws Error(interrupted) when a stop is requested, too.
SavedModel read_model(const std::filesystem::path& path);

struct ModelFolderFlags {
    std::string dtype;
    std::filesystem::path tokenizer;
    int64_t shard_bytes = ExportOptions().shard_bytes;
    void add_to(CLI::App& app);
    // Writes the folder and says on stderr what it holds. Throws Error(interrupted) when a stop is requested: nothing
    // is left then.
    void write(const SavedModel& model, const std::filesystem::path& folder) const;
};

// "1.20 G parameters: 16 layers of 2048, …", for people.
std::string summary(const SavedModel& model);

}  // namespace templar
