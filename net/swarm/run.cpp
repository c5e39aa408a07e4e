#include "net/swarm/run.h"

#include "base/error.h"
#include "base/strict_json.h"

#include <set>

namespace templar {

namespace {

constexpr const char* run_key = "run.json";
constexpr int64_t max_run_bytes = 256 * 1024;
constexpr int64_t max_windows = 99'999'999;
constexpr int64_t max_window_ms = int64_t{31} * 86'400'000;  // times of max_windows of them are numbers
constexpr std::string_view tie_rules[] = {"v610a0", "v613", "v620"};

void describe(JsonFields& f, LlamaConfig& model) {
    f.integer("vocab_size", model.vocab_size, 1, 1 << 24);
    f.integer("hidden_size", model.hidden_size, 1, 1 << 20);
    f.integer("intermediate_size", model.intermediate_size, 1, 1 << 22);
    f.integer("layers", model.layers, 1, 1024);
    f.integer("heads", model.heads, 1, 4096);
    f.integer("kv_heads", model.kv_heads, 1, 4096);
    f.integer("head_dim", model.head_dim, 1, 4096);
    f.number("rms_norm_eps", model.rms_norm_eps, 0, 1);
    f.number("rope_theta", model.rope_theta, 1, 1e12);
    f.boolean("tie_word_embeddings", model.tie_word_embeddings);
}

void describe(JsonFields& f, GauntletParams& gauntlet) {
    f.object("openskill", [&](JsonFields& g) {
        OpenSkillParams& openskill = gauntlet.openskill;
        g.number("mu", openskill.mu, -1e6, 1e6);
        g.number("sigma", openskill.sigma, 1e-6, 1e6);
        g.number("beta", openskill.beta, 1e-6, 1e6);
        g.number("tau", openskill.tau, 0, 1e6);
        g.number("kappa", openskill.kappa, 0, 1);
        g.boolean("limit_sigma", openskill.limit_sigma);
        g.choice("ties", openskill.ties, tie_rules);
    });
    f.number("binary_decay", gauntlet.binary_decay, 0, 1);
    f.number("bma_threshold", gauntlet.bma_threshold, -1, 1);
    f.number("weight_power", gauntlet.weight_power, 0, 100);
    f.number("eval_step_share", gauntlet.eval_step_share, 0, 1);
    f.integer("active_windows", gauntlet.active_windows, 1, max_windows);
    f.integer("reset_windows", gauntlet.reset_windows, 1, max_windows);
    f.number("missing_factor", gauntlet.missing_factor, 0, 1);
    f.number("behind_factor", gauntlet.behind_factor, 0, 1);
    f.integer("behind_limit", gauntlet.behind_limit, 0, max_windows);
    f.integer("sync_windows", gauntlet.sync_windows, 1, max_windows);
    f.number("sync_exponent", gauntlet.sync_exponent, 0, 100);
    f.number("overlap_flag", gauntlet.overlap_flag, 0, 1);
    f.number("overlap_flag_factor", gauntlet.overlap_flag_factor, 0, 1);
    f.number("overlap_ban", gauntlet.overlap_ban, 0, 1);
    f.integer("ban_windows", gauntlet.ban_windows, 0, max_windows);
}

void describe_clock(JsonFields& f, RunDescription& run) {
    f.integer("t0_ms", run.t0_ms, 0, int64_t{1} << 50);
    f.integer("block_ms", run.block_ms, 1, 86'400'000);
    f.integer("blocks_per_window", run.blocks_per_window, 1, 100'000);
    f.require("blocks_per_window", run.window_ms() <= max_window_ms, "windows of at most 31 days");
    f.integer("put_ms", run.put_ms, 0, 86'400'000);
    f.integer("record_ms", run.record_ms, 0, 86'400'000);
}

void describe_registry(JsonFields& f, RunDescription& run) {
    f.integer("max_peers", run.max_peers, 1, 256);  // as many payloads as one record can merge
    f.integer("immunity_windows", run.immunity_windows, 0, max_windows);
    f.objects("validators", run.validators, 64, [](JsonFields& g, ValidatorEntry& validator) {
        g.digest("hotkey", validator.hotkey);
        g.number("stake", validator.stake, 1e-12, 1e18);
    });
    std::set<Hotkey> hotkeys;
    for (const ValidatorEntry& validator : run.validators) hotkeys.insert(validator.hotkey);
    f.require("validators", !run.validators.empty(), "at least one");
    f.require("validators", hotkeys.size() == run.validators.size(), "each hotkey once");
}

void describe_optimiser(JsonFields& f, RunDescription& run) {
    f.number("beta", run.beta, 0, 1);
    f.number("weight_decay", run.weight_decay, 0, 1000);
    f.object("schedule", [&](JsonFields& g) {
        g.number("peak", run.schedule.peak, 0, 1);
        g.number("floor_share", run.schedule.floor_share, 0, 1);
        g.integer("warmup_steps", run.schedule.warmup_steps, 0, max_windows);
        g.integer("cosine_steps", run.schedule.cosine_steps, 1, max_windows);
    });
}

void describe_gather(JsonFields& f, RunDescription& run) {
    f.integer("peers", run.gather_peers, 1, 256);
    f.integer("refresh_windows", run.gather_refresh_windows, 1, max_windows);
    f.integer("reserve_peers", run.reserve_peers, 0, 256);
    f.integer("weights_every_windows", run.weights_every_windows, 1, max_windows);
    f.integer("payload_windows", run.payload_windows, 1, max_windows);
    f.integer("eval_own_sequences", run.eval_own_sequences, 1, 1024);
    f.integer("eval_random_sequences", run.eval_random_sequences, 1, 1024);
}

void describe(JsonFields& f, RunDescription& run) {
    int64_t protocol = 1;
    f.integer("protocol", protocol, 1, 1);
    f.text("name", run.name, 64);
    f.require("name", !run.name.empty() && run.name.find_first_of("\r\n\t") == std::string::npos, "one line");
    f.object("model", [&](JsonFields& g) { describe(g, run.model); });
    f.integer("seq", run.seq, 1, 1 << 20);
    f.integer("page_sequences", run.page_sequences, 1, 1 << 20);
    f.digest("tokenizer", run.tokenizer);
    f.digest("manifest", run.manifest);
    f.digest("genesis_root", run.genesis_root);
    f.integer("end_token", run.end_token, -1, run.model.vocab_size - 1);
    f.object("clock", [&](JsonFields& g) { describe_clock(g, run); });
    f.object("registry", [&](JsonFields& g) { describe_registry(g, run); });
    f.object("codec", [&](JsonFields& g) {
        g.integer("k", run.codec.k, 1, 1 << 16);
        g.integer("chunk_edge", run.codec.chunk_edge, 1, 64);
        g.integer("code_bits", run.codec.code_bits, 1, 8);
        const int32_t bits = run.codec.code_bits;
        g.require("code_bits", bits == 8 || bits == 4 || bits == 2 || bits == 1, "8, 4, 2 or 1");
    });
    f.object("optimiser", [&](JsonFields& g) { describe_optimiser(g, run); });
    f.object("gather", [&](JsonFields& g) { describe_gather(g, run); });
    f.object("gauntlet", [&](JsonFields& g) { describe(g, run.gauntlet); });
}

Digest run_id(std::string_view text) {
    return sha256(as_bytes(text));
}

}  // namespace

std::string run_to_json(const RunDescription& run) {
    RunDescription copy = run;
    check_config(copy.model);
    return write_json(
        run_key, [&](JsonFields& f) { describe(f, copy); }, 2);
}

RunDescription run_from_json(std::string_view json) {
    RunDescription run;
    read_json(json, run_key, [&](JsonFields& f) { describe(f, run); });
    check_config(run.model);
    return run;
}

Run create_run(Bucket& bucket, const RunDescription& description) {
    const std::string text = run_to_json(description);
    if (!bucket.create(run_key, as_bytes(text))) {
        const std::optional<Bytes> found = bucket.get(run_key, max_run_bytes);
        if (!found || as_text(*found) != text)
            fail(ExitCode::input,
                 "{}/{} describes another run; expected none or the same: choose another bucket or prefix",
                 bucket.url(), run_key);
    }
    return {description, run_id(text)};
}

Run open_run(Bucket& bucket, const Digest& expected_id) {
    const std::optional<Bytes> bytes = bucket.get(run_key, max_run_bytes);
    if (!bytes)
        fail(ExitCode::input, "{}: expected {}, found none: no run begins there", bucket.url(), run_key);
    const Digest id = run_id(as_text(*bytes));
    if (expected_id != Digest{} && id != expected_id)
        fail(ExitCode::diverged,
             "{}/{}: expected run {}, found {}: the bucket holds another run, or its description was changed "
             "after the run began",
             bucket.url(), run_key, to_hex(expected_id), to_hex(id));
    return {run_from_json(as_text(*bytes)), id};
}

}  // namespace templar
