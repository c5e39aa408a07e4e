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
      gradient_(follower_.device(), DType::f32, follower_.replica().layout().parameters),
      candidate_(follower_.device(), follower_.device().compute_type(), follower_.replica().layout().parameters),
      model_(follower_.device(), follower_.description().model, options.micro_batch, follower_.description().seq,
             Pass::training),
      loss_(model_, follower_.corpus(), {follower_.description().page_sequences, follower_.description().seq},
            follower_.description().end_token),
      heldout_loss_(model_, follower_.heldout(), {1, follower_.description().seq},
                    follower_.description().end_token),
      stage2_(loss_, candidate_.tensor()) {
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
void Validator::promise_secrets(int64_t newest) {
    for (int64_t window = std::max(promised_ + 1, newest - 1); window <= newest; ++window) {
        const nlohmann::json body = {{"run", to_hex(follower_.run().id)},
                                     {"window", window},
                                     {"hash", to_hex(sha256(secret(window)))}};
        if (!put_notice(secret_commit_key(window, follower_.identity().hotkey()),
                        seal(follower_.identity(), "secret", body.dump())))
            return;
        promised_ = window;
    }
}

int64_t Validator::record_due_ms(int64_t window) const {
    const RunDescription& run = follower_.description();
    return run.start_ms(window + 1) + run.put_ms + run.record_ms * (rank_ + 1);
}

// One window: wait for its reveals, stage 1, record, stage 2, scores, apply. False when stopped.
bool Validator::validate_window() {
    const RunDescription& run = follower_.description();
    const int64_t window = follower_.window();
    phases_.clear();
    traffic_before_ = follower_.traffic();
    if (previous_.empty() && window > 0) recall_previous();
    promise_secrets(window + 1);
    const int64_t revealed_ms = run.start_ms(window + 1) + run.put_ms;
    Window found;
    found.window = window;
    {
        // Commits are read as soon as their time is over: one that appears later, whatever time it claims, is
        // none.
        const PhaseTimer timer(phases_, "wait");
        if (!follower_.sleep_until(follower_.local_time(run.start_ms(window + 1)) + run.put_ms / 10))
            return false;
        if (!read_commits(found, revealed_ms)) return false;
        if (!follower_.sleep_until(revealed_ms)) return false;
    }
    {
        const PhaseTimer timer(phases_, "stage1");
        collect(found);
    }
    {
        const PhaseTimer timer(phases_, "wait");
        if (!follower_.sleep_until(record_due_ms(window))) return false;
    }
    std::optional<Record> settled;
    {
        const PhaseTimer timer(phases_, "record");
        settled = settle_record(found);
    }
    if (!settled) return false;
    const Record& record = *settled;
    gather_now_ = record.gather;
    gather_now_.insert(gather_now_.end(), record.reserve.begin(), record.reserve.end());
    gather_[window + 2] = gather_now_;
    Scores scores;
    {
        const PhaseTimer timer(phases_, "stage2");
        scores = measure(found);
    }
    std::optional<double> heldout;
    if (options_.heldout_sequences > 0) {
        const PhaseTimer timer(phases_, "heldout");
        heldout = heldout_loss_(follower_.replica().weights(),
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
    archive_others(record, *payloads);
    archive_leftovers();
    log_window(scores, found, record, heldout);
    return true;
}

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
    const Tensor weights = follower_.replica().weights();
    const double random_before = loss_(weights, random);
    scores.train_loss = random_before;
    gradient_.fill_zero();
    const auto counted = static_cast<float>(loss_.with_gradient(weights, random, gradient_.tensor()).counted);

    const float step = static_cast<float>(run.gauntlet.eval_step_share *
                                          static_cast<double>(learning_rate(run.schedule, follower_.step())));
    std::vector<std::span<const uint8_t>> evaluated;  // in the order of scores.peers
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
            score.evaluation = stage2_.evaluate(follower_.replica(), payload->second.payload(), step, own,
                                                random, random_before);
            score.evaluated = true;
            evaluated.push_back(payload->second.payload());
        }
        scores.peers.push_back(std::move(score));
    }
    const std::vector<double> screens = first_order_screen(follower_.device(), follower_.replica().layout(),
                                                           gradient_.tensor(), evaluated, step / counted);
    std::map<Hotkey, Evaluation> evaluations;
    for (auto screen = screens.begin(); ScoreEntry & score : scores.peers) {
        if (!score.evaluated) continue;
        score.evaluation.screen = *screen++;
        make_finite(score.evaluation);
        evaluations.emplace(score.hotkey, score.evaluation);
    }
    gauntlet_.stage2(found.window, evaluations, missing);
    return scores;
}

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
            // Due again next window when it fails.
            const int64_t until_ms = follower_.clock().now_ms() + run.record_ms;
            follower_.outages().reached(follower_.bucket(), [&] {
                weights_due_ = !follower_.chain().publish_weights(follower_.identity(), weights, until_ms);
            });
        } catch (const Error& error) {
            note_trouble(error);
        }
    }
}

void Validator::note_trouble(const Error& error) {
    follower_.events().write(follower_.clock().now_ms(), "error", {{"message", error.what()}});
    follower_.say(error.what());
}

// What the run can go on without: trouble is noted, not fatal.
bool Validator::put_notice(const std::string& key, const Bytes& object) {
    try {
        return follower_.outages().reached(follower_.bucket(),
                                           [&] { follower_.bucket().create(key, object); });
    } catch (const Error& error) {
        note_trouble(error);
        return true;  // a stranger's doing: the same the next time
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
    const TransferStats traffic = follower_.traffic() - traffic_before_;
    if (!record.rejected.empty()) {
        const RecordRejection& first = record.rejected.front();
        follower_.say(fmt::format("window {}: refused {} ({}{}): {}", found.window, record.rejected.size(),
                                  to_hex(first.hotkey).substr(0, 8), record.rejected.size() > 1 ? " …" : "",
                                  first.reason + ": " + first.evidence));
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
         {"class_a", traffic.class_a},
         {"class_b", traffic.class_b},
         {"deletes", traffic.deletes},
         {"retries", traffic.retries},
         {"bytes_up", traffic.bytes_up},
         {"bytes_down", traffic.bytes_down},
         {"phases", phases_},
         {"peers", peers}});
}

}  // namespace templar
