// From a run folder to a RunLog.
#include "node/report.h"

#include "base/error.h"
#include "base/file.h"
#include "node/report_json.h"
#include "node/report_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

namespace templar {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int64_t max_swarm_bytes = 16 << 20;
constexpr size_t max_phases = 32;
constexpr int64_t max_window = 1'000'000'000'000;

std::string hexadecimal(const json& object, const char* key) {
    std::string hex = text(object, key);
    for (char& c : hex) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return hex;
}

class Reader {
  public:
    explicit Reader(const fs::path& folder) { run_.folder = folder.string(); }

    void read_swarm(const fs::path& path);
    void read_log(const fs::path& path, const std::string& folder_name);
    RunLog finish();

  private:
    struct Draft {  // a log while it is read
        ParticipantLog log;
        std::string role, hotkey;
        int64_t uid = -1;
        std::map<int64_t, std::pair<WindowLine, std::vector<PenaltyLine>>> windows;
    };

    bool read_event(Draft& draft, const json& event);
    bool read_window(Draft& draft, const json& event, int64_t time_ms);
    void read_scores(const json& rows, WindowLine& line, std::vector<PenaltyLine>& penalties);
    size_t peer_of(const std::string& hotkey, int64_t uid, const std::string& fallback_name);
    size_t identify(const Draft& draft);

