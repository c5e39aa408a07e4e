#include "node/follower.h"

#include "base/error.h"
#include "tokenizer/shards.h"
#include "weights/checkpoint.h"
#include "weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t max_manifest_bytes = 16 << 20;
constexpr int64_t fetch_piece_bytes = 16 << 20;
constexpr int64_t poll_ms = 50;
constexpr size_t remembered_roots = 16;

// Copies a bucket object of known hash into a file, piece by piece; a file that already has the hash is kept.
void fetch_file(Bucket& bucket, const std::string& key, const std::filesystem::path& path, const Digest& hash,
                int64_t max_bytes) {
    if (std::filesystem::exists(path) && sha256(MappedFile(path).bytes()) == hash) return;
    const std::optional<ObjectInfo> info = bucket.head(key);
    if (!info) fail(ExitCode::input, "{}: the run's bucket has no object '{}'", bucket.url(), key);
    if (info->size > max_bytes)
        fail(ExitCode::input, "{}: object '{}' has {} bytes, expected at most {}", bucket.url(), key,
             info->size, max_bytes);
    Bytes whole;
    whole.reserve(static_cast<size_t>(info->size));
    for (int64_t offset = 0; offset < info->size; offset += fetch_piece_bytes) {
        const int64_t length = std::min(fetch_piece_bytes, info->size - offset);
        const std::optional<Bytes> piece = bucket.get_range(key, offset, length);
        if (!piece) fail(ExitCode::input, "{}: object '{}' went away while it was read", bucket.url(), key);
        whole.insert(whole.end(), piece->begin(), piece->end());
    }
    if (sha256(whole) != hash)
        fail(ExitCode::input, "{}: object '{}' is not the one the run was created with (its hash differs)",
             bucket.url(), key);
    write_file(path, whole);
}

std::filesystem::path prepared(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
    return folder;
}

std::string payload_url(const NodeOptions& options) {
    if (!options.payload_bucket_url.empty()) return options.payload_bucket_url;
    return "file://" + std::filesystem::absolute(options.folder / "bucket").lexically_normal().string();
}

ChainParams chain_params(const RunDescription& run) {
    ChainParams params;
    params.max_peers = run.max_peers;
    params.immunity_ms = run.immunity_windows * run.window_ms();
    for (const ValidatorEntry& validator : run.validators) params.stake[validator.hotkey] = validator.stake;
    return params;
}

}  // namespace

Follower::Follower(const NodeOptions& options, const std::string& role, Clock& clock,
                   const std::atomic<bool>& stop)
    : options_(options),
      clock_(clock),
      stop_(stop),
      ops_(cpu_ops()),
      stream_{usable_threads(options.threads)},
      bucket_(open_bucket(options.bucket_url, {.clock = &clock})),
      run_(open_run(*bucket_, options.expected_run)),
      events_(prepared(options.folder) / "events.jsonl"),
      identity_(Identity::load_or_create(options.folder / "key")),
      payload_bucket_(open_bucket(payload_url(options), {.create = true, .clock = &clock})) {
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
    chain_ = make_ledger_chain(*bucket_, clock_, chain_params(run_.description));
    uid_ = chain_->join(identity_, {payload_bucket_->url(), {}}, role);
    events_.write(clock_.now_ms(), "start",
                  {{"role", role},
                   {"hotkey", to_hex(identity_.hotkey())},
                   {"uid", uid_},
                   {"threads", stream_.threads},
                   {"kernels", ops_.name},
                   {"run", to_hex(run_.id)},
                   {"window", window_}});
    say(fmt::format("{} {} (uid {}) of run {}, {} with {} threads, at window {}", role,
                    to_hex(identity_.hotkey()).substr(0, 8), uid_, to_hex(run_.id).substr(0, 16), ops_.name,
                    stream_.threads, window_));
}

