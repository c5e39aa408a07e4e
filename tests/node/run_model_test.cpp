// A run's model as others use it: from its bucket, from a participant's folder, as a Hugging Face directory.
#include "node/run_model.h"

#include "node/model_folder.h"
#include "node/run_objects.h"
#include "sample.h"
#include "tokenizer/tokenizer.h"

#include <doctest/doctest.h>

using namespace templar;
namespace fs = std::filesystem;

namespace {

Digest root_of(const SavedModel& model, const RunDescription& run) {
    return state_tree(make_layout(llama_parameters(model.config), run.codec), model.params, 1).root;
}

std::string failure(const LocalSwarm& swarm, ExitCode code) {
    const TemporaryFolder folder;
    const std::atomic<bool> stop{false};
    SystemClock clock;
    try {
        load_run_model({.bucket_url = swarm.bucket_url}, folder.path(), clock, stop);
    } catch (const Error& error) {
        CHECK(error.code() == code);
        return error.what();
    }
    return "nothing wrong";
}

}  // namespace

TEST_CASE("the model of a run, read from its bucket alone and from a participant's folder") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 2);
    const RunDescription& run = swarm.created.run.description;
    const std::atomic<bool> stop{false};
    fs::create_directory(folder.path() / "scratch");
    const SavedModel genesis = load_run_model({.bucket_url = swarm.bucket_url}, folder.path() / "scratch", clock, stop);
    CHECK(root_of(genesis, run) == run.genesis_root);

    const std::vector<Digest> roots =
        run_virtual(swarm, {.windows = 5, .tokens_per_window = 256, .micro_batch = 2, .start_order = {}}, clock);
    const auto bucket = open_bucket(swarm.bucket_url);
    const size_t objects = bucket->list("").size();
    int64_t told = 0;
    const SavedModel model = load_run_model({.bucket_url = swarm.bucket_url,
                                             .progress =
                                                 [&](int64_t window, int64_t windows) {
                                                     told = window;
                                                     CHECK(windows >= window);
                                                 }},
                                            folder.path() / "scratch", clock, stop);
    CHECK(told == 5);
    CHECK(root_of(model, run) == roots.front());
    CHECK(model.params != genesis.params);
    CHECK(model.config == run.model);
    CHECK(model.seq == run.seq);
    CHECK(load_tokenizer(model.tokenizer)->end_token() == model.end_token);
    CHECK(bucket->list("").size() == objects);

    for (const LocalPeer& peer : swarm.peers) {
        const SavedModel kept = load_model(peer.folder);
        CHECK(kept.config == model.config);
        CHECK(kept.params == model.params);
        CHECK(kept.end_token == model.end_token);
        CHECK(load_tokenizer(kept.tokenizer)->vocab_size() == model.config.vocab_size);
    }

    write_model_folder(model, folder.path() / "exported", {.weights = {.dtype = DType::f32}});
    const SavedModel again = load_model(folder.path() / "exported");
    CHECK(again.params == model.params);
    CHECK(again.end_token == model.end_token);
    CHECK(load_tokenizer(again.tokenizer)->encode("the miner keeps") ==
          load_tokenizer(model.tokenizer)->encode("the miner keeps"));
    CHECK_THROWS_AS(write_model_folder(model, folder.path() / "exported", {}), Error);

    // A tokenizer of another size, and none at all.
    SavedModel other = model;
    other.config.vocab_size = 3000;
    CHECK_THROWS_AS(check_model(other, {}), Error);
    other.tokenizer.clear();
    CHECK_THROWS_AS(write_model_folder(other, folder.path() / "other", {.tokenizer = model.tokenizer}), Error);
    CHECK(!fs::exists(folder.path() / "other"));
}

TEST_CASE("what a run's bucket lacks or has wrong ends reading its model") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 1);
    run_virtual(swarm, {.windows = 3, .tokens_per_window = 256, .micro_batch = 2, .start_order = {}}, clock);
    const auto bucket = open_bucket(swarm.bucket_url);

    // Junk in the place of a record: there may be more behind it.
    bucket->put(record_key(3), as_bytes("junk"));
    CHECK(failure(swarm, ExitCode::input).find(record_key(3)) != std::string::npos);
    bucket->remove(record_key(3));

    const Bytes tokenizer = *bucket->get(tokenizer_key, 1 << 20);
    bucket->put(tokenizer_key, as_bytes("{}"));
    CHECK(failure(swarm, ExitCode::input).find("its hash differs") != std::string::npos);
    bucket->put(tokenizer_key, tokenizer);
    CHECK(failure(swarm, ExitCode::ok) == "nothing wrong");

    const std::optional<Record> record = fetch_record(*bucket, swarm.created.run, 1);
    REQUIRE(record);
    REQUIRE(record->accepted.size() == 1);
    for (const LocalPeer& peer : swarm.peers)
        open_bucket("file://" + (peer.folder / "bucket").string())->remove(payload_key(1, record->accepted[0].hotkey));
    CHECK(failure(swarm, ExitCode::storage).find("cannot be had: it is not there") != std::string::npos);

    bucket->remove(genesis_key);
    CHECK(failure(swarm, ExitCode::input).find(genesis_key) != std::string::npos);
}
