// export: a trained model as a Hugging Face directory.
#include "base/new_folder.h"
#include "base/temporary_folder.h"
#include "node/run_model.h"
#include "tools/model_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <optional>

using namespace templar;

namespace {

SavedModel load(RunModelOptions& source, const std::filesystem::path& scratch) {
    if (source.bucket_url.find("://") == std::string::npos) return read_model(source.bucket_url);
    std::optional<Progress> progress;
    source.progress = [&](int64_t window, int64_t windows) {
        if (!progress) progress.emplace("replaying", "windows", static_cast<double>(windows));
        progress->update(static_cast<double>(window));
    };
    SystemClock clock;
    return load_run_model(source, scratch, clock, stop_requested());
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "export",
        "Writes a model as a Hugging Face directory, for AutoModelForCausalLM and AutoTokenizer, vLLM, llama.cpp's\n"
        "converter and others.\n\n"
        "  export my-model exported                       # the folder of train, miner or validator\n"
        "  export my-model exported --dtype f32\n"
        "  export file:///mnt/shared/my-run/bucket exported    # the newest state of a run, from its bucket\n\n"
        "The folder appears when all is in it. A run's state follows from its genesis and all records since: that "
        "takes a\n"
        "while; the folder of one who takes part has it at hand. Reading a run needs no more than keys that read.",
        [](CLI::App& app) {
            struct Options {
                RunModelOptions run;  // its URL: the source, whatever it is
                std::filesystem::path folder;
                ModelFolderFlags flags{.dtype = "bf16", .tokenizer = {}};
            };
            auto options = std::make_shared<Options>();
            app.add_option("source", options->run.bucket_url,
                           "folder with a model, a llama2.c checkpoint, or a run's bucket: file:///… or s3://…")
                ->required()
                ->type_name("SOURCE");
            app.add_option("folder", options->folder, "the directory to make; must not exist, or be empty")
                ->required()
                ->type_name("DIR");
            options->flags.add_to(app);
            app.add_option("--credentials", options->run.credentials,
                           "key file of an s3:// bucket, mode 0600 (see miner)");
            app.add_flag("--allow-http", options->run.allow_http, "s3:// without TLS (for tests)");
            app.add_flag("--allow-private", options->run.allow_private, "s3:// at private addresses (for tests)");
            return [options] {
                NewFolder::check(options->folder);
                const TemporaryFolder scratch;
                const SavedModel model = load(options->run, scratch.path());
                std::fprintf(stderr, "%s\n", summary(model).c_str());
                options->flags.write(model, options->folder);
                return 0;
            };
        });
}
