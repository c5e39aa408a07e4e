// Payloads as an attacker would send them: each ends in a stated reason, and the others go on.
#include "sample.h"

#include "node/follower.h"

#include <doctest/doctest.h>

#include <functional>
#include <thread>

using namespace templar;

namespace {

// A registered participant that commits to and reveals one object per window, made by its tamper function
// from a well-formed one.
struct Attack {
    std::string name;
    std::string expected_reason;
    // The object to reveal; the commit promises exactly it unless `committed` is set.
    std::function<Bytes(Follower&, const PayloadHeader&, Bytes payload)> make;
};

Bytes well_formed(Follower& follower, PayloadHeader header, const Bytes& payload) {
    return encode_payload(follower.identity(), header, payload);
}

PayloadHeader honest_header(Follower& follower) {
    const Replica& replica = follower.replica();
    PayloadHeader header;
    header.run_id = follower.run().id;
    header.window = static_cast<uint64_t>(follower.window());
    header.root = replica.root();
    header.layout = replica.layout().hash;
    header.tokens = 64;
    header.possession = replica.possession_proof(follower.identity().hotkey(), header.window);
    return header;
}

// A payload of zeros is malformed (ascending indices); this one says "nothing to send" in every chunk.
Bytes empty_payload(const Layout& layout) {
    Bytes payload(static_cast<size_t>(layout.payload_bytes), 0);
    for (const TensorLayout& tensor : layout.tensors) {
        const SparseOut out = sparse_out(tensor, payload);
        for (int64_t chunk = 0; chunk < tensor.grid.chunks(); ++chunk)
            for (int32_t i = 0; i < tensor.format.k; ++i)
                for (int32_t bit = 0; bit < tensor.format.index_bits; ++bit) {
                    const int64_t at = (chunk * tensor.format.k + i) * tensor.format.index_bits + bit;
                    if (i >> bit & 1)
                        out.indices[at / 8] = static_cast<uint8_t>(out.indices[at / 8] | 1 << (at % 8));
                }
    }
    return payload;
}

const std::vector<Attack>& attacks() {
    static const std::vector<Attack> list = {
        {"cut", "malformed",
         [](Follower& f, const PayloadHeader& h, Bytes p) {
             Bytes object = well_formed(f, h, p);
             object.resize(object.size() - 1);
             return object;
         }},
        {"padded", "malformed",
         [](Follower& f, const PayloadHeader& h, Bytes p) {
             Bytes object = well_formed(f, h, p);
             object.push_back(0);
             return object;
         }},
        {"bit flipped", "malformed",
         [](Follower& f, const PayloadHeader& h, Bytes p) {
             Bytes object = well_formed(f, h, p);
             object[object.size() / 2] ^= 1;
             return object;
         }},
        {"of another run", "malformed",
         [](Follower& f, PayloadHeader h, Bytes p) {
             h.run_id[0] ^= 1;
             return well_formed(f, h, p);
         }},
        {"of another window", "malformed",
         [](Follower& f, PayloadHeader h, Bytes p) {
             h.window += 1;
             return well_formed(f, h, p);
         }},
        {"of another layout", "malformed",
         [](Follower& f, PayloadHeader h, Bytes p) {
             h.layout[31] ^= 1;
             return well_formed(f, h, p);
         }},
        {"signed by another key", "malformed",
         [](Follower&, const PayloadHeader& h, Bytes p) {
             return encode_payload(Identity::from_seed(sha256(as_bytes("stranger"))), h, p);
         }},
        {"without possession of the weights", "malformed",
         [](Follower& f, PayloadHeader h, Bytes p) {
             h.possession[5] ^= 1;
             return well_formed(f, h, p);
         }},
        {"from an unknown state", "behind",
         [](Follower& f, PayloadHeader h, Bytes p) {
             h.root[0] ^= 1;
             return well_formed(f, h, p);
         }},
        {"with a malformed code", "malformed",
         [](Follower& f, const PayloadHeader& h, Bytes p) {
             p[2] = 0;  // a scale byte of 0 with codes that are not
             p.back() = 0xff;
             std::fill(p.begin() + 3, p.end(), uint8_t{0xff});
             return well_formed(f, h, p);
         }},
        {"not the committed one", "hash_differs", nullptr},
        {"never revealed", "not_retrievable", nullptr},
        {"empty but well-formed", "",
         [](Follower& f, const PayloadHeader& h, Bytes p) { return well_formed(f, h, p); }},
    };
    return list;
}

// Plays attack number w in window w.
void attack(const LocalSwarm& swarm, const std::filesystem::path& folder, VirtualClock& clock,
            const std::atomic<bool>& stop, Hotkey& hotkey) {
    NodeOptions node;
    node.bucket_url = swarm.bucket_url;
    node.folder = folder;
    node.device.threads = 1;
    Follower follower(node, "miner", clock, stop);
    hotkey = follower.identity().hotkey();
    const RunDescription& run = follower.description();
    for (const Attack& attack : attacks()) {
        if (!follower.sleep_until(run.start_ms(follower.window()))) return;
        const int64_t window = follower.window();
        const Bytes good =
            well_formed(follower, honest_header(follower), empty_payload(follower.replica().layout()));
        Bytes object = attack.make ? attack.make(follower, honest_header(follower),
                                                 empty_payload(follower.replica().layout()))
                                   : good;
        const Commit commit{.run_id = follower.run().id,
                            .window = window,
                            .object_hash = sha256(object),
                            .object_bytes = follower.object_bytes(),
                            .tokens = 64};
        follower.bucket().create(commit_key(window, hotkey),
                                 seal(follower.identity(), "commit", commit_to_json(commit)));
        follower.sleep_until(run.start_ms(window + 1));
        if (attack.name == "not the committed one") {
            PayloadHeader other = honest_header(follower);
            other.tokens = 65;
            object = well_formed(follower, other, empty_payload(follower.replica().layout()));
        }
        if (attack.name != "never revealed")
            follower.payload_bucket().create(payload_key(window, hotkey), object);
        const std::optional<Record> record = follower.wait_for_record();
        if (!record) return;
        follower.apply(*record, *follower.fetch_payloads(*record, {}));
    }
}

}  // namespace

