// report: a run's logs as one HTML page.
#include "base/file.h"
#include "node/report.h"
#include "node/train_report.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <memory>

using namespace templar;

namespace {

void write_page(const std::string& path, const std::string& page, const std::string& content, int64_t bad_lines) {
    write_file(path, as_bytes(page));
    fmt::print("{}: {}, {:.1f} kB\n", path, content, static_cast<double>(page.size()) / 1000);
    if (bad_lines > 0) fmt::print("{} unreadable lines skipped\n", bad_lines);
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "report",
        "Turns the logs of a run into one self-contained HTML page: losses, scores, penalties with reasons, "
        "times; or of one training on this machine: losses, learning rate, speed.\n\n"
        "  report build/demo     # a swarm's folder, or one miner's or validator's\n"
        "  report my-model       # a folder of train",
        [](CLI::App& app) {
            struct Options {
                std::string folder, out;
                bool json = false;
            };
            auto options = std::make_shared<Options>();
            app.add_option("run", options->folder, "run folder, with peers/<name>/events.jsonl, or the folder of train")
                ->required()
                ->type_name("RUN_FOLDER");
            app.add_option("--out", options->out,
                           "the page to write (replaced if it exists); default: report.html in the run folder")
                ->type_name("FILE");
            app.add_flag("--json", options->json, "print a summary as JSON instead of writing a page");
            return [options] {
                const std::string out = options->out.empty() ? options->folder + "/report.html" : options->out;
                if (const auto training = read_training(options->folder)) {
                    if (options->json)
                        fmt::print("{}", summary_json(*training));
                    else
                        write_page(out, render_report(*training), fmt::format("{} steps", training->lines.size()),
                                   training->bad_lines);
                    return 0;
                }
                const RunLog run = read_run(options->folder);
                if (options->json) {
                    fmt::print("{}", summary_json(run));
                    return 0;
                }
                write_page(out, render_report(run),
                           fmt::format("{} windows, {} logs", window_count(run), run.participants.size()),
                           run.bad_lines());
                const Agreement agreement = root_agreement(run);
                if (!agreement.equal && agreement.replicas > 0)
                    fmt::print(stderr, "report: warning: the replicas do not agree, see the page\n");
                return 0;
            };
        });
}
