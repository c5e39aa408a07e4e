#include "node/validator.h"

#include "base/error.h"
#include "node/phase_timer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cmath>

namespace templar {

namespace {

// A loss that is not a number is the worst there is: it must lose every match and still fit into a score
// object.
void make_finite(Evaluation& evaluation) {
    constexpr double worst = 1e6;
    for (double* loss :
         {&evaluation.own_before, &evaluation.own_after, &evaluation.random_before, &evaluation.random_after})
        if (!std::isfinite(*loss)) *loss = worst;
    if (!std::isfinite(evaluation.screen)) evaluation.screen = -worst;
}

std::string saved_text(const Gauntlet& gauntlet, const std::vector<Hotkey>& gather_now,
                       const std::map<int64_t, std::vector<Hotkey>>& gather) {
    nlohmann::json lists = nlohmann::json::object();
    auto names = [](const std::vector<Hotkey>& hotkeys) {
        nlohmann::json list = nlohmann::json::array();
        for (const Hotkey& hotkey : hotkeys) list.push_back(to_hex(hotkey));
        return list;
    };
    for (const auto& [window, hotkeys] : gather) lists[std::to_string(window)] = names(hotkeys);
    return nlohmann::json{{"gauntlet", gauntlet.save()}, {"gather_now", names(gather_now)}, {"gather", lists}}
        .dump();
}

std::vector<Hotkey> hotkeys_from(const nlohmann::json& list) {
    std::vector<Hotkey> hotkeys;
    for (const auto& name : list) hotkeys.push_back(digest_from_hex(name.get<std::string>(), "gather list"));
    return hotkeys;
}

}  // namespace

Validator::Validator(const ValidatorOptions& options, Clock& clock, const std::atomic<bool>& stop)
    : options_(options),
      follower_(options.node, "validator", clock, stop),
      gauntlet_(follower_.description().gauntlet),
      model_(follower_.ops(), follower_.stream(), follower_.description().model, options.micro_batch,
             follower_.description().seq, Pass::training),
      loss_(model_, follower_.corpus(), {follower_.description().page_sequences, follower_.description().seq},
            follower_.description().end_token),
      heldout_loss_(model_, follower_.heldout(), {1, follower_.description().seq},
                    follower_.description().end_token),
      stage2_(loss_, follower_.replica().layout().parameters),
      gradient_(static_cast<size_t>(follower_.replica().layout().parameters)) {
    const auto& validators = follower_.description().validators;
    for (size_t i = 0; i < validators.size(); ++i)
        if (validators[i].hotkey == follower_.identity().hotkey()) rank_ = static_cast<int64_t>(i);
    if (!follower_.saved_extra().empty()) {
        const auto saved = nlohmann::json::parse(follower_.saved_extra());
        gauntlet_.load(saved.at("gauntlet").get<std::string>());
        gather_now_ = hotkeys_from(saved.at("gather_now"));
        for (const auto& [window, list] : saved.at("gather").items())
            gather_[std::stoll(window)] = hotkeys_from(list);
    }
}

// Windows that passed while it was away are judged too, as far as their objects are still there.
void Validator::run() {
    while (!follower_.stopping() &&
           (options_.node.last_window < 0 || follower_.window() <= options_.node.last_window))
        if (!validate_window()) return;
}

// What the samples of a window are drawn with: nobody else can make this signature, and a restart makes the
// same one again.
Digest Validator::secret(int64_t window) const {
    ByteWriter subject;
    subject.put_bytes(follower_.run().id);
    subject.put(window);
    return sha256(follower_.identity().sign("evaluation secret", subject.bytes()));
}

// secret/<w> holds the hash of what the samples of window w are drawn with, before the window begins.
void Validator::promise_secret(int64_t window) {
    const nlohmann::json body = {
        {"run", to_hex(follower_.run().id)}, {"window", window}, {"hash", to_hex(sha256(secret(window)))}};
    put_notice(secret_commit_key(window, follower_.identity().hotkey()),
               seal(follower_.identity(), "secret", body.dump()));
}

// One window: wait for its reveals, stage 1, record, stage 2, scores, apply. False when stopped.
bool Validator::validate_window() {
    const RunDescription& run = follower_.description();
    const int64_t window = follower_.window();
    phases_.clear();
    if (previous_.empty() && window > 0) recall_previous();
    promise_secret(window);
    promise_secret(window + 1);
    const int64_t revealed_ms = run.start_ms(window + 1) + run.put_ms;
    Window found;
    found.window = window;
    {
        // Commits are read as soon as their time is over: one that appears later, whatever time it claims, is
        // none.
        const PhaseTimer timer(phases_, "wait");
        if (!follower_.sleep_until(run.start_ms(window + 1) + run.put_ms / 10)) return false;
        read_commits(found);
        if (!follower_.sleep_until(revealed_ms)) return false;
    }
    {
        const PhaseTimer timer(phases_, "stage1");
        collect(found);
    }
    {
        const PhaseTimer timer(phases_, "wait");
        if (!follower_.sleep_until(revealed_ms + run.record_ms * (rank_ + 1))) return false;
    }
    Record record;
    {
        const PhaseTimer timer(phases_, "record");
        record = make_record(found);
        archive(record, found);
        record = write_record(std::move(record));
        gather_now_ = record.gather;
        gather_now_.insert(gather_now_.end(), record.reserve.begin(), record.reserve.end());
        gather_[window + 2] = gather_now_;
    }
    Scores scores;
    {
        const PhaseTimer timer(phases_, "stage2");
        scores = measure(found);
    }
    std::optional<double> heldout;
    if (options_.heldout_sequences > 0) {
        const PhaseTimer timer(phases_, "heldout");
        heldout = heldout_loss_(follower_.replica().theta(),
                                spread_sequences(follower_.heldout(), run.seq, options_.heldout_sequences));
    }
    publish(scores, found);
    // The record may be another validator's, or older than what a peer shows now.
    Payloads known;
    for (const RecordEntry& entry : record.accepted)
        if (const auto commit = found.commits.find(entry.hotkey);
            commit != found.commits.end() && commit->second.object_hash == entry.object_hash &&
            found.payloads.contains(entry.hotkey))
            known.emplace(entry.hotkey, found.payloads.at(entry.hotkey));
    const std::optional<Payloads> payloads = follower_.fetch_payloads(record, known);
    if (!payloads) return false;
    // A copy must not speak against the one it was copied from.
    std::erase_if(found.payloads, [&](const auto& entry) {
        return found.verdicts.at(entry.first).penalty.reason == Reason::overlap;
    });
    {
        const PhaseTimer timer(phases_, "apply");
        follower_.apply(record, *payloads);
        previous_ = std::move(found.payloads);
        gather_.erase(window);
        follower_.save_state({}, saved_text(gauntlet_, gather_now_, gather_));
    }
    log_window(scores, found, record, heldout);
    return true;
}

// ---- stage 1
// -------------------------------------------------------------------------------------------------------------

void Validator::collect(Window& found) {
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner") continue;
        if (found.commits.contains(peer.hotkey) || gauntlet_.active(peer.hotkey, found.window))
            judge_submission(found, peer);
    }
    compare_indices(found);

