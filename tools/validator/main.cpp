// The validator: judges every window's submissions, writes its record, scores its peers.
#include "node/validator.h"
#include "tools/node_options.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace templar;

int main(int argc, char** argv) {
    return run_program(argc, argv, "validator",
                       "Judges a run: each window it checks what miners committed and revealed, writes the "
                       "record that every replica applies,\n"
                       "measures the loss before and after each peer's update, rates the peers and publishes "
                       "weights and its reasons.\n\n"
                       "  validator --bucket file:///mnt/shared/my-run/bucket --folder "
                       "/mnt/shared/my-run/peers/validator-1\n\n"
                       "S3 buckets: see miner --help. Its key (FOLDER/key) must be one of the validators "
                       "that the run was created with.",
                       [](CLI::App& app) {
                           auto flags = std::make_shared<NodeFlags>();
                           auto options = std::make_shared<ValidatorOptions>();
                           flags->add_to(app);
                           app.add_option("--micro-batch", options->micro_batch, "sequences per forward")
                               ->check(CLI::Range(1, 4096));
                           app.add_option("--heldout-sequences", options->heldout_sequences,
                                          "held-out loss each window over this many; 0: none")
                               ->check(CLI::Range(0, 1 << 20));
                           return [flags, options] {
                               options->node = flags->parsed("validator");
                               return run_participant("validator", [&] {
                                   SystemClock clock;
                                   Validator validator(*options, clock, stop_requested());
                                   validator.run();
                                   std::fprintf(stderr, "validator: stopped; state %s\n",
                                                to_hex(validator.root()).c_str());
                               });
                           };
                       });
}
