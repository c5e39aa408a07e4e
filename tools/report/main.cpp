// report: a run's logs as one HTML page.
#include "base/file.h"
#include "node/report.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <memory>

using namespace templar;

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "report",
        "Turns the logs of a run into one self-contained HTML page: losses, scores, penalties with reasons, "
        "times.\n\n"
        "  report build/demo",
        [](CLI::App& app) {
            struct Options {
                std::string folder, out;
                bool json = false;
            };
            auto options = std::make_shared<Options>();
            app.add_option("run", options->folder, "run folder, with peers/<name>/events.jsonl")
                ->required()
                ->type_name("RUN_FOLDER");
            app.add_option(
                   "--out", options->out,
                   "the page to write (replaced if it exists); default: report.html in the run folder")
                ->type_name("FILE");
            app.add_flag("--json", options->json, "print a summary as JSON instead of writing a page");
            return [options] {
                const RunLog run = read_run(options->folder);
                if (options->json) {
                    fmt::print("{}", summary_json(run));
                    return 0;
                }
                if (options->out.empty()) options->out = options->folder + "/report.html";
                const std::string page = render_report(run);
                write_file(options->out, as_bytes(page));
                fmt::print("{}: {} windows, {} logs, {:.1f} kB\n", options->out, window_count(run),
                           run.participants.size(), static_cast<double>(page.size()) / 1000);
                if (run.bad_lines() > 0) fmt::print("{} unreadable lines skipped\n", run.bad_lines());
                const Agreement agreement = root_agreement(run);
                if (!agreement.equal && agreement.replicas > 0)
                    fmt::print(stderr, "report: warning: the replicas do not agree, see the page\n");
                return 0;
            };
        });
}