    const bool own_fault = is_own_fault(found);
    found.verdicts = gauntlet_.stage1(found.window, found.submissions, own_fault);
    gauntlet_.age(found.window);
}

// Nobody is to blame when this validator could not reach most of those it gathers, or when the record before
// came too late for anyone to work in this window.
bool Validator::is_own_fault(const Window& found) {
    const auto list = gather_.find(found.window);
    const bool everyone = list == gather_.end() || list->second.empty();
    int64_t committed = 0, unreachable = 0;
    for (const auto& [hotkey, submission] : found.submissions) {
        if (!everyone && std::find(list->second.begin(), list->second.end(), hotkey) == list->second.end())
            continue;
        committed += submission.fault != Reason::no_commit;
        unreachable += submission.fault == Reason::not_retrievable;
    }
    if (2 * unreachable > committed) return true;
    if (found.window == 0) return false;
    const std::optional<ObjectInfo> before = follower_.bucket().head(record_key(found.window - 1));
    return before && before->modified_ms >= follower_.description().start_ms(found.window + 1);
}

// Of registered miners only: what strangers put beside them costs nothing.
void Validator::read_commits(Window& found) {
    follower_.chain().refresh();
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner") continue;
        const std::string key = commit_key(found.window, peer.hotkey);
        try {
            const std::optional<ObjectInfo> info = follower_.bucket().head(key);
            const std::optional<Bytes> object =
                info ? follower_.bucket().get(key, max_commit_bytes) : std::nullopt;
            if (!object) continue;
            const Envelope envelope = unseal(*object, "commit", key);
            if (envelope.author != peer.hotkey) fail(ExitCode::input, "{}: signed by another key", key);
            found.commits[peer.hotkey] = commit_from_json(envelope.body, follower_.run().id, found.window);
            found.committed_ms[peer.hotkey] = info->modified_ms;
        } catch (const Error& error) {
            // Not a commit: as if it were not there, and on the record of this validator.
            follower_.events().write(follower_.clock().now_ms(), "refused",
                                     {{"object", key}, {"reason", error.what()}});
        }
    }
}