    RunLog run_;
    bool have_swarm_ = false;
    std::map<std::string, size_t> by_hotkey_;
};

void Reader::read_swarm(const fs::path& path) {
    if (!fs::exists(path)) return;
    json swarm;
    try {
        swarm = json::parse(read_text_file(path, max_swarm_bytes));
    } catch (const std::exception& error) {
        run_.swarm_trouble = error.what();
        return;
    }
    if (!swarm.is_object()) {
        run_.swarm_trouble = "expected a JSON object";
        return;
    }
    have_swarm_ = true;
    run_.name = text(swarm, "name");
    run_.text = text(swarm, "text");
    run_.command = text(swarm, "command");
    run_.unigram_loss = number(swarm, "unigram_loss");
    run_.window_ms = number(swarm, "window_ms");
    run_.started_ms = integer(swarm, "started_ms").value_or(0);
    if (const auto model = swarm.find("model"); model != swarm.end() && model->is_object()) {
        run_.model_parameters = number(*model, "parameters");
        run_.model_description = text(*model, "description");
    }
    const auto peers = swarm.find("peers");
    if (peers == swarm.end() || !peers->is_array()) return;
    for (const json& entry : *peers) {
        if (!entry.is_object()) continue;
        PeerInfo peer;
        peer.uid = integer(entry, "uid").value_or(-1);
        peer.name = text(entry, "name");
        peer.hotkey = hexadecimal(entry, "hotkey");
        if (const std::string role = text(entry, "role"); !role.empty()) peer.role = role;
        if (peer.name.empty()) peer.name = peer.hotkey.substr(0, 8);
        if (peer.name.empty()) continue;
        if (!peer.hotkey.empty() && !by_hotkey_.emplace(peer.hotkey, run_.peers.size()).second) continue;
        run_.peers.push_back(std::move(peer));
    }
}

size_t Reader::peer_of(const std::string& hotkey, int64_t uid, const std::string& fallback_name) {
    if (const auto found = by_hotkey_.find(hotkey); !hotkey.empty() && found != by_hotkey_.end())
        return found->second;
    PeerInfo peer;
    peer.uid = uid;
    peer.hotkey = hotkey;
    peer.name = hotkey.empty() ? fallback_name : hotkey.substr(0, 8);
    if (!hotkey.empty()) by_hotkey_.emplace(hotkey, run_.peers.size());
    run_.peers.push_back(std::move(peer));
    return run_.peers.size() - 1;
}

// Whose log this is: by the hotkey it names, else by its folder's name in swarm.json.
size_t Reader::identify(const Draft& draft) {
    if (draft.hotkey.empty() && have_swarm_)
        for (size_t i = 0; i < run_.peers.size(); ++i)
            if (run_.peers[i].name == draft.log.folder) return i;
    return peer_of(draft.hotkey, draft.uid, draft.log.folder);
}

void Reader::read_scores(const json& rows, WindowLine& line, std::vector<PenaltyLine>& penalties) {
    for (const json& row : rows) {
        if (!row.is_object()) continue;
        const std::string hotkey = hexadecimal(row, "hotkey");
        if (hotkey.empty()) continue;
        PeerScore score;
        const int64_t uid = integer(row, "uid").value_or(-1);
        score.peer = peer_of(hotkey, uid, "");
        if (int64_t& known = run_.peers[score.peer].uid; known < 0) known = uid;
        score.evaluated = boolean(row, "evaluated");
        score.tokens = number(row, "tokens");
        score.own = number(row, "own");
        score.random = number(row, "random");
        score.screen = number(row, "screen");
        score.mu = number(row, "mu");
        score.sigma = number(row, "sigma");
        score.ordinal = number(row, "ordinal");
        score.binary = number(row, "binary");
        score.sync = number(row, "sync");
        score.overlap = number(row, "overlap");
        score.score = number(row, "score");
        score.weight = number(row, "weight");
        if (const auto penalty = row.find("penalty"); penalty != row.end() && penalty->is_object())
            penalties.push_back(
                {line.window, score.peer, text(*penalty, "reason"), text(*penalty, "evidence")});
        line.scores.push_back(score);
    }
}

bool Reader::read_window(Draft& draft, const json& event, int64_t time_ms) {
    const std::optional<int64_t> window = integer(event, "window");
    if (!window || *window < 0 || *window > max_window) return false;
    WindowLine line;
    std::vector<PenaltyLine> penalties;
    line.window = *window;
    line.time_ms = time_ms;
    line.root = hexadecimal(event, "root");
    line.train_loss = number(event, "train_loss");
    line.heldout_loss = number(event, "heldout_loss");
    line.tokens = number(event, "tokens");
    line.tokens_per_second = number(event, "tokens_per_second");
    line.bytes_up = number(event, "bytes_up");
    line.bytes_down = number(event, "bytes_down");
    line.accepted = boolean(event, "accepted") ? 1 : number(event, "accepted");
    line.rejected = number(event, "rejected");
    if (const auto phases = event.find("phases"); phases != event.end() && phases->is_object())
        for (const auto& [name, seconds] : phases->items())
            if (seconds.is_number() && line.phases.size() < max_phases)
                line.phases.push_back({html::clip(name, 40), number(*phases, name.c_str())});
    if (const auto rows = event.find("peers"); rows != event.end() && rows->is_array()) {
        draft.log.validator = true;
        read_scores(*rows, line, penalties);
    }
    draft.windows.insert_or_assign(*window, std::pair(std::move(line), std::move(penalties)));
    return true;
}

// False when the line is not an event. Events that this program does not know are fine and ignored.
bool Reader::read_event(Draft& draft, const json& event) {
    const std::string kind = text(event, "event");
    ParticipantLog& log = draft.log;
    const int64_t time_ms = std::max<int64_t>(integer(event, "t").value_or(0), 0);
    if (kind == "window" && !read_window(draft, event, time_ms)) return false;
    if (time_ms > 0) {
        log.first_ms = log.first_ms == 0 ? time_ms : std::min(log.first_ms, time_ms);
        log.last_ms = std::max(log.last_ms, time_ms);
    }
    log.stopped = kind == "stop";
    if (kind == "error" || kind == "outage") log.errors.push_back({time_ms, text(event, "message")});
    if (kind == "start") {
        ++log.starts;
        draft.role = text(event, "role");
        draft.hotkey = hexadecimal(event, "hotkey");
        draft.uid = integer(event, "uid").value_or(-1);
    }
    return true;
}

void Reader::read_log(const fs::path& path, const std::string& folder_name) {
    Draft draft;
    ParticipantLog& log = draft.log;
    log.folder = folder_name;
    const LogFaults faults = read_log_lines(path, [&](const json& event) { return read_event(draft, event); });
    log.bad_lines = faults.bad_lines;
    log.half_line = faults.half_line;
    for (auto& [window, entry] : draft.windows) {
        log.windows.push_back(std::move(entry.first));
        std::move(entry.second.begin(), entry.second.end(), std::back_inserter(log.penalties));
    }
    log.peer = identify(draft);
    PeerInfo& peer = run_.peers[log.peer];
    if (peer.uid < 0) peer.uid = draft.uid;
    if (peer.role == "unknown" && !draft.role.empty()) peer.role = draft.role;
    if (peer.role == "unknown" && log.validator) peer.role = "validator";
    log.validator = log.validator || peer.role == "validator";
    run_.participants.push_back(std::move(log));
}

RunLog Reader::finish() {
    std::vector<ParticipantLog>& logs = run_.participants;
    std::stable_sort(logs.begin(), logs.end(), [&](const ParticipantLog& a, const ParticipantLog& b) {
        if (a.validator != b.validator) return a.validator;
        return run_.peers[a.peer].uid < run_.peers[b.peer].uid;
    });
    for (const ParticipantLog& log : logs) {
        run_.last_ms = std::max(run_.last_ms, log.last_ms);
        if (log.first_ms > 0 && (run_.started_ms <= 0 || (!have_swarm_ && log.first_ms < run_.started_ms)))
            run_.started_ms = log.first_ms;
    }
    if (run_.name.empty()) {
        fs::path folder = fs::path(run_.folder).lexically_normal();
        run_.name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
    }
    return std::move(run_);
}

}  // namespace

int64_t RunLog::bad_lines() const {
    int64_t bad = 0;
    for (const ParticipantLog& log : participants) bad += log.bad_lines;
    return bad;
}

RunLog read_run(const fs::path& folder) {
    std::error_code ignored;
    std::vector<std::pair<std::string, fs::path>> logs;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / "peers", ignored))
        if (const fs::path log = entry.path() / "events.jsonl"; fs::is_regular_file(log, ignored))
            logs.emplace_back(entry.path().filename().string(), log);
    std::sort(logs.begin(), logs.end());
    if (const fs::path own = folder / "events.jsonl"; logs.empty() && fs::is_regular_file(own, ignored))
        logs.emplace_back(fs::absolute(folder).lexically_normal().filename().string(), own);
    if (logs.empty())
        fail(ExitCode::input,
             "{}: expected a run folder with peers/<name>/events.jsonl, found no log; name the folder that "
             "`swarm` wrote, "
             "or that of one miner or validator",
             folder.string());
    Reader reader(folder);
    reader.read_swarm(folder / "swarm.json");
    for (const auto& [name, path] : logs) reader.read_log(path, name);
    return reader.finish();
}

}  // namespace templar