Follower::~Follower() {
    if (replica_)
        events_.write(clock_.now_ms(), "stop", {{"window", window_}, {"root", to_hex(replica_->root())}});
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
        replica_ = std::make_unique<Replica>(ops_, stream_, std::move(layout), std::move(theta));
        if (replica_->root() != saved->root)
            fail(ExitCode::diverged,
                 "{}: the checkpoint's weights do not have the root it names; remove the checkpoint to start "
                 "from genesis",
                 options_.folder.string());
    } else {
        const std::filesystem::path path = options_.folder / "genesis.safetensors";
        const std::optional<ObjectInfo> info = bucket_->head(genesis_key);
        if (!info)
            fail(ExitCode::input, "{}: the run's bucket has no object '{}'", bucket_->url(), genesis_key);
        const std::optional<Bytes> bytes = bucket_->get(genesis_key, layout.parameters * 4 + (16 << 20));
        if (!bytes)
            fail(ExitCode::input, "{}: object '{}' went away while it was read", bucket_->url(), genesis_key);
        const SafetensorsView file = read_safetensors(*bytes, genesis_key);
        if (file.tensors.size() != layout.tensors.size())
            fail(ExitCode::input, "{}: {} tensors, expected {}", genesis_key, file.tensors.size(),
                 layout.tensors.size());
        theta.reserve(static_cast<size_t>(layout.parameters));
        for (size_t i = 0; i < file.tensors.size(); ++i) {
            const NamedTensor& tensor = file.tensors[i];
            if (tensor.name != layout.tensors[i].name || tensor.shape != layout.tensors[i].shape)
                fail(ExitCode::input,
                     "{}: tensor {} is '{}', expected '{}' with the shape of the run's model", genesis_key, i,
                     tensor.name, layout.tensors[i].name);
            theta.insert(theta.end(), tensor.values.begin(), tensor.values.end());
        }
        replica_ = std::make_unique<Replica>(ops_, stream_, std::move(layout), std::move(theta));
        if (replica_->root() != run.genesis_root)
            fail(ExitCode::diverged, "{}: its state root is {}, the run was created with {}", genesis_key,
                 to_hex(replica_->root()), to_hex(run.genesis_root));
    }
    remember_root();
}

void Follower::remember_root() {
    roots_.emplace_back(window_, replica_->root());
    if (roots_.size() > remembered_roots) roots_.pop_front();
}

std::optional<int64_t> Follower::windows_behind(const Digest& root) const {
    // Newest first: a record without payloads leaves the root as it was.
    for (auto it = roots_.rbegin(); it != roots_.rend(); ++it)
        if (it->second == root) {
            int64_t behind = 0;  // counted in changes of state, not in windows during which nothing moved
            for (auto newer = roots_.rbegin(); newer != it; ++newer) behind += newer->second != root;
            return behind;
        }
    return std::nullopt;
}

std::optional<Record> Follower::find_record() {
    const std::string key = record_key(window_);
    Record record;
    try {
        const std::optional<Bytes> object = bucket_->get(key, max_record_bytes);
        if (!object) return std::nullopt;
        const Envelope envelope = unseal(*object, "record", key);
        const auto& validators = run_.description.validators;
        if (std::none_of(validators.begin(), validators.end(),
                         [&](const auto& v) { return v.hotkey == envelope.author; }))
            fail(ExitCode::input, "{}: signed by {}, who is no validator of this run", key,
                 to_hex(envelope.author));
        record = record_from_json(envelope.body, run_.id, window_);
    } catch (const Error& error) {
        if (error.code() != ExitCode::input) throw;
        // A stranger's object in the record's place: a validator will replace it.
        if (refused_record_ != window_) {
            refused_record_ = window_;
            events_.write(clock_.now_ms(), "refused", {{"object", key}, {"reason", error.what()}});
            say(error.what());
        }
        return std::nullopt;
    }
    if (record.root != replica_->root())
        fail(ExitCode::diverged,
             "{}: made from state {}, but this replica's state at window {} is {}; remove {} to start again "
             "from genesis",
             key, to_hex(record.root), window_, to_hex(replica_->root()), options_.folder.string());
    return record;
}

std::optional<Record> Follower::wait_for_record() {
    // The first validator writes two deadlines after the window's end; much later something is wrong with all
    // of them.
    const int64_t expected_ms = description().start_ms(window_ + 2);
    bool told = false;
    for (;;) {
        if (std::optional<Record> record = find_record()) return record;
        if (!told && clock_.now_ms() > expected_ms) {
            told = true;
            say(fmt::format("window {}: no '{}' yet; is a validator running?", window_, record_key(window_)));
        }
        if (!sleep_until(clock_.now_ms() + poll_ms)) return std::nullopt;
    }
}

Bucket& Follower::peer_bucket(const BucketAddress& address) {
    std::unique_ptr<Bucket>& bucket = peer_buckets_[address.url];
    if (!bucket) bucket = open_peer_bucket(address.url, address.read_key, {.allow_file = true}, &stop_);
    return *bucket;
}

int64_t Follower::object_bytes() const {
    return wire_object_bytes(replica_->layout().payload_bytes);
}

