#include "node/local_swarm.h"

#include "base/error.h"
#include "base/file.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <exception>
#include <thread>

namespace templar {

namespace {

constexpr const char* run_bucket = "run";

std::string s3_url(const std::string& bucket, const S3Profile& service, const char* profile) {
    return fmt::format("s3://{}?endpoint={}&region={}&profile={}", bucket, service.endpoint, service.region,
                       profile);
}

void write_key_file(const std::filesystem::path& path, const std::map<std::string, S3Profile>& profiles) {
    std::string text;
    for (const auto& [name, profile] : profiles) {
        text += fmt::format("[{}]\naws_access_key_id = {}\naws_secret_access_key = {}\n", name,
                            profile.credentials.access_key_id, profile.credentials.secret_access_key);
        if (!profile.credentials.session_token.empty())
            text += fmt::format("aws_session_token = {}\n", profile.credentials.session_token);
    }
    std::filesystem::remove(path);
    if (!create_file(path, as_bytes(text), 0600))
        fail(ExitCode::storage, "{} appeared while it was written", path.string());
}

LocalPeer make_peer(const LocalSwarmOptions& options, const std::string& role, int number) {
    LocalPeer peer;
    peer.name = fmt::format("{}-{}", role, number);
    peer.role = role;
    peer.folder = options.folder / "peers" / peer.name;
    std::filesystem::create_directories(peer.folder);
    const std::filesystem::path key = peer.folder / "key";
    if (options.seeded_keys && !std::filesystem::exists(key))
        Identity::from_seed(Sha256().update("local swarm").update_le(options.seed).update(peer.name).finish())
            .save(key);
    const Identity identity = Identity::load_or_create(key);
    peer.hotkey = identity.hotkey();
    if (!options.s3_credentials.empty()) {
        const S3Profile payload = find_profile(peer.name, options.s3_credentials);
        peer.payload_url = s3_url(peer.name, payload, "payload");
        write_key_file(peer.folder / "credentials",
                       {{"run", find_profile(run_bucket, options.s3_credentials)},
                        {"payload", payload},
                        {"read", find_profile(peer.name + "-read", options.s3_credentials)}});
    }
    return peer;
}

void describe(const LocalSwarm& swarm, const LocalSwarmOptions& options) {
    const RunDescription& run = swarm.created.run.description;
    nlohmann::json peers = nlohmann::json::array();
    for (const LocalPeer& peer : swarm.peers)
        peers.push_back({{"name", peer.name}, {"role", peer.role}, {"hotkey", to_hex(peer.hotkey)}});
    const nlohmann::json text = {
        {"name", run.name},
        {"text", options.text_description},
        {"unigram_loss", swarm.created.unigram_loss},
        {"train_tokens", swarm.created.train_tokens},
        {"heldout_tokens", swarm.created.heldout_tokens},
        {"started_ms", run.t0_ms},
        {"window_ms", run.window_ms()},
        {"run_id", to_hex(swarm.created.run.id)},
        {"model",
         {{"parameters", parameter_count(run.model)},
          {"description", fmt::format("{} layers of {}, {} heads of {}, vocabulary {}, sequence {}",
                                      run.model.layers, run.model.hidden_size, run.model.heads,
                                      run.model.head_dim, run.model.vocab_size, run.seq)}}},
        {"peers", peers}};
    write_file(swarm.folder / "swarm.json", as_bytes(text.dump(2) + "\n"));
}

}  // namespace

LocalSwarm create_local_swarm(const LocalSwarmOptions& options, Clock& clock) {
    if (std::filesystem::exists(options.folder / "bucket" / "run.json"))
        fail(ExitCode::input, "{} holds a run already; remove it or choose another folder",
             options.folder.string());
    LocalSwarm swarm;
    swarm.folder = options.folder;
    swarm.bucket_url =
        "file://" + (std::filesystem::absolute(options.folder) / "bucket").lexically_normal().string();
    CreateOptions create;
    if (!options.s3_credentials.empty()) {
        swarm.bucket_url = s3_url(run_bucket, find_profile(run_bucket, options.s3_credentials), run_bucket);
        create.bucket.credentials = options.s3_credentials;
        create.bucket.allow_http = true;
        create.bucket.stop = options.stop;
    }
    if (!options.bucket_url.empty()) {
        swarm.bucket_url = options.bucket_url;
        create.bucket = options.bucket;
    }
    create.bucket_url = swarm.bucket_url;
    create.texts = options.texts;
    create.description = options.run;
    create.start_delay_ms = options.start_delay_ms;
    create.genesis_seed = options.seed;
    create.say = options.say;
    for (auto [role, count] : {std::pair{"validator", options.validators},
                               {"miner", options.miners},
                               {"copycat", options.copycats},
                               {"noise", options.noise}})
        for (int number = 1; number <= count; ++number) {
            swarm.peers.push_back(make_peer(options, role, number));
            if (swarm.peers.back().role == "validator")
                create.description.validators.push_back({swarm.peers.back().hotkey, 1.0});
        }
    for (const Hotkey& hotkey : options.other_validators)
        create.description.validators.push_back({hotkey, 1.0});
    swarm.created = create_run_from_text(create, clock);
    describe(swarm, options);
    return swarm;
}

std::vector<Digest> run_virtual(const LocalSwarm& swarm, const VirtualRunOptions& options,
                                VirtualClock& clock) {
    std::vector<size_t> order = options.start_order;
    if (order.empty())
        for (size_t i = 0; i < swarm.peers.size(); ++i) order.push_back(i);
    std::vector<Digest> roots(swarm.peers.size());
    std::vector<std::exception_ptr> errors(swarm.peers.size());
    std::atomic<bool> stop{false};

    auto live = [&](size_t position) {
        const LocalPeer& peer = swarm.peers[position];
        NodeOptions node;
        node.bucket_url = swarm.bucket_url;
        node.folder = peer.folder;
        node.expected_run = swarm.created.run.id;
        node.device = options.device;
        if (options.open_devices) node.open_devices = [&](const DeviceChoice&) { return options.open_devices(peer); };
        node.last_window = options.windows - 1;
        node.open = options.open;
        if (peer.role == "validator") {
            Validator validator({.node = node, .micro_batch = 8, .heldout_sequences = 16}, clock, stop);
            validator.run();
            roots[position] = validator.root();
        } else {
            Miner miner({.node = node,
                         .micro_batch = options.micro_batch,
                         .tokens_per_window = options.tokens_per_window,
                         .behaviour = behaviour_from_name(peer.role == "miner" ? "honest" : peer.role)},
                        clock, stop);
            miner.run();
            roots[position] = miner.root();
        }
    };

    // Nobody's time moves before everybody has been counted.
    std::vector<std::unique_ptr<VirtualClock::Participant>> participants;
    for (size_t i = 0; i < order.size(); ++i)
        participants.push_back(std::make_unique<VirtualClock::Participant>(clock));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < order.size(); ++i)
        threads.emplace_back([&, i] {
            try {
                live(order[i]);
            } catch (...) {
                errors[order[i]] = std::current_exception();
                stop = true;
            }
            participants[i].reset();
        });
    std::atomic<bool> finished{false};
    std::thread watch([&] {
        while (!finished) {
            if (options.stop && *options.stop) stop = true;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    });
    for (std::thread& thread : threads) thread.join();
    finished = true;
    watch.join();
    for (const std::exception_ptr& error : errors)
        if (error) std::rethrow_exception(error);
    return roots;
}

}  // namespace templar
