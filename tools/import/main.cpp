// import: checks a model that others made, and writes it in the form that this project's programs start from.
#include "base/new_folder.h"
#include "tools/model_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace templar;

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "import",
        "Checks a model that others made: every header, shape and value, and whether its tokenizer belongs to it.\n"
        "With a second name it is written there as a Hugging Face directory with fp32 weights, one tokenizer.json\n"
        "and nothing else, whatever it was before.\n\n"
        "  import TinyLlama_v1.1                      # only checks\n"
        "  import stories260K.bin stories260K         # a llama2.c checkpoint, with tok512.bin beside it\n\n"
        "train, eval and generate read such directories and checkpoints as they are: importing is a choice.",
        [](CLI::App& app) {
            struct Options {
                std::filesystem::path source, folder;
                ModelFolderFlags flags{.dtype = "f32", .tokenizer = {}};
            };
            auto options = std::make_shared<Options>();
            app.add_option("source", options->source, "a Hugging Face directory, or a llama2.c checkpoint (.bin)")
                ->required()
                ->type_name("SOURCE");
            app.add_option("folder", options->folder, "the directory to make; must not exist, or be empty")
                ->type_name("DIR");
            options->flags.add_to(app);
            return [options] {
                if (!options->folder.empty()) NewFolder::check(options->folder);
                const SavedModel model = read_model(options->source);
                std::fprintf(stderr, "%s\n", summary(model).c_str());
                if (!options->folder.empty()) {
                    options->flags.write(model, options->folder);
                    return 0;
                }
                check_model(model, options->flags.tokenizer);
                const bool with_tokenizer = !options->flags.tokenizer.empty() || !model.tokenizer.empty();
                std::fprintf(stderr, "nothing is wrong with it%s\n",
                             with_tokenizer ? "" : "; no tokenizer is beside it: name one with --tokenizer");
                return 0;
            };
        },
        Work::moves);
}