void Validator::judge_submission(Window& found, const Neuron& peer) {
    const RunDescription& run = follower_.description();
    const int64_t window = found.window;
    Submission& submission = found.submissions[peer.hotkey];
    auto fault = [&submission](Reason reason, std::string evidence) {
        submission.fault = reason;
        submission.evidence = std::move(evidence);
    };
    const auto commit = found.commits.find(peer.hotkey);
    if (commit == found.commits.end())
        return fault(Reason::no_commit, fmt::format("no valid '{}'", commit_key(window, peer.hotkey)));
    const int64_t commit_late = found.committed_ms[peer.hotkey] - run.start_ms(window + 1);
    if (commit_late >= 0)
        return fault(Reason::late, fmt::format("committed {} ms after the window's end", commit_late));
    if (commit->second.object_bytes != follower_.object_bytes())
        return fault(Reason::malformed, fmt::format("commit promises {} bytes, this run's payloads have {}",
                                                    commit->second.object_bytes, follower_.object_bytes()));
    const Follower::Fetched fetched = follower_.fetch_object(peer.bucket_url, peer.hotkey, window);
    if (fetched.fault != Reason::none) return fault(fetched.fault, fetched.evidence);
    const int64_t reveal_late = fetched.modified_ms - run.start_ms(window + 1) - run.put_ms;
    if (reveal_late > 0)
        return fault(Reason::late, fmt::format("revealed {} ms after the deadline", reveal_late));
    if (sha256(fetched.object) != commit->second.object_hash)
        return fault(Reason::hash_differs, fmt::format("committed {}, revealed {}",
                                                       to_hex(commit->second.object_hash).substr(0, 16),
                                                       to_hex(sha256(fetched.object)).substr(0, 16)));
    try {
        WirePayload payload = follower_.check_object(fetched.object, window, peer.hotkey);
        if (static_cast<int64_t>(payload.header.tokens) != commit->second.tokens)
            fail(ExitCode::input, "tokens: committed {}, header says {}", commit->second.tokens,
                 payload.header.tokens);
        submission.windows_behind = follower_.windows_behind(payload.header.root);
        const Replica& replica = follower_.replica();
        if (submission.windows_behind == 0 &&
            payload.header.possession != possession_proof(replica.layout(), replica.theta(), replica.root(),
                                                          peer.hotkey, payload.header.window))
            fail(ExitCode::input, "possession proof: not that of state {} and this hotkey",
                 to_hex(replica.root()).substr(0, 16));
        found.payloads.emplace(peer.hotkey, std::move(payload));
        found.objects.emplace(peer.hotkey, fetched.object);
    } catch (const Error& error) {
        fault(Reason::malformed, error.what());
    }
}

