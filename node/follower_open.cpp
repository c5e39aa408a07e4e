// How a participant starts: the run, its data, its genesis or checkpoint, its place in the registry. Whatever
// is missing or refused here ends the program.
#include "base/error.h"
#include "node/folder_lock.h"
#include "node/follower.h"
#include "node/own_buckets.h"
#include "node/run_objects.h"
#include "tokenizer/shards.h"
#include "weights/checkpoint.h"
#include "weights/huggingface.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t max_manifest_bytes = 16 << 20;

std::filesystem::path prepared(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
    return folder;
}

std::unique_ptr<Bucket> open_payload_bucket(const NodeOptions& options, Clock& clock,
                                            const std::atomic<bool>& stop) {
    BucketOptions bucket = own_bucket_options(options, clock, stop);
    bucket.create = true;
    return options.open(payload_url(options), bucket);
}

DeviceChoice with_plans(const NodeOptions& options) {
    DeviceChoice choice = options.device;
    choice.matmul_plans = (options.folder / "matmul-plans.txt").string();
    return choice;
}

}  // namespace

Follower::Follower(const NodeOptions& options, const std::string& role, Clock& clock,
                   const std::atomic<bool>& stop)
    : options_(options),
      clock_(clock),
      stop_(stop),
      devices_(options.open_devices(with_plans(options))),
      bucket_(options.open(options.bucket_url, own_bucket_options(options, clock, stop))),
      run_(open_run(*bucket_, options.expected_run)),
      lock_(lock_folder(prepared(options.folder))),
      events_(options.folder / "events.jsonl"),
      identity_(Identity::load_or_create(options.folder / "key")),
      payload_bucket_(open_payload_bucket(options, clock, stop)),
      peer_buckets_({.allow_file = options.bucket_url.starts_with("file://"),
                     .allow_http = options.allow_http,
                     .allow_private = options.allow_private},
                    stop),
      outages_(
          clock, stop, events_, [this](const std::string& line) { say(line); },
          longest_pause_ms(run_.description.window_ms())) {
    const auto& validators = run_.description.validators;
    const bool may_validate =
        std::any_of(validators.begin(), validators.end(),
                    [&](const ValidatorEntry& entry) { return entry.hotkey == identity_.hotkey(); });
    if (role == "validator" && !may_validate)
        fail(ExitCode::identity,
             "{}: hotkey {} is not among the {} validators that this run was created with",
             (options.folder / "key").string(), to_hex(identity_.hotkey()), validators.size());
    open_data();
    open_genesis();
    describe_model();
    const BucketAddress address = published_address(options_, *payload_bucket_);
    check_payload_bucket(address);
    chain_ = make_ledger_chain(*bucket_, clock_, chain_params(run_.description), &stop_);
    uid_ = chain_->join(identity_, address, role);
    outages_.reached(
        *payload_bucket_, [this] { payload_bucket_->sweep_unfinished(); }, "sweeping unfinished uploads");
    events_.write(clock_.now_ms(), "start",
                  {{"role", role},
                   {"hotkey", to_hex(identity_.hotkey())},
                   {"uid", uid_},
                   {"device", device().description()},
                   {"run", to_hex(run_.id)},
                   {"window", window_}});
    say(fmt::format("{} {} (uid {}) of run {}, on {}, at window {}", role, to_hex(identity_.hotkey()).substr(0, 8),
                    uid_, to_hex(run_.id).substr(0, 16), device().description(), window_));
    check_clock();
}

std::vector<Device*> Follower::devices() const {
    std::vector<Device*> all;
    for (const auto& device : devices_) all.push_back(device.get());
    return all;
}

Follower::~Follower() {
    if (replica_)
        events_.write(clock_.now_ms(), "stop", {{"window", window_}, {"root", to_hex(replica_->root())}});
}

