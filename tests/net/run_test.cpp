#include "net/swarm/run.h"

#include "tests/net/error_code.h"
#include "tests/net/scratch.h"

#include <nlohmann/json.hpp>

using namespace templar;
using nlohmann::json;

namespace {

Digest digest(std::string_view text) {
    return sha256(as_bytes(text));
}

RunDescription example_run() {
    RunDescription run;
    run.name = "test run";
    run.tokenizer = digest("tokenizer");
    run.manifest = digest("manifest");
    run.genesis_root = digest("genesis");
    run.end_token = 2;
    run.t0_ms = 1'700'000'000'000;
    run.validators = {{digest("v0"), 1.5}, {digest("v1"), 1.0 / 3.0}};
    return run;
}

// Every value that is neither an object nor a list, by its path.
std::vector<json::json_pointer> leaves(const json& value,
                                       const json::json_pointer& path = json::json_pointer()) {
    if (!value.is_structured()) return {path};
    std::vector<json::json_pointer> all;
    for (const auto& [key, below] : value.items()) {
        const auto more = leaves(below, value.is_array() ? path / std::stoul(key) : path / key);
        all.insert(all.end(), more.begin(), more.end());
    }
    return all;
}

ExitCode parse(const json& run, std::string_view mentions = "") {
    return code_of([&] { run_from_json(run.dump()); }, mentions);
}

}  // namespace