// After a restart: the last window's accepted payloads, as far as their owners still have them.
void Validator::recall_previous() {
    const int64_t window = follower_.window() - 1;
    const std::optional<Bytes> object = follower_.bucket().get(record_key(window), max_record_bytes);
    if (!object) return;
    follower_.chain().refresh();
    const Record record =
        record_from_json(unseal(*object, "record", record_key(window)).body, follower_.run().id, window);
    for (const RecordEntry& entry : record.accepted) {
        const Neuron* owner = follower_.chain().find(entry.hotkey);
        if (!owner) continue;
        const Follower::Fetched fetched = follower_.fetch_object(owner->bucket_url, entry.hotkey, window);
        if (fetched.fault == Reason::none && sha256(fetched.object) == entry.object_hash)
            previous_.emplace(entry.hotkey, follower_.check_object(fetched.object, window, entry.hotkey));
    }
}

// Each payload against those committed before it: this window's earlier commits and everything of the last
// window.
void Validator::compare_indices(Window& found) {
    const Layout& layout = follower_.replica().layout();
    for (const auto& [hotkey, payload] : found.payloads) {
        Submission& submission = found.submissions[hotkey];
        auto compare = [&](const Hotkey& other, const WirePayload& earlier) {
            const double overlap = index_overlap(layout, payload.payload, earlier.payload);
            if (overlap <= submission.overlap) return;
            submission.overlap = overlap;
            submission.overlap_with =
                fmt::format("{} of window {}", to_hex(other).substr(0, 8), earlier.header.window);
        };
        for (const auto& [other, earlier] : found.payloads)
            if (std::pair(found.committed_ms[other], other) < std::pair(found.committed_ms[hotkey], hotkey))
                compare(other, earlier);
        for (const auto& [other, earlier] : previous_)
            if (other != hotkey) compare(other, earlier);
    }
}

// ---- record
// ---------------------------------------------------------------------------------------------------------------

// The gather list of a window that begins two windows from now (§8.4).
std::vector<Hotkey> Validator::choose_gather(int64_t window) {
    const RunDescription& run = follower_.description();
    const std::map<Hotkey, double> consensus = follower_.chain().consensus();
    std::vector<std::pair<double, Hotkey>> weighted;
    std::vector<Hotkey> active, unrated;
    for (const Neuron& peer : follower_.chain().neurons()) {
        if (peer.role != "miner" || !gauntlet_.active(peer.hotkey, window)) continue;
        const auto state = gauntlet_.peers().find(peer.hotkey);
        if (state != gauntlet_.peers().end() && state->second.banned_until > window) continue;
        active.push_back(peer.hotkey);
        if (state == gauntlet_.peers().end() || !state->second.rated) unrated.push_back(peer.hotkey);
        const auto weight = consensus.find(peer.hotkey);
        if (weight != consensus.end() && weight->second > 0)
            weighted.emplace_back(weight->second, peer.hotkey);
    }
    std::vector<Hotkey> list;
    if (weighted.empty()) {
        list = active;  // nobody has a weight yet: everyone who works, by uid
    } else {
        std::stable_sort(weighted.begin(), weighted.end(),
                         [](const auto& a, const auto& b) { return a.first > b.first; });
        for (const auto& [weight, hotkey] : weighted) list.push_back(hotkey);
        if (!unrated.empty()) {
            std::sort(unrated.begin(), unrated.end());
            CounterRng rng(Sha256().update("explorer").update(secret(window)).finish());
            const size_t place = std::min(list.size(), static_cast<size_t>(run.gather_peers - 1));
            list.insert(list.begin() + static_cast<int64_t>(place), unrated[rng.below(unrated.size())]);
        }
    }
    if (list.size() > static_cast<size_t>(run.gather_peers + run.reserve_peers))
        list.resize(static_cast<size_t>(run.gather_peers + run.reserve_peers));
    return list;
}