TEST_CASE("every malformed payload is refused with its reason while the honest miners go on") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 2);
    std::atomic<bool> stop{false};
    Hotkey attacker{};
    std::exception_ptr trouble;
    auto participant = std::make_unique<VirtualClock::Participant>(clock);
    std::thread thread([&] {
        try {
            attack(swarm, folder.path() / "attacker", clock, stop, attacker);
        } catch (...) {
            trouble = std::current_exception();
        }
        participant.reset();
    });
    const auto windows = static_cast<int64_t>(attacks().size());
    const std::vector<Digest> roots = run_virtual(
        swarm,
        {.windows = windows, .tokens_per_window = 128, .micro_batch = 2, .start_order = {}},
        clock);
    stop = true;
    thread.join();
    if (trouble) std::rethrow_exception(trouble);
    for (const Digest& root : roots) CHECK(root == roots.front());

    const auto bucket = open_bucket(swarm.bucket_url);
    for (int64_t window = 0; window < windows; ++window) {
        const Attack& attack = attacks()[static_cast<size_t>(window)];
        CAPTURE(attack.name);
        const auto object = bucket->get(record_key(window), max_record_bytes);
        REQUIRE(object);
        const Record record =
            record_from_json(unseal(*object, "record", "record").body, swarm.created.run.id, window);
        // A window behind an unknown-root or refused payload keeps a penalty, but the honest miners' updates
        // are merged.
        int64_t honest = 0;
        for (const RecordEntry& entry : record.accepted) honest += entry.hotkey != attacker;
        CHECK(honest == 2);
        std::string reason;
        for (const RecordRejection& rejection : record.rejected)
            if (rejection.hotkey == attacker) {
                reason = rejection.reason;
                CHECK(!rejection.evidence.empty());
            }
        CHECK(reason == attack.expected_reason);
    }
}

TEST_CASE("what a stranger writes into the bucket stops nobody") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 2);
    const auto bucket = open_bucket(swarm.bucket_url);
    const Hotkey victim = swarm.peers[1].hotkey;
    const Identity stranger = Identity::from_seed(sha256(as_bytes("stranger")));
    bucket->put(record_key(1), as_bytes("junk"));
    bucket->put(record_key(2), Bytes(max_record_bytes + 1));
    bucket->put(record_key(3), seal(stranger, "record", "{}"));
    bucket->put(commit_key(1, victim), as_bytes("junk"));
    bucket->put(commit_key(2, victim), Bytes(max_commit_bytes + 1));
    bucket->put(ledger_key(0), as_bytes("junk"));
    bucket->put("secret/00000002", as_bytes("a file where a folder should be"));
    bucket->put("scores/00000002", as_bytes("a file where a folder should be"));
    for (int i = 0; i < 50; ++i) bucket->put(fmt::format("commit/00000001/noise-{}", i), as_bytes("junk"));

    const std::vector<Digest> roots = run_virtual(
        swarm, {.windows = 5, .tokens_per_window = 128, .micro_batch = 2, .start_order = {}},
        clock);
    for (const Digest& root : roots) CHECK(root == roots.front());
    for (int64_t window = 0; window < 5; ++window) {
        CAPTURE(window);
        const Record record = record_from_json(
            unseal(*bucket->get(record_key(window), max_record_bytes), "record", "record").body,
            swarm.created.run.id, window);
        CHECK(record.accepted.size() >= 1);  // who has no weight yet need not be on the gather list
        CHECK(record.rejected.empty());
    }
}

TEST_CASE("a payload that its owner removes after it was accepted is read from the validator's archive") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 2);
    const VirtualRunOptions options{
        .windows = 3, .tokens_per_window = 128, .micro_batch = 2, .start_order = {}};
    const std::vector<Digest> roots = run_virtual(swarm, options, clock);
    for (size_t miner : {1, 2}) std::filesystem::remove_all(swarm.peers[miner].folder / "bucket" / "payload");

    // A newcomer replays the run although nobody but the validator has its payloads any more.
    std::atomic<bool> stop{false};
    NodeOptions node;
    node.bucket_url = swarm.bucket_url;
    node.folder = folder.path() / "newcomer";
    node.device.threads = 1;
    SystemClock system;
    Follower newcomer(node, "miner", system, stop);
    newcomer.catch_up();
    CHECK(newcomer.window() == 3);
    CHECK(newcomer.replica().root() == roots.front());

    // A second program in the same folder would commit twice in one name.
    try {
        Follower second(node, "miner", system, stop);
        FAIL("two programs in one folder");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::usage);
        CHECK(std::string(error.what()).find("another program uses the folder") != std::string::npos);
    }
}
