// The miner: joins a run and trains for it until stopped.
#include "node/miner.h"
#include "tools/node_options.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace templar;

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "miner",
        "Trains one model together with others: each window it trains on its assigned pages, compresses its "
        "momentum,\n"
        "commits to the result, uploads it, and applies what the validators' record accepts.\n\n"
        "  miner --bucket file:///mnt/shared/my-run/bucket --folder /mnt/shared/my-run/peers/me\n"
        "  miner --bucket 's3://run?endpoint=https://ID.r2.cloudflarestorage.com&region=auto&profile=run' "
        "\\\n"
        "    --payload-bucket "
        "'s3://mine?endpoint=https://ID.r2.cloudflarestorage.com&region=auto&profile=payload' "
        "\\\n"
        "    --folder me    # me/credentials, mode 0600: sections [run], [payload] and [read], a key that "
        "only "
        "reads\n\n"
        "Stop it with Ctrl-C and start it again with the same folder: it goes on where it was, to the bit.",
        [](CLI::App& app) {
            auto flags = std::make_shared<NodeFlags>();
            auto options = std::make_shared<MinerOptions>();
            auto behaviour = std::make_shared<std::string>("honest");
            flags->add_to(app);
            app.add_option("--micro-batch", options->micro_batch, "sequences per forward and backward")
                ->check(CLI::Range(1, 4096));
            app.add_option("--tokens-per-window", options->tokens_per_window,
                           "fixed work per window; 0: as much as its time allows")
                ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
            app.add_option("--behaviour", *behaviour,
                           "honest, or an attacker to try the validator with: copycat, noise")
                ->check(CLI::IsMember({"honest", "copycat", "noise"}));
            return [flags, options, behaviour] {
                options->node = flags->parsed("miner");
                options->behaviour = behaviour_from_name(*behaviour);
                return run_participant("miner", [&] {
                    SystemClock clock;
                    Miner miner(*options, clock, stop_requested());
                    miner.run();
                    std::fprintf(stderr, "miner: stopped; state %s\n", to_hex(miner.root()).c_str());
                });
            };
        });
}