TEST_CASE("run.json: canonical text, round trip") {
    const std::string text = run_to_json(example_run());
    CHECK(run_to_json(run_from_json(text)) == text);
    CHECK(text.starts_with("{\n  \"clock\": {\n    \"block_ms\": 12000,\n"));
    CHECK(text.ends_with("}\n"));
    CHECK(text == json::parse(text).dump(2) + "\n");
    CHECK(text.find("\"rms_norm_eps\": 1e-06,") != std::string::npos);
    const RunDescription run = run_from_json(text);
    CHECK(run.model == LlamaConfig{});
    CHECK(run.codec == Codec{});
    CHECK(run.schedule == Schedule{});
    CHECK(run.gauntlet == GauntletParams{});
    CHECK(run.beta == 0.999f);
    CHECK(run.validators[1].stake == 1.0 / 3.0);
    CHECK(run.window_ms() == 84'000);
}

TEST_CASE("run.json: every value is read into its own field") {
    const json run = json::parse(run_to_json(example_run()));
    CHECK(leaves(run).size() == 67);
    for (const auto& path : leaves(run)) {
        CAPTURE(path.to_string());
        json changed = run;
        json& value = changed[path];
        if (path.to_string() == "/protocol") continue;
        if (path.to_string() == "/codec/code_bits")
            value = 4;
        else if (path.to_string() == "/gauntlet/openskill/ties")
            value = "v613";
        else if (value.is_boolean())
            value = !value.get<bool>();
        else if (value.is_number_integer())
            value = value.get<int64_t>() == 8 ? 4 : value.get<int64_t>() + 1;
        else if (value.is_number_float())
            value = value.get<double>() == 0 ? 0.25 : value.get<double>() / 2;
        else if (path.to_string() == "/name")
            value = "another";
        else
            value = to_hex(digest(path.to_string()));
        // heads and kv_heads depend on each other; either may be the one that changes
        if (path.to_string() == "/model/kv_heads") changed["/model/heads"_json_pointer] = 8;
        if (path.to_string() == "/model/heads") changed["/model/kv_heads"_json_pointer] = 4;
        if (path.to_string() == "/model/head_dim") value = 128;
        if (path.to_string() == "/codec/chunk_edge") value = 32;
        if (path.to_string() == "/model/rope_theta") value = 500000.0;
        CHECK(json::parse(run_to_json(run_from_json(changed.dump()))) == changed);
        CHECK(changed != run);
    }
}

TEST_CASE("run.json: each key missing, unknown or of another type is refused by name") {
    const json run = json::parse(run_to_json(example_run()));
    for (const auto& path : leaves(run)) {
        CAPTURE(path.to_string());
        const std::string key = path.back();
        json missing = run;
        missing[path.parent_pointer()].erase(key);
        CHECK(parse(missing, key) == ExitCode::input);
        json extra = run;
        extra[path.parent_pointer()]["x" + key] = 1;
        CHECK(parse(extra, "x" + key) == ExitCode::input);
        for (const json& other : {json(nullptr), json::array(), json::object(), json(true), json("text"),
                                  json(1e300), json(-1e300), json(INT64_MIN), json(UINT64_MAX)}) {
            CAPTURE(other.dump());
            if (other.type() == run[path].type() && (other.is_boolean() || key == "name")) continue;
            json wrong = run;
            wrong[path] = other;
            CHECK(parse(wrong, key) == ExitCode::input);
        }
        if (run[path].is_number_integer()) {
            json fraction = run;
            fraction[path] = run[path].get<double>() + 0.5;
            CHECK(parse(fraction, key) == ExitCode::input);
        }
    }
    for (const char* group : {"model", "clock", "registry", "codec", "optimiser", "gather", "gauntlet"}) {
        json missing = run;
        missing.erase(group);
        CHECK(parse(missing, group) == ExitCode::input);
        json wrong = run;
        wrong[group] = json::array();
        CHECK(parse(wrong, group) == ExitCode::input);
    }
}

TEST_CASE("run.json: values that cannot work together are refused") {
    auto refused = [](std::string_view mentions, auto change) {
        RunDescription run = example_run();
        change(run);
        CHECK(code_of([&] { run_to_json(run); }, mentions) == ExitCode::input);
    };
    refused("code_bits", [](RunDescription& run) { run.codec.code_bits = 3; });
    refused("validators: expected at least one", [](RunDescription& run) { run.validators.clear(); });
    refused("validators: expected each hotkey once",
            [](RunDescription& run) { run.validators[1] = run.validators[0]; });
    refused("validators[0].stake", [](RunDescription& run) { run.validators[0].stake = 0; });
    refused("end_token", [](RunDescription& run) { run.end_token = 32000; });
    refused("name", [](RunDescription& run) { run.name = "two\nlines"; });
    refused("name", [](RunDescription& run) { run.name = ""; });
    refused("max_peers", [](RunDescription& run) { run.max_peers = 257; });
    refused("heads", [](RunDescription& run) { run.model.kv_heads = 3; });
    refused("beta", [](RunDescription& run) { run.beta = std::numeric_limits<float>::quiet_NaN(); });
}

TEST_CASE("a run is created once, and opened as it was created") {
    Scratch folder;
    const auto bucket = open_bucket(folder.url());
    CHECK(code_of([&] { open_run(*bucket); }, "no run begins there") == ExitCode::input);
    const Run created = create_run(*bucket, example_run());
    CHECK(created.id == sha256(*bucket->get("run.json", 1 << 20)));
    CHECK(create_run(*bucket, example_run()).id == created.id);
    CHECK(open_run(*bucket).id == created.id);
    CHECK(open_run(*bucket, created.id).description.name == "test run");
    RunDescription other = example_run();
    other.beta = 0.5f;
    CHECK(code_of([&] { create_run(*bucket, other); }, "describes another run") == ExitCode::input);

    // Edited after the run began: still well-formed, but another run.
    bucket->put("run.json", as_bytes(run_to_json(other)));
    CHECK(code_of([&] { open_run(*bucket, created.id); }, "changed after the run began") ==
          ExitCode::diverged);
    CHECK(open_run(*bucket).id != created.id);
    bucket->put("run.json", as_bytes("{"));
    CHECK(code_of([&] { open_run(*bucket); }, "run.json") == ExitCode::input);
    bucket->put("run.json", Bytes(1 << 20, ' '));
    CHECK(code_of([&] { open_run(*bucket); }, "expected at most") == ExitCode::input);
}
