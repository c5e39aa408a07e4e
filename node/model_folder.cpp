#include "node/model_folder.h"

#include "base/new_folder.h"
#include "tokenizer/tokenizer.h"

namespace templar {

namespace {

// The model's tokenizer, which goes with it; none when there is none.
std::unique_ptr<Tokenizer> checked_tokenizer(const SavedModel& model, const std::filesystem::path& given) {
    const std::filesystem::path& path = given.empty() ? model.tokenizer : given;
    if (path.empty()) return nullptr;
    std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(path);
    check_vocabulary(model, tokenizer->vocab_size());
    return tokenizer;
}

}  // namespace

void check_model(const SavedModel& model, const std::filesystem::path& tokenizer) {
    checked_tokenizer(model, tokenizer);
    check_finite(model);
}

void write_model_folder(const SavedModel& model, const std::filesystem::path& folder,
                        const ModelFolderOptions& options) {
    NewFolder out(folder);  // first: a name that is taken should be said before anything long
    HuggingFaceConfig config{
        .model = model.config, .seq = model.seq, .begin_token = model.begin_token, .end_token = model.end_token};
    if (const std::unique_ptr<Tokenizer> tokenizer = checked_tokenizer(model, options.tokenizer)) {
        if (config.begin_token < 0) config.begin_token = tokenizer->begin_token();
        if (config.end_token < 0) config.end_token = tokenizer->end_token();
        write_huggingface_tokenizer(*tokenizer, out.path(), model.seq);
    }
    check_finite(model);
    export_huggingface(out.path(), config, model.params, options.weights);
    out.commit();
}

}  // namespace templar