Record Validator::make_record(const Window& found) {
    const RunDescription& run = follower_.description();
    Record record;
    record.run_id = follower_.run().id;
    record.window = found.window;
    record.root = follower_.replica().root();
    record.step = follower_.step();
    const float eta = learning_rate(run.schedule, follower_.step());
    record.eta_bits = std::bit_cast<uint32_t>(eta);
    record.keep_bits =
        std::bit_cast<uint32_t>(static_cast<float>(1.0 - static_cast<double>(eta) * run.weight_decay));

    // The first windows have no list: everyone who committed is on it.
    std::vector<Hotkey> wanted;
    if (auto list = gather_.find(found.window); list != gather_.end() && !list->second.empty())
        wanted = list->second;
    else
        for (const Neuron& peer : follower_.chain().neurons()) wanted.push_back(peer.hotkey);

    std::vector<Hotkey> chosen;  // reserves take the places of those who were refused
    for (const Hotkey& hotkey : wanted) {
        const auto verdict = found.verdicts.find(hotkey);
        if (verdict == found.verdicts.end()) continue;
        if (verdict->second.accepted && chosen.size() < static_cast<size_t>(run.gather_peers))
            chosen.push_back(hotkey);
    }
    for (const Neuron& peer : follower_.chain().neurons()) {
        const auto verdict = found.verdicts.find(peer.hotkey);
        if (verdict == found.verdicts.end()) continue;
        if (std::find(chosen.begin(), chosen.end(), peer.hotkey) != chosen.end())
            record.accepted.push_back({peer.uid, peer.hotkey, found.commits.at(peer.hotkey).object_hash});
        else if (!verdict->second.accepted)
            record.rejected.push_back({peer.uid, peer.hotkey,
                                       std::string(reason_name(verdict->second.penalty.reason)),
                                       verdict->second.penalty.evidence});
    }

    const bool refresh = gather_now_.empty() || found.window % run.gather_refresh_windows == 0;
    const std::vector<Hotkey> list = refresh ? choose_gather(found.window) : gather_now_;
    const auto main_size = static_cast<int64_t>(std::min(list.size(), static_cast<size_t>(run.gather_peers)));
    record.gather.assign(list.begin(), list.begin() + main_size);
    record.reserve.assign(list.begin() + main_size, list.end());
    return record;
}

// Before the record says that they count, the accepted objects are where everyone can read them.
void Validator::archive(const Record& record, const Window& found) {
    for (const RecordEntry& entry : record.accepted)
        follower_.payload_bucket().create(payload_key(record.window, entry.hotkey),
                                          found.objects.at(entry.hotkey));
}

// Write-once: when another validator was first, its record counts, and a different root is disputed.
Record Validator::write_record(Record record) {
    const std::string key = record_key(record.window);
    const Bytes object = seal(follower_.identity(), "record", record_to_json(record));
    if (follower_.bucket().create(key, object)) return record;
    try {
        if (std::optional<Record> found = follower_.find_record()) return *found;
    } catch (const Error& error) {
        follower_.chain().publish_dispute(follower_.identity(), record.window, follower_.replica().root(),
                                          error.what());
        throw;
    }
    follower_.bucket().put(key, object);  // a stranger's bytes were in the record's place
    return record;
}

// ---- stage 2
// ---------------------------------------------------------------------------------------------------------------

