#include "tools/program.h"

#include "weights/presets.h"

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string_view>

namespace templar {

namespace {

std::atomic<bool> stop_flag{false};

extern "C" void on_stop_signal(int) {
    if (stop_flag.exchange(true)) _exit(static_cast<int>(ExitCode::interrupted));
}

constexpr const char* footer =
    "Exit codes: 0 done · 1 internal error (please report) · 2 wrong command line · 3 bad input file or object ·\n"
    "4 state diverged from the run · 5 bucket or disk trouble · 6 key file or identity · 7 GPU: none that can be\n"
    "used, out of memory, or it failed · 130 interrupted";

// libgomp reads its settings before main() starts, so the only way to choose them is to start again with them
// set.
void restart_with_passive_waiting(char** argv, Work work) {
    if (std::getenv("OMP_WAIT_POLICY")) return;
    ::setenv("OMP_WAIT_POLICY", "passive", 1);
    if (work == Work::answers) ::setenv("GOMP_SPINCOUNT", "10000", 0);
    ::execv("/proc/self/exe", argv);  // returns only when it failed: then go on as we are
}

// Errors quote what strangers wrote, such as a tensor's name: no byte of it may command a terminal. U+0080 to U+009F
// (UTF-8: C2, 80 to 9F) are control characters too.
std::string printable(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto before = i == 0 ? 0 : static_cast<unsigned char>(text[i - 1]);
        const bool control = (byte < 0x20 && byte != '\n') || byte == 0x7f || (before == 0xc2 && byte < 0xa0);
        if (control)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += text[i];
    }
    return out;
}

double monotonic_seconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int run_program(int argc, char** argv, const std::string& name, const std::string& description,
                const std::function<std::function<int()>(CLI::App&)>& define, Work work) {
    if (work != Work::moves) restart_with_passive_waiting(argv, work);
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is to be an error like a full disk
    try {
        CLI::App app(description, name);
        app.footer(footer);
        app.set_version_flag("--version", "templar.cpp 0.1");
        app.get_formatter()->column_width(34);
        app.option_defaults()->always_capture_default();
        const std::function<int()> body = define(app);
        try {
            app.parse(argc, argv);
        } catch (const CLI::ParseError& error) {
            return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::usage);
        }
        return body();
    } catch (const Error& error) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), printable(error.what()).c_str());
        return static_cast<int>(error.code());
    } catch (const std::filesystem::filesystem_error& error) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), printable(error.what()).c_str());
        return static_cast<int>(ExitCode::storage);
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "%s: not enough memory; use a smaller batch or model\n", name.c_str());
        return static_cast<int>(ExitCode::storage);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: internal error: %s (please report this)\n", name.c_str(),
                     printable(error.what()).c_str());
        return static_cast<int>(ExitCode::internal);
    }
}

const std::atomic<bool>& stop_requested() {
    return stop_flag;
}

std::string preset_names() {
    std::string names;
    for (const Preset& preset : presets())
        names += fmt::format("{}{} ({})", names.empty() ? "" : "; ", preset.name, preset.purpose);
    return names;
}

std::string short_count(double value) {
    const char* suffix = "";
    for (const char* next : {" k", " M", " G", " T"}) {
        if (value < 1000.0) break;
        value /= 1000.0;
        suffix = next;
    }
    return fmt::format("{:.{}f}{}", value, value >= 100 || *suffix == 0 ? 0 : value >= 10 ? 1 : 2, suffix);
}

std::string short_duration(double seconds) {
    const auto total = static_cast<int64_t>(seconds + 0.5);
    if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
    return fmt::format("{:02}:{:02}", total / 60, total % 60);
}

Progress::Progress(std::string what, std::string unit, double total, double already)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      already_(already),
      started_(monotonic_seconds()),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::update(double done) {
    done_ = done;
    const double now = monotonic_seconds();
    if (now - std::max(printed_, started_) < (terminal_ ? 0.2 : 10.0)) return;
    printed_ = now;
    print(done, false);
}

void Progress::update(double done, double total, const std::string& note) {
    total_ = total;
    note_ = note;
    update(done);
}

void Progress::print(double done, bool last) {
    const double elapsed = monotonic_seconds() - started_;
    const double rate = elapsed > 0 ? (done - already_) / elapsed : 0;
    const bool known = total_ >= 0;
    const auto count = [&](double value) { return short_count(value) + (unit_ == "B" ? "" : " ") + unit_; };
    const std::string share = known ? fmt::format("{:3.0f} %", total_ > 0 ? 100.0 * done / total_ : 100.0) : count(done);
    const std::string left = known && rate > 0 ? short_duration((total_ - done) / rate) : "?";
    const std::string time = last    ? short_duration(elapsed) + " in all"
                             : known ? left + " left"
                                     : short_duration(elapsed) + " so far";
    std::fprintf(stderr, "%s%s %s  %s/s  %s%s%s", terminal_ ? "\r" : "", what_.c_str(), share.c_str(), count(rate).c_str(),
                 time.c_str(), note_.c_str(), terminal_ && !last ? "   " : "\n");
}

Progress::~Progress() {
    if (printed_ > 0) print(done_, true);
}

}  // namespace templar