// Before the address is published for everyone: this program can write there, and the others can read it. A
// name that nobody else uses; it is removed again where this key may.
void Follower::check_payload_bucket(const BucketAddress& address) {
    if (!address.url.starts_with("s3://")) return;
    const std::string key = "payload/check-" + to_hex(identity_.hotkey());
    payload_bucket_->put(key, identity_.hotkey());
    const std::unique_ptr<Bucket> as_others =
        open_peer_bucket(address.url, address.read_key, {.allow_http = true, .allow_private = true}, &stop_);
    const std::optional<Bytes> found = as_others->get(key, std::ssize(identity_.hotkey()));
    if (!found ||
        !std::equal(found->begin(), found->end(), identity_.hotkey().begin(), identity_.hotkey().end()))
        fail(ExitCode::storage,
             "{}: profile [{}], which is published, does not read there what profile of "
             "--payload-bucket writes: look at both",
             address.url, options_.read_profile);
    outages_.reached(
        *payload_bucket_, [&] { payload_bucket_->remove(key); }, "removing what start-up tried");
}

void Follower::open_data() {
    const std::filesystem::path folder = prepared(options_.folder / "data");
    fetch_file(*bucket_, manifest_key, folder / "manifest.json", run_.description.manifest,
               max_manifest_bytes);
    const Manifest manifest =
        manifest_from_json(read_text_file(folder / "manifest.json", max_manifest_bytes), manifest_key);
    if (manifest.vocab_size > run_.description.model.vocab_size)
        fail(ExitCode::input, "{}: {} tokens in the vocabulary, but the run's model has {}", manifest_key,
             manifest.vocab_size, run_.description.model.vocab_size);
    std::vector<std::filesystem::path> train, heldout;
    for (const ShardInfo& shard : manifest.shards) {
        fetch_file(*bucket_, "data/" + shard.file, folder / shard.file, shard.hash, 1024 + 4 * shard.tokens);
        (shard.split == "train" ? train : heldout).push_back(folder / shard.file);
    }
    corpus_ = std::make_unique<Corpus>(train);
    heldout_ = std::make_unique<Corpus>(heldout);
}

// With them the folder is one that load_model() takes as soon as there is a checkpoint.
void Follower::describe_model() {
    const RunDescription& run = run_.description;
    fetch_tokenizer(*bucket_, run_, options_.folder);
    const HuggingFaceConfig config{.model = run.model, .seq = run.seq, .begin_token = -1, .end_token = run.end_token};
    write_file(options_.folder / "config.json", as_bytes(config_to_json(config, DType::f32)));
}

void Follower::open_genesis() {
    const RunDescription& run = run_.description;
    Layout layout = make_layout(llama_parameters(run.model), run.codec);
    std::vector<float> theta;
    if (std::optional<Checkpoint> saved = load_checkpoint(options_.folder, layout.parameters)) {
        window_ = static_cast<int64_t>(saved->window);
        step_ = saved->step;
        theta = std::move(saved->theta);
        saved_momentum_ = std::move(saved->momentum);
        const std::string run_line = to_hex(run_.id) + "\n";
        if (!saved->extra.starts_with(run_line))
            fail(ExitCode::diverged, "{}: the checkpoint is of another run; use another folder",
                 options_.folder.string());
        saved_extra_ = saved->extra.substr(run_line.size());
        replica_ = std::make_unique<Replica>(device(), std::move(layout), theta);
        if (replica_->root() != saved->root)
            fail(ExitCode::diverged,
                 "{}: the checkpoint's weights do not have the root it names; remove the checkpoint to start "
                 "from genesis",
                 options_.folder.string());
    } else {
        theta = fetch_genesis(*bucket_, layout);
        replica_ = std::make_unique<Replica>(device(), std::move(layout), theta);
        if (replica_->root() != run.genesis_root)
            fail(ExitCode::diverged, "{}: its state root is {}, the run was created with {}", genesis_key,
                 to_hex(replica_->root()), to_hex(run.genesis_root));
    }
    remember_root();
}

}  // namespace templar