// Sequences that the peer claims to have trained on, sampled by this window's secret.
std::vector<SequenceId> Validator::sample_own(const Hotkey& peer, const WirePayload& payload,
                                              int64_t window) {
    const RunDescription& run = follower_.description();
    constexpr int64_t most = 1 << 20;  // a claim costs us at most this many draws
    const int64_t used = std::clamp<int64_t>(
        static_cast<int64_t>(std::min<uint64_t>(payload.header.tokens, uint64_t{1} << 40)) / run.seq, 1,
        most);
    const PageShape shape{run.page_sequences, run.seq};
    PageAssignment assignment(follower_.run().id, follower_.replica().root(), peer,
                              static_cast<uint64_t>(window), page_count(follower_.corpus(), shape));
    std::vector<SequenceId> sequences;
    for (int64_t page = 0, number = -1; number + 1 < used;) {
        page = assignment.next();
        for (int64_t s = 0; s < run.page_sequences && number + 1 < used; ++s, ++number)
            sequences.push_back({page, s});
    }
    CounterRng rng(Sha256().update("own").update(secret(window)).update(peer).finish());
    const size_t count = std::min(sequences.size(), static_cast<size_t>(run.eval_own_sequences));
    for (size_t i = 0; i < count; ++i)
        std::swap(sequences[i], sequences[i + rng.below(sequences.size() - i)]);
    sequences.resize(count);
    return sequences;
}

Scores Validator::measure(const Window& found) {
    const RunDescription& run = follower_.description();
    const PageShape shape{run.page_sequences, run.seq};
    Scores scores;
    scores.run_id = follower_.run().id;
    scores.window = found.window;
    scores.root = follower_.replica().root();
    scores.secret = secret(found.window);

    CounterRng rng(Sha256().update("random").update(scores.secret).finish());
    std::vector<int64_t> pages;
    for (int64_t i = 0; i < run.eval_random_sequences; ++i)
        pages.push_back(
            static_cast<int64_t>(rng.below(static_cast<uint64_t>(page_count(follower_.corpus(), shape)))));
    const std::vector<SequenceId> random =
        draw_sequences(rng, pages, run.page_sequences, run.eval_random_sequences);
    for (const SequenceId& id : random) scores.random_sequences.emplace_back(id.page, id.sequence);
    const std::span<const float> theta = follower_.replica().theta();
    const double random_before = loss_(theta, random);
    scores.train_loss = random_before;
    std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    const auto counted = static_cast<float>(loss_.with_gradient(theta, random, gradient_).counted);

    const float step = static_cast<float>(run.gauntlet.eval_step_share *
                                          static_cast<double>(learning_rate(run.schedule, follower_.step())));
    std::map<Hotkey, Evaluation> evaluations;
    std::vector<Hotkey> missing;
    for (const Neuron& peer : follower_.chain().neurons()) {
        const auto verdict = found.verdicts.find(peer.hotkey);
        if (verdict == found.verdicts.end()) continue;
        ScoreEntry score;
        score.uid = peer.uid;
        score.hotkey = peer.hotkey;
        score.overlap = found.submissions.at(peer.hotkey).overlap;
        score.penalty = verdict->second.penalty;
        if (const auto state = gauntlet_.peers().find(peer.hotkey); state != gauntlet_.peers().end())
            score.before = state->second.rating;
        const auto payload = found.payloads.find(peer.hotkey);
        if (payload != found.payloads.end())
            score.tokens = static_cast<int64_t>(payload->second.header.tokens);
        // The next window's reveals must find this validator ready: who was not reached by then keeps the old
        // score.
        const bool in_time = follower_.clock().now_ms() < run.start_ms(found.window + 2);
        if (!verdict->second.accepted) {
            missing.push_back(peer.hotkey);
        } else if (in_time && !follower_.stopping()) {
            const std::vector<SequenceId> own = sample_own(peer.hotkey, payload->second, found.window);
            for (const SequenceId& id : own) score.own_sequences.emplace_back(id.page, id.sequence);
            score.evaluation = stage2_.evaluate(follower_.replica(), payload->second.payload, step, own,
                                                random, random_before);
            score.evaluation.screen =
                first_order_screen(follower_.ops(), follower_.stream(), follower_.replica().layout(),
                                   gradient_, payload->second.payload, step / counted);
            make_finite(score.evaluation);
            score.evaluated = true;
            evaluations.emplace(peer.hotkey, score.evaluation);
        }
        scores.peers.push_back(std::move(score));
    }
    gauntlet_.stage2(found.window, evaluations, missing);
    return scores;
}

// ---- what others see
// ---------------------------------------------------------------------------------------------------------

