// A whole swarm on this machine: makes a run from text, starts its participants, shows what happens, reports.
#include "node/local_swarm.h"
#include "node/report.h"
#include "tools/device_flags.h"
#include "tools/program.h"
#include "tools/swarm/processes.h"
#include "tools/swarm/table.h"
#include "weights/presets.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

using namespace templar;

namespace {

struct SwarmFlags {
    LocalSwarmOptions local;
    std::string preset = "demo";
    int64_t windows = 44;
    std::optional<double> window_seconds;
    int64_t tokens_per_window = 0;
    int64_t micro_batch = 4;
    DeviceChoice device{.name = "cpu", .threads = 1};  // of each participant
    bool virtual_clock = false;
    bool replace = false;
    bool create_only = false;
    std::vector<std::string> validator_keys;
    double eta = 8e-3;
    float beta = 0.8f;
    double start_seconds = 3.0;

    void add_to(CLI::App& app);
    int run();
    void prepare();
    std::vector<std::string> command(const LocalSwarm& swarm, const LocalPeer& peer) const;
    void print_commands(const LocalSwarm& swarm) const;
    int run_processes(const LocalSwarm& swarm);
    int run_in_this_process(const LocalSwarm& swarm, VirtualClock& clock);
    int finish(const LocalSwarm& swarm);
};

void SwarmFlags::add_to(CLI::App& app) {
    app.add_option("--folder", local.folder,
                   "where the run is made: bucket, peers, report.html, summary.json")
        ->required();
    app.add_option("--text", local.texts,
                   "text files to train on (UTF-8; documents may be divided by lines <|endoftext|>)")
        ->required();
    app.add_option("--text-name", local.text_description, "what the report calls the text");
    app.add_option("--preset", preset, "shape of the model: " + preset_names());
    app.add_option("--validators", local.validators, "number of validators")->check(CLI::Range(1, 8));
    app.add_option("--miners", local.miners, "honest miners")->check(CLI::Range(0, 64));
    app.add_option("--copycats", local.copycats, "miners that re-publish another's payload")
        ->check(CLI::Range(0, 16));
    app.add_option("--noise", local.noise, "miners that publish noise")->check(CLI::Range(0, 16));
    app.add_option("--windows", windows, "length of the run")->check(CLI::Range(1, 1000000));
    app.add_option("--window-seconds", window_seconds, "length of a window (default: 5, with --s3 6)")
        ->check(CLI::Range(0.5, 86400.0));
    app.add_option("--start-in", start_seconds, "seconds from the run's creation to its first window")
        ->check(CLI::Range(0.0, 1e7));
    app.add_option("--tokens-per-window", tokens_per_window,
                   "fixed work per miner and window; 0: what its time allows")
        ->check(CLI::Range(0, 1 << 30));
    app.add_option("--micro-batch", micro_batch, "sequences per forward and backward")
        ->check(CLI::Range(1, 1024));
    app.add_option("--learning-rate", eta, "peak of the schedule")->check(CLI::Range(0.0, 1.0));
    app.add_option("--momentum", beta, "decay of the momentum per window")->check(CLI::Range(0.0f, 0.9999f));
    add_device_flags(app, device);  // for each participant
    app.add_option("--seed", local.seed, "of the genesis weights");
    app.add_flag("--virtual-clock", virtual_clock,
                 "all participants in this process on a clock that jumps: as fast as it computes, the same "
                 "result every time "
                 "(needs --tokens-per-window)");
    app.add_option(
        "--s3", local.s3_credentials,
        "put everything into S3 buckets: a key file (mode 0600) with the section [run] and, for each "
        "participant such as miner-1, the sections [miner-1] and [miner-1-read], a key that may only "
        "read; each with endpoint_url and region, and for the empty bucket of that name. "
        "tools/s3_server.sh starts a server and writes one");
    app.add_option("--bucket", local.bucket_url,
                   "with --create-only: the bucket to make the run in, "
                   "s3://name?endpoint=https://host&region=auto&profile=run")
        ->type_name("URL")
        ->default_str("");
    app.add_option("--credentials", local.bucket.credentials, "with --bucket: the key file with its profile")
        ->type_name("FILE")
        ->default_str("");
    app.add_flag("--allow-http", local.bucket.allow_http, "with --bucket: also without TLS");
    app.add_option(
           "--validator", validator_keys,
           "hotkey (64 hex digits) of a validator elsewhere, instead of one made here; may be repeated")
        ->type_name("HOTKEY")
        ->default_str("");
    app.add_flag("--replace", replace, "remove an earlier run made by swarm in this folder");
    app.add_flag("--create-only", create_only,
                 "make the run and its validators' keys (with --s3: every participant's), print the commands "
                 "to type, start nothing (for several machines)");
}

// Larger models take the settings of the protocol.
constexpr int64_t small_model = 50'000'000;

void set_for_small_model(RunDescription& run) {
    run.codec = {.k = 64, .chunk_edge = 32, .code_bits = 8};
    run.page_sequences = 8;
    run.max_peers = 64;
    run.gather_refresh_windows = 2;
    run.weights_every_windows = 2;
    run.payload_windows = 2000;
    // At this size honest gradients come to agree on nine tenths of their largest coefficients; a copy agrees
    // on all.
    run.gauntlet.overlap_flag = 0.95;
    run.gauntlet.overlap_ban = 0.99;
    run.gauntlet.openskill.beta = 7.0;
    run.eval_own_sequences = 24;
    run.eval_random_sequences = 24;
}

void SwarmFlags::prepare() {
    if (virtual_clock && tokens_per_window == 0)
        fail(ExitCode::usage,
             "--virtual-clock: time stands still while miners train, so say --tokens-per-window");
    if (virtual_clock && !local.s3_credentials.empty())
        fail(ExitCode::usage, "--virtual-clock: an S3 service has a clock of its own; leave --s3 out");
    if (!local.bucket_url.empty() && (!create_only || !local.s3_credentials.empty()))
        fail(ExitCode::usage, "--bucket: say --create-only with it, and not --s3");
    for (const std::string& hotkey : validator_keys)
        local.other_validators.push_back(digest_from_hex(hotkey, "--validator"));
    if (!validator_keys.empty()) local.validators = 0;
    if (replace && create_only)
        fail(ExitCode::usage, "--replace would delete keys that a run needs: name another --folder");
    if (replace && (std::filesystem::exists(local.folder / "swarm.json") ||
                    std::filesystem::exists(local.folder / "bucket" / "run.json"))) {
        for (const char* name : {"bucket", "peers", "swarm.json", "summary.json", "report.html"})
            std::filesystem::remove_all(local.folder / name);
    }
    const Preset& shape = find_preset(preset);
    RunDescription& run = local.run;
    run.name = preset;
    run.model = shape.model;
    run.seq = shape.seq;
    const bool s3 = !local.s3_credentials.empty();
    const auto window_ms = static_cast<int64_t>(window_seconds.value_or(s3 ? 6.0 : 5.0) * 1000.0);
    run.block_ms = window_ms;
    run.blocks_per_window = 1;
    if (window_ms < run.put_ms + run.record_ms + 60'000) {
        run.put_ms = std::max<int64_t>(100, window_ms / (s3 ? 10 : 20));
        run.record_ms = std::max<int64_t>(100, window_ms / (s3 ? 15 : 20));
    }
    run.beta = beta;
    const int64_t warmup = std::max<int64_t>(1, windows / 6);
    run.schedule = {.peak = eta,
                    .floor_share = 0.2,
                    .warmup_steps = warmup,
                    .cosine_steps = std::max<int64_t>(1, windows - warmup)};
    if (parameter_count(shape.model) < small_model) set_for_small_model(run);
    if (create_only && !s3) local.miners = local.copycats = local.noise = 0;
    local.seeded_keys = virtual_clock;
    local.stop = &stop_requested();
    local.start_delay_ms = static_cast<int64_t>(start_seconds * 1000.0);
    local.say = [](const std::string& line) { std::fprintf(stderr, "swarm: %s\n", line.c_str()); };
}

int SwarmFlags::run() {
    prepare();
    if (virtual_clock) {
        VirtualClock clock(1'000'000'000'000);
        const LocalSwarm swarm = create_local_swarm(local, clock);
        return run_in_this_process(swarm, clock);
    }
    SystemClock clock;
    const LocalSwarm swarm = create_local_swarm(local, clock);
    if (create_only) {
        print_commands(swarm);
        return 0;
    }
    return run_processes(swarm);
}

std::vector<std::string> SwarmFlags::command(const LocalSwarm& swarm, const LocalPeer& peer) const {
    std::vector<std::string> argv = {peer.role == "validator" ? "validator" : "miner",
                                     "--bucket",
                                     swarm.bucket_url,
                                     "--folder",
                                     peer.folder.string(),
                                     "--run-id",
                                     to_hex(swarm.created.run.id)};
    const bool own_server = swarm.bucket_url.find("endpoint=http://") != std::string::npos;
    if (!peer.payload_url.empty())
        argv.insert(argv.end(), {"--payload-bucket", peer.payload_url});
    else if (swarm.bucket_url.starts_with("s3://"))
        argv.insert(argv.end(), {"--payload-bucket",
                                 "s3://YOUR-BUCKET?endpoint=https://HOST&region=REGION&profile=payload"});
    // Such as that of tools/s3_server.sh.
    if (own_server) argv.insert(argv.end(), {"--allow-http", "--allow-private"});
    if (peer.role != "validator" && peer.role != "miner") argv.insert(argv.end(), {"--behaviour", peer.role});
    return argv;
}

std::filesystem::path programs_folder() {
    return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

void SwarmFlags::print_commands(const LocalSwarm& swarm) const {
    std::vector<LocalPeer> peers = swarm.peers;
    if (local.s3_credentials.empty()) {
        LocalPeer anyone;
        anyone.role = "miner";
        anyone.folder = swarm.folder / "peers" / "my-name";
        peers.push_back(anyone);
    }
    std::fprintf(stderr, "swarm: made run %s; next:\n", to_hex(swarm.created.run.id).c_str());
    for (const LocalPeer& peer : peers) {
        std::string line = " ";
        std::vector<std::string> argv = command(swarm, peer);
        argv.front() =
            (programs_folder() / argv.front()).lexically_proximate(std::filesystem::current_path()).string();
        for (const std::string& argument : argv)
            line += argument.find_first_of("?& ") == argument.npos ? " " + argument : " '" + argument + "'";
        std::fprintf(stderr, "%s\n", line.c_str());
    }
}

int SwarmFlags::run_processes(const LocalSwarm& swarm) {
    Processes processes;
    for (const LocalPeer& peer : swarm.peers) {
        std::vector<std::string> argv = command(swarm, peer);
        argv.front() = (programs_folder() / argv.front()).string();
        argv.insert(argv.end(),
                    {"--device", device.name, "--dtype", device.dtype, "--threads", std::to_string(device.threads),
                     "--last-window", std::to_string(windows - 1)});
        if (peer.role != "validator")
            argv.insert(argv.end(), {"--micro-batch", std::to_string(micro_batch), "--tokens-per-window",
                                     std::to_string(tokens_per_window)});
        processes.start(peer.name, argv, peer.folder / "log.txt");
    }
    WindowTable table(swarm, windows);
    bool lost_validator = false, lost_any = false;
    while (processes.running() > 0 && !stop_requested() && !lost_validator) {
        table.follow();
        for (const Processes::Ended& ended : processes.collect()) {
            if (ended.exit_code == 0) continue;
            std::fprintf(stderr, "swarm: %s ended with code %d: %s (all of it: %s)\n", ended.name.c_str(),
                         ended.exit_code, last_line(ended.log).c_str(), ended.log.c_str());
            lost_any = true;
            lost_validator |= ended.name == swarm.peers.front().name;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    processes.stop_all();
    table.follow();
    const int code = finish(swarm);
    if (stop_requested()) return static_cast<int>(ExitCode::interrupted);
    return code == 0 && lost_any ? static_cast<int>(ExitCode::internal) : code;
}

int SwarmFlags::run_in_this_process(const LocalSwarm& swarm, VirtualClock& clock) {
    run_virtual(swarm,
                {.windows = windows,
                 .device = device,
                 .tokens_per_window = tokens_per_window,
                 .micro_batch = micro_batch,
                 .start_order = {},
                 .stop = &stop_requested()},
                clock);
    if (stop_requested()) return static_cast<int>(ExitCode::interrupted);
    WindowTable table(swarm, windows);
    table.follow();
    return finish(swarm);
}

// Summary and report from the logs that the participants left.
int SwarmFlags::finish(const LocalSwarm& swarm) {
    const RunLog log = read_run(swarm.folder);
    const std::string summary = summary_json(log);
    write_file(swarm.folder / "summary.json", as_bytes(summary));
    write_file(swarm.folder / "report.html", as_bytes(render_report(log)));
    std::fputs(summary_text(summary, swarm.folder).c_str(), stdout);
    return root_agreement(log).equal ? 0 : static_cast<int>(ExitCode::diverged);
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(
        argc, argv, "swarm",
        "Runs a whole swarm on this machine: one model, trained by several miners (some of them cheating), "
        "judged by a\n"
        "validator, everything passing through a bucket folder, or with --s3 through S3 buckets; then a "
        "summary "
        "and report.html.\n\n"
        "  swarm --folder build/my-run --text book.txt --miners 3 --windows 20\n\n"
        "  tools/s3_server.sh start build/s3-server run validator-1 miner-1 miner-2\n"
        "  swarm --folder build/my-run --text book.txt --s3 build/s3-server/credentials --miners 2 "
        "--copycats 0 "
        "--noise 0\n"
        "  tools/s3_server.sh stop build/s3-server",
        [](CLI::App& app) {
            auto flags = std::make_shared<SwarmFlags>();
            flags->add_to(app);
            return [flags] { return flags->run(); };
        });
}
