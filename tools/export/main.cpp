// export: a trained model as a Hugging Face directory.
#include "tools/model_flags.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace templar;

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "export",
        "Writes a model as a Hugging Face directory, for AutoModelForCausalLM and AutoTokenizer, vLLM, llama.cpp's\n"
        "converter and others.\n\n"
        "  export my-model exported                    # the folder of train, miner or validator\n"
        "  export my-model exported --dtype f32\n\n"
        "The folder appears when all is in it.",
        [](CLI::App& app) {
            struct Options {
                std::filesystem::path source, folder;
                ModelFolderFlags flags{.dtype = "bf16", .tokenizer = {}};
            };
            auto options = std::make_shared<Options>();
            app.add_option("source", options->source, "folder with a model, or a llama2.c checkpoint")
                ->required()
                ->type_name("SOURCE");
            app.add_option("folder", options->folder, "the directory to make; must not exist, or be empty")
                ->required()
                ->type_name("DIR");
            options->flags.add_to(app);
            return [options] {
                const SavedModel model = load_model(options->source);
                std::fprintf(stderr, "%s\n", summary(model).c_str());
                options->flags.write(model, options->folder);
                return 0;
            };
        },
        Work::moves);
}
