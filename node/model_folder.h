// A model and its tokenizer as a Hugging Face directory.
#pragma once

#include "weights/huggingface.h"

namespace templar {

struct ModelFolderOptions {
    ExportOptions weights{};
    std::filesystem::path tokenizer{};  // for load_tokenizer; empty: model.tokenizer, or none
};

// Writes what AutoModelForCausalLM and AutoTokenizer load. The folder appears with all that is in it, or not at all.
// Begin and end token are the tokenizer's where the model's files do not say. Throws Error(input) when a weight is no
// number or the tokenizer's vocabulary is not the model's, Error(usage) when something is at `folder` already,
// Error(storage).
void write_model_folder(const SavedModel& model, const std::filesystem::path& folder,
                        const ModelFolderOptions& options);

// The checks of it alone; `tokenizer` as in ModelFolderOptions.
void check_model(const SavedModel& model, const std::filesystem::path& tokenizer);

}  // namespace templar