Follower::Fetched Follower::fetch_object(const BucketAddress& address, const Hotkey& hotkey, int64_t window) {
    Fetched result;
    const std::string key = payload_key(window, hotkey);
    auto fault = [&](Reason reason, std::string evidence) {
        result.fault = reason;
        result.evidence = std::move(evidence);
        return result;
    };
    try {
        Bucket& bucket = peer_bucket(address);
        const std::optional<ObjectInfo> info = bucket.head(key);
        if (!info) return fault(Reason::not_retrievable, fmt::format("no object '{}'", key));
        if (info->size != object_bytes())
            return fault(Reason::malformed,
                         fmt::format("'{}' has {} bytes, expected {}", key, info->size, object_bytes()));
        std::optional<Bytes> object = bucket.get(key, object_bytes());
        if (!object) return fault(Reason::not_retrievable, fmt::format("'{}' went away", key));
        bytes_down_ += static_cast<int64_t>(object->size());
        result.object = std::move(*object);
        result.modified_ms = info->modified_ms;
        return result;
    } catch (const Error& error) {
        return fault(Reason::not_retrievable, error.what());
    }
}

WirePayload Follower::check_object(const Bytes& object, int64_t window, const Hotkey& hotkey) const {
    const Layout& layout = replica_->layout();
    WirePayload payload = decode_payload(object, {.run_id = run_.id,
                                                  .window = static_cast<uint64_t>(window),
                                                  .hotkey = hotkey,
                                                  .layout = layout.hash,
                                                  .payload_bytes = layout.payload_bytes});
    if (const std::string fault = payload_fault(layout, payload.payload); !fault.empty())
        throw Error(ExitCode::input, fault);
    return payload;
}

// From its owner, else from the archive that every validator keeps: an owner who removes its payload after it
// was accepted stops nobody, and a newcomer finds the payloads of windows long gone. The recorded hash makes
// any source as good as another.
std::optional<WirePayload> Follower::find_payload(const RecordEntry& entry, std::string& trouble) {
    chain_->refresh();
    std::vector<const Neuron*> sources = {chain_->find(entry.hotkey)};
    for (const ValidatorEntry& validator : run_.description.validators)
        sources.push_back(chain_->find(validator.hotkey));
    trouble = "its owner has not joined";
    for (const Neuron* source : sources) {
        if (!source) continue;
        const Fetched fetched = fetch_object(source->bucket, entry.hotkey, window_);
        if (fetched.fault == Reason::none && sha256(fetched.object) == entry.object_hash)
            return check_object(fetched.object, window_, entry.hotkey);
        trouble = fetched.fault == Reason::none ? "its bytes are not the recorded ones" : fetched.evidence;
    }
    return std::nullopt;
}

std::optional<Payloads> Follower::fetch_payloads(const Record& record, const Payloads& known) {
    Payloads payloads;
    for (const RecordEntry& entry : record.accepted) {
        if (auto it = known.find(entry.hotkey); it != known.end()) {
            payloads.emplace(entry.hotkey, it->second);
            continue;
        }
        for (int64_t tries = 0;; ++tries) {
            std::string trouble;
            if (std::optional<WirePayload> payload = find_payload(entry, trouble)) {
                payloads.emplace(entry.hotkey, std::move(*payload));
                break;
            }
            if (tries == 20) {
                const std::string message = fmt::format("window {}: still waiting for the payload of {}: {}",
                                                        window_, to_hex(entry.hotkey).substr(0, 8), trouble);
                events_.write(clock_.now_ms(), "error", {{"message", message}});
                say(message);
            }
            if (!sleep_until(clock_.now_ms() +
                             std::min<int64_t>(poll_ms << std::min<int64_t>(tries, 6), 2000)))
                return std::nullopt;
        }
    }
    return payloads;
}

void Follower::apply(const Record& record, const Payloads& payloads) {
    std::vector<std::span<const uint8_t>> views;
    for (const RecordEntry& entry : record.accepted) views.emplace_back(payloads.at(entry.hotkey).payload);
    replica_->apply(
        {.eta = std::bit_cast<float>(record.eta_bits), .keep = std::bit_cast<float>(record.keep_bits)},
        views);
    if (!views.empty()) step_ = record.step + 1;
    ++window_;
    remember_root();
    peer_buckets_.clear();  // an owner may have moved or made its bucket anew
}

void Follower::catch_up() {
    while (!stopping()) {
        const std::optional<Record> record = find_record();
        if (!record) return;
        const std::optional<Payloads> payloads = fetch_payloads(*record, {});
        if (!payloads) return;
        apply(*record, *payloads);
    }
}

void Follower::save_state(std::span<const float> momentum, const std::string& extra) {
    Checkpoint checkpoint;
    checkpoint.window = static_cast<uint64_t>(window_);
    checkpoint.step = step_;
    checkpoint.root = replica_->root();
    checkpoint.theta.assign(replica_->theta().begin(), replica_->theta().end());
    checkpoint.momentum.assign(momentum.begin(), momentum.end());
    checkpoint.extra = to_hex(run_.id) + "\n" + extra;
    save_checkpoint(options_.folder, checkpoint);
}

}  // namespace templar