void Validator::publish(Scores& scores, const Window& found) {
    const RunDescription& run = follower_.description();
    for (ScoreEntry& score : scores.peers) {
        const auto state = gauntlet_.peers().find(score.hotkey);
        if (state == gauntlet_.peers().end()) continue;
        score.after = state->second.rating;
        score.binary_average = state->second.binary_average;
        score.sync = state->second.sync;
        score.final_score = state->second.final_score;
        score.weight = state->second.weight;
    }
    put_notice(scores_key(found.window, follower_.identity().hotkey()),
               seal(follower_.identity(), "scores", scores_to_json(scores)));
    weights_due_ |= (found.window + 1) % run.weights_every_windows == 0;
    if (weights_due_) {
        PublishedWeights weights;
        weights.window = found.window;
        for (const auto& [hotkey, state] : gauntlet_.peers())
            if (state.weight > 0) weights.weights[hotkey] = state.weight;
        try {
            follower_.chain().publish_weights(follower_.identity(), weights);
            weights_due_ = false;
        } catch (const Error& error) {
            note_trouble(error);  // due again next window
        }
    }
}

void Validator::note_trouble(const Error& error) {
    follower_.events().write(follower_.clock().now_ms(), "error", {{"message", error.what()}});
    follower_.say(error.what());
}

// What the run can go on without: trouble is noted, not fatal.
void Validator::put_notice(const std::string& key, const Bytes& object) {
    try {
        follower_.bucket().create(key, object);
    } catch (const Error& error) {
        note_trouble(error);
    }
}

void Validator::log_window(const Scores& scores, const Window& found, const Record& record,
                           std::optional<double> heldout) {
    const RunDescription& run = follower_.description();
    nlohmann::json peers = nlohmann::json::array();
    int64_t tokens = 0;
    for (const ScoreEntry& score : scores.peers) {
        const bool merged =
            std::any_of(record.accepted.begin(), record.accepted.end(),
                        [&](const RecordEntry& entry) { return entry.hotkey == score.hotkey; });
        if (merged) tokens += score.tokens;
        nlohmann::json penalty;
        if (score.penalty.reason != Reason::none)
            penalty = {{"reason", reason_name(score.penalty.reason)}, {"evidence", score.penalty.evidence}};
        peers.push_back({{"uid", score.uid},
                         {"hotkey", to_hex(score.hotkey)},
                         {"tokens", score.tokens},
                         {"evaluated", score.evaluated},
                         {"merged", merged},
                         {"own", score.evaluation.own_improvement()},
                         {"random", score.evaluation.random_improvement()},
                         {"screen", score.evaluation.screen},
                         {"mu", score.after.mu},
                         {"sigma", score.after.sigma},
                         {"ordinal", score.after.ordinal()},
                         {"binary", score.binary_average},
                         {"sync", score.sync},
                         {"overlap", score.overlap},
                         {"score", score.final_score},
                         {"weight", score.weight},
                         {"penalty", penalty}});
    }
    follower_.say(fmt::format(
        "window {}: loss {:.4f}{}, {} of {} payloads accepted, {} tokens, state {}", found.window,
        scores.train_loss, heldout ? fmt::format(", held-out {:.4f}", *heldout) : "", record.accepted.size(),
        found.commits.size(), tokens, to_hex(follower_.replica().root()).substr(0, 16)));
    follower_.events().write(
        follower_.clock().now_ms(), "window",
        {{"window", found.window},
         {"root", to_hex(follower_.replica().root())},
         {"train_loss", scores.train_loss},
         {"heldout_loss", heldout ? nlohmann::json(*heldout) : nlohmann::json()},
         {"tokens", tokens},
         {"tokens_per_second", 1000.0 * static_cast<double>(tokens) / static_cast<double>(run.window_ms())},
         {"accepted", record.accepted.size()},
         {"rejected", record.rejected.size()},
         {"bytes_down", follower_.bytes_down()},
         {"phases", phases_},
         {"peers", peers}});
}

}  // namespace templar
