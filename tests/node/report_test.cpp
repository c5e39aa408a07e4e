// The report: logs written here, with known numbers, must come back out of the summary and the page.
#include "node/report.h"

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>

using namespace templar;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct Folder : TemporaryFolder {
    void write(const std::string& name, const std::string& text) const {
        fs::create_directories((path() / name).parent_path());
        std::ofstream(path() / name, std::ios::binary) << text;
    }
};

constexpr int64_t windows = 20, started_ms = 1'790'000'000'000, window_ms = 10'000;

std::string hotkey(size_t i) {
    return std::string(62, 'a') + fmt::format("{:02x}", i);
}
std::string root(int64_t window) {
    return fmt::format("{:064x}", 1000 + window);
}

struct Sample {
    std::vector<std::string> names = {"miner-0", "miner-1", "miner-2", "miner-3", "copycat-0", "noise-0"};
    std::vector<std::string> roles = {"miner", "miner", "miner", "miner", "copycat", "noise"};
    std::string evidence = "0.71 of indices equal";
    std::map<std::string, std::string> logs;  // by folder
    json swarm;

    Sample() { build(); }
    explicit Sample(std::vector<std::string> peer_names, std::string penalty_evidence)
        : names(std::move(peer_names)), evidence(std::move(penalty_evidence)) {
        build();
    }

    static void add(std::string& log, int64_t t, const char* event, json fields) {
        fields["t"] = t;
        fields["event"] = event;
        log += fields.dump() + "\n";
    }

    // Peer i has weight (6 − i)/21 and final score 6 − i; held-out loss falls from 5.0 by 0.1 a window,
    // logged every second window.
    json row(size_t i, int64_t w) const {
        json penalty = nullptr;
        if (roles[i] == "copycat" && w >= 3 && w != 10)
            penalty = {{"reason", "overlap"}, {"evidence", evidence}};
        return {{"uid", i + 1},
                {"hotkey", hotkey(i)},
                {"tokens", 1000 * (i + 1)},
                {"evaluated", true},
                {"own", 0.02},
                {"random", 0.01},
                {"screen", 0.05},
                {"mu", 25.0 + static_cast<double>(i)},
                {"sigma", 2.0},
                {"ordinal", 19.0 + static_cast<double>(i)},
                {"binary", 0.5},
                {"sync", 1.0},
                {"overlap", 0.0},
                {"score", 6.0 - static_cast<double>(i)},
                {"weight", (6.0 - static_cast<double>(i)) / 21},
                {"penalty", penalty}};
    }

    void build() {
        swarm = {
            {"name", "sample run"},   {"text", "a text"},
            {"unigram_loss", 4.5},    {"started_ms", started_ms},
            {"window_ms", window_ms}, {"model", {{"parameters", 123456}, {"description", "a small Llama"}}},
            {"peers", json::array()}};
        swarm["peers"].push_back(
            {{"uid", 0}, {"name", "validator-0"}, {"role", "validator"}, {"hotkey", hotkey(99)}});
        std::string& validator = logs["validator-0"];
        add(validator, started_ms, "start",
            {{"role", "validator"}, {"hotkey", hotkey(99)}, {"uid", 0}, {"threads", 1}});
        for (size_t i = 0; i < names.size(); ++i) {
            swarm["peers"].push_back(
                {{"uid", i + 1}, {"name", names[i]}, {"role", roles[i]}, {"hotkey", hotkey(i)}});
            add(logs[fmt::format("p{}", i)], started_ms, "start",
                {{"role", "miner"}, {"hotkey", hotkey(i)}, {"uid", i + 1}, {"threads", 1}});
        }
        for (int64_t w = 0; w < windows; ++w) {
            const int64_t t = started_ms + (w + 1) * window_ms;
            json rows = json::array();
            for (size_t i = 0; i < names.size(); ++i) {
                rows.push_back(row(i, w));
                add(logs[fmt::format("p{}", i)], t, "window",
                    {{"window", w},
                     {"root", root(w)},
                     {"tokens", 1000 * (i + 1)},
                     {"train_loss", 5.0 - 0.1 * w},
                     {"tokens_per_second", 100.0},
                     {"bytes_up", 64000},
                     {"bytes_down", 384000},
                     {"phases",
                      {{"train", 6.0},
                       {"compress", 0.1},
                       {"commit", 0.1},
                       {"upload", 0.2},
                       {"gather", 0.5},
                       {"apply", 0.3},
                       {"wait", 2.8}}},
                     {"accepted", true}});
            }
            add(validator, t, "window",
                {{"window", w},
                 {"root", root(w)},
                 {"train_loss", 5.0 - 0.1 * w},
                 {"heldout_loss", w % 2 == 0 ? json(5.0 - 0.1 * w) : json(nullptr)},
                 {"tokens", 21000},
                 {"tokens_per_second", 2100.0},
                 {"accepted", 6},
                 {"rejected", 0},
                 {"bytes_down", 384000},
                 {"phases",
                  {{"stage1", 0.5},
                   {"record", 0.2},
                   {"stage2", 4.0},
                   {"heldout", 1.0},
                   {"apply", 0.3},
                   {"wait", 4.0}}},
                 {"peers", rows}});
        }
        for (auto& [name, log] : logs)
            add(log, started_ms + 21 * window_ms, "stop",
                {{"root", root(windows - 1)}, {"window", windows - 1}});
    }

    RunLog read(const Folder& folder, bool with_swarm = true) const {
        if (with_swarm) folder.write("swarm.json", swarm.dump());
        for (const auto& [name, log] : logs) folder.write("peers/" + name + "/events.jsonl", log);
        return read_run(folder.path());
    }
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

size_t occurrences(const std::string& text, const std::string& part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

// What is wrong with the markup: tags that do not nest, attributes without quotes, bare '&'. Empty: nothing.
std::string markup_trouble(const std::string& page) {
    std::vector<std::string> open;
    if (!page.starts_with("<!DOCTYPE html>")) return "no document type";
    for (size_t at = 15; at < page.size();) {
        if (page[at] == '&') {
            const size_t end = page.find(';', at);
            if (end == std::string::npos || end - at > 6) return "bare & at " + page.substr(at, 40);
        }
        if (page[at] == '>') return "bare > before " + page.substr(at, 40);
        if (page[at] != '<') {
            ++at;
            continue;
        }
        size_t end = at + 1;
        for (char quote = 0; end < page.size() && (quote || page[end] != '>'); ++end) {
            if (page[end] == '<') return "< inside a tag: " + page.substr(at, 60);
            if (page[end] == '"') quote = quote ? 0 : '"';
            if (page[end] == '=' && !quote && page[end + 1] != '"')
                return "unquoted attribute: " + page.substr(at, 60);
        }
        const std::string tag = page.substr(at + 1, end - at - 1);
        const std::string name = tag.substr(tag.starts_with('/') ? 1 : 0,
                                            tag.find_first_of(" /", 1) - (tag.starts_with('/') ? 1 : 0));
        at = end + 1;
        if (tag.starts_with('/')) {
            if (open.empty() || open.back() != tag.substr(1)) return "unexpected </" + tag.substr(1) + ">";
            open.pop_back();
        } else if (!tag.ends_with('/')) {
            open.push_back(name);
            if (name == "style") at = page.find("</style>", at);
        }
    }
    return open.empty() ? "" : "never closed: " + open.back();
}

}  // namespace

TEST_CASE("the summary has the numbers that the logs hold") {
    const Folder folder;
    const RunLog run = Sample().read(folder);
    CHECK(run.bad_lines() == 0);
    const json summary = json::parse(summary_json(run));
    CHECK(summary["heldout_loss_start"] == doctest::Approx(5.0));
    CHECK(summary["heldout_loss_end"] ==
          doctest::Approx(3.2));  // window 18, the last one with a held-out loss
    CHECK(summary["unigram_loss"] == 4.5);
    CHECK(summary["roots_equal"] == true);
    CHECK(summary["root"] == root(19));
    CHECK(summary["windows"] == 20);
    CHECK(summary["seconds"] == doctest::Approx(210.0));
    REQUIRE(summary["peers"].size() == 6);
    for (size_t i = 0; i < 6; ++i) {
        const json& peer = summary["peers"][i];
        CHECK(peer["uid"] == i + 1);
        CHECK(peer["name"] == Sample().names[i]);
        CHECK(peer["role"] == Sample().roles[i]);
        CHECK(peer["tokens"] == 20000.0 * static_cast<double>(i + 1));
        CHECK(peer["rating"] == 19.0 + static_cast<double>(i));
        CHECK(peer["mu"] == 25.0 + static_cast<double>(i));
        CHECK(peer["sigma"] == 2.0);
        CHECK(peer["binary_average"] == 0.5);
        CHECK(peer["sync"] == 1.0);
        CHECK(peer["final_score"] == 6.0 - static_cast<double>(i));
        CHECK(peer["weight"] == doctest::Approx((6.0 - static_cast<double>(i)) / 21));
    }
}

TEST_CASE("the page is whole, well-formed and needs nothing from outside") {
    const Folder folder;
    const RunLog run = Sample().read(folder);
    const std::string page = render_report(run);
    CHECK(markup_trouble(page) == "");
    for (const char* outside :
         {"http://", "https://", "src=", "href=", "url(", "@import", "<script", "nan", "-inf", ">inf"})
        CHECK_MESSAGE(!contains(page, outside), outside);
    for (const char* part : {"sample run", "All 7 replicas agree: root", "5.00 → 3.20", "unigram 4.50",
                             "a small Llama", "123,456", "copycat-0", "noise-0", "Final score",
                             "Binary average", "build/bin/report", "0.71 of indices equal", "Traffic"})
        CHECK_MESSAGE(contains(page, part), part);
    CHECK(contains(page, root(19)));
    CHECK(contains(page, "28.6\u00A0%"));  // the first peer's weight, 6/21
    CHECK(render_report(run) == page);
}

TEST_CASE("the checker itself finds broken markup") {
    CHECK(markup_trouble("<!DOCTYPE html><p>a</p>") == "");
    for (const char* broken : {"<!DOCTYPE html><p>a", "<!DOCTYPE html><p><b>a</p></b>",
                               "<!DOCTYPE html><p class=x>a</p>", "<!DOCTYPE html><p>a & b</p>"})
        CHECK(markup_trouble(broken) != "");
}

TEST_CASE("hostile names and evidence are text, never markup") {
    const std::string script = "<script>alert('1')</script>";
    const Folder folder;
    Sample sample({"</title><b onload=\"x\">", script, "\"'><img>", "&amp;", std::string(5000, 'W'),
                   "evil\u202Etxt\x01"},
                  script + "\n\"&");
    sample.swarm["name"] = script;
    sample.swarm["text"] = "</dd>";
    Sample::add(sample.logs["p0"], started_ms, "error", {{"message", script}});
    const std::string page = render_report(sample.read(folder));
    CHECK(markup_trouble(page) == "");
    CHECK(!contains(page, "<script"));
    CHECK(!contains(page, "<img"));
    CHECK(!contains(page, "<b onload"));
    CHECK(!contains(page, "\u202E"));
    CHECK(!contains(page, std::string(200, 'W')));
    CHECK(contains(page, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    CHECK(json::parse(summary_json(read_run(folder.path())))["peers"][1]["name"] == script);
}

TEST_CASE("a killed process, garbage and foreign events") {
    const Folder folder;
    Sample sample;
    std::string& log = sample.logs["p0"];
    log +=
        "not "
        "json\n\n[1,2]\n{\"t\":1}\n{\"event\":\"window\"}\n{\"event\":\"window\",\"window\":-1}\n{\"event\":"
        "\"window\",\"window\":1e300}\n";
    log += std::string("\xff\xfe\0{", 4) +
           "\n{\"event\":\"\xff\"}\n{\"event\":\"window\",\"window\":3,\"tokens\":1e999}\n";
    log += std::string(100000, '[') + "\n{\"event\":\"of another program\",\"t\":5}\n";
    log += "{\"t\":1790000000000,\"event\":\"win";
    sample.logs["p1"].clear();
    const RunLog run = sample.read(folder);
    const ParticipantLog* first = nullptr;
    for (const ParticipantLog& participant : run.participants)
        if (participant.folder == "p0") first = &participant;
    REQUIRE(first != nullptr);
    CHECK(first->bad_lines == 10);
    CHECK(first->half_line);
    CHECK(!first->stopped);
    CHECK(first->windows.size() == 20);
    CHECK(run.bad_lines() == 10);
    const Agreement agreement = root_agreement(run);
    CHECK(agreement.equal);
    CHECK(agreement.replicas == 6);
    CHECK(agreement.silent.size() == 1);
    const std::string page = render_report(run);
    CHECK(markup_trouble(page) == "");
    CHECK(contains(page, "10 unreadable lines"));
    CHECK(contains(page, "ends inside a line"));
    CHECK(contains(page, "All 6 replicas agree"));
    CHECK(contains(page, "Not counted"));
}

TEST_CASE("a complete last line without its newline counts") {
    const Folder folder;
    folder.write("peers/m/events.jsonl",
                 "{\"t\":1,\"event\":\"start\",\"role\":\"miner\"}\n{\"t\":2,\"event\":\"window\",\"window\":"
                 "0,\"root\":\"AB\"}");
    const RunLog run = read_run(folder.path());
    REQUIRE(run.participants.size() == 1);
    CHECK(run.participants[0].windows.size() == 1);
    CHECK(!run.participants[0].half_line);
    CHECK(root_agreement(run).root == "ab");
    CHECK(run.peers[0].name == "m");
    CHECK(markup_trouble(render_report(run)) == "");
}

TEST_CASE("numbers of the wrong kind show as a dash") {
    const Folder folder;
    folder.write(
        "swarm.json",
        R"({"name":7,"unigram_loss":"4","started_ms":-5,"window_ms":null,"model":[],"peers":[1,{},{"uid":"x","name":null}]})");
    const std::string rows =
        "[{\"hotkey\":\"" + hotkey(0) +
        R"(","uid":1.5,"mu":null,"sigma":"x","weight":{},"penalty":3},4,{"uid":1},)" + "{\"hotkey\":\"" +
        hotkey(1) +
        R"(","uid":2,"mu":1e308,"sigma":1e308,"score":-1e308,"weight":1e308,"tokens":1e308,"own":-1e308,"evaluated":true}])";
    std::string log;
    for (int w = 0; w < 3; ++w)
        log +=
            "{\"event\":\"window\",\"window\":" + std::to_string(w * 500000000) +
            R"(,"root":5,"train_loss":"x","heldout_loss":1e308,"phases":{"a":null,"stage1":-1e308,"wait":1e308},"bytes_down":-3,"peers":)" +
            rows + "}\n";
    folder.write("peers/v/events.jsonl", log);
    const RunLog run = read_run(folder.path());
    CHECK(run.bad_lines() == 0);
    const std::string page = render_report(run);
    CHECK(markup_trouble(page) == "");
    for (const char* word : {"nan", "-inf", ">inf", " inf"}) CHECK_MESSAGE(!contains(page, word), word);
    CHECK(json::parse(summary_json(run))["unigram_loss"].is_null());
    CHECK(json::parse(summary_json(run))["roots_equal"] == false);
}

TEST_CASE("without swarm.json names come from hotkeys") {
    const Folder folder;
    const RunLog run = Sample().read(folder, false);
    const json summary = json::parse(summary_json(run));
    CHECK(summary["unigram_loss"].is_null());
    CHECK(summary["seconds"] == doctest::Approx(210.0));
    REQUIRE(summary["peers"].size() == 6);
    CHECK(summary["peers"][0]["name"] == "aaaaaaaa");
    CHECK(markup_trouble(render_report(run)) == "");

    folder.write("swarm.json", "{\"name\":");
    const RunLog broken = read_run(folder.path());
    CHECK(!broken.swarm_trouble.empty());
    CHECK(contains(render_report(broken), "swarm.json was not used"));
}

TEST_CASE("replicas that differ are shown loudly") {
    Sample sample;
    const Folder folder;
    std::string& log = sample.logs["p2"];
    for (int64_t w = 12; w < windows; ++w) log.replace(log.find(root(w)), 64, std::string(64, 'e'));
    const RunLog run = sample.read(folder);
    const Agreement agreement = root_agreement(run);
    CHECK(!agreement.equal);
    CHECK(agreement.window == 19);
    CHECK(agreement.first_split == 12);
    CHECK(agreement.root == root(19));
    REQUIRE(agreement.camps.size() == 2);
    CHECK(agreement.camps[0].participants.size() == 6);
    REQUIRE(agreement.camps[1].participants.size() == 1);
    CHECK(run.participants[agreement.camps[1].participants[0]].folder == "p2");
    const std::string page = render_report(run);
    CHECK(contains(page, "The replicas do not agree"));
    CHECK(contains(page, "role=\"alert\""));
    CHECK(!contains(page, "replicas agree: root"));
    CHECK(json::parse(summary_json(run))["roots_equal"] == false);
    CHECK(markup_trouble(page) == "");
}

TEST_CASE("agreement looks at the last common window and beyond, and remembers what was healed") {
    SUBCASE("healed") {
        Sample sample;
        const Folder folder;
        std::string& log = sample.logs["p2"];
        log.replace(log.find(root(7)), 64, std::string(64, 'e'));
        const RunLog run = sample.read(folder);
        CHECK(root_agreement(run).equal);
        CHECK(root_agreement(run).first_split == 7);
        CHECK(contains(render_report(run), "caught up"));
    }
    SUBCASE("one log ends early, the others differ later") {
        Sample sample;
        const Folder folder;
        std::string& early = sample.logs["p0"];
        early.resize(early.find("\"window\":5}"));  // inside the line of window 5
        std::string& log = sample.logs["p2"];
        log.replace(log.find(root(15)), 64, std::string(64, 'e'));
        const Agreement agreement = root_agreement(sample.read(folder));
        CHECK(agreement.window == 4);
        CHECK(!agreement.equal);
    }
}

TEST_CASE("of a window logged twice the later line counts") {
    Sample sample;
    const Folder folder;
    Sample::add(sample.logs["p0"], started_ms + 1, "start", {{"role", "miner"}, {"hotkey", hotkey(0)}});
    Sample::add(sample.logs["p0"], started_ms + 2, "window",
                {{"window", 19}, {"root", root(19)}, {"tokens", 77}});
    const RunLog run = sample.read(folder);
    for (const ParticipantLog& log : run.participants) {
        if (log.folder != "p0") continue;
        CHECK(log.starts == 2);
        REQUIRE(log.windows.size() == 20);
        CHECK(log.windows.back().tokens == 77);
    }
}

TEST_CASE("penalties collapse while they last") {
    const Folder folder;
    const RunLog run = Sample().read(folder);
    const ParticipantLog* validator = leading_validator(run);
    REQUIRE(validator != nullptr);
    CHECK(validator->penalties.size() == 16);
    const std::vector<PenaltyGroup> groups = penalty_groups(*validator);
    REQUIRE(groups.size() == 2);  // windows 3–9 and 11–19
    CHECK(groups[0].first_window == 11);
    CHECK(groups[0].last_window == 19);
    CHECK(groups[0].count == 9);
    CHECK(groups[1].first_window == 3);
    CHECK(groups[1].count == 7);
    CHECK(groups[1].reason == "overlap");
    const std::string page = render_report(run);
    CHECK(occurrences(page, "0.71 of indices equal") == 2 + 16);
}

TEST_CASE("a peer that left has no weight at the end") {
    Sample sample;
    const Folder folder;
    json rows = json::array({sample.row(0, 20), sample.row(1, 20)});
    Sample::add(sample.logs["validator-0"], started_ms, "window",
                {{"window", 20}, {"root", root(20)}, {"peers", rows}});
    const json summary = json::parse(summary_json(sample.read(folder)));
    CHECK(summary["peers"][0]["weight"].is_number());
    CHECK(summary["peers"][5]["weight"].is_null());
    CHECK(summary["peers"][5]["mu"].is_number());
}

TEST_CASE("a folder without logs says what was expected") {
    const Folder folder;
    fs::create_directories(folder.path() / "peers" / "empty");
    for (const fs::path& path : {folder.path(), folder.path() / "absent"}) {
        try {
            read_run(path);
            FAIL("expected an error");
        } catch (const Error& error) {
            CHECK(error.code() == ExitCode::input);
            CHECK(contains(error.what(), "events.jsonl"));
        }
    }
    folder.write("peers/empty/events.jsonl", "");
    const RunLog run = read_run(folder.path());
    CHECK(markup_trouble(render_report(run)) == "");
    CHECK(json::parse(summary_json(run))["roots_equal"] == false);
}

TEST_CASE("a long run with many peers stays a page of bearable size") {
    const Folder folder;
    std::string log;
    for (int64_t w = 0; w < 1500; ++w) {
        log += fmt::format("{{\"event\":\"window\",\"window\":{},\"heldout_loss\":{},\"peers\":[", w,
                           5.0 - 0.001 * w);
        for (int i = 0; i < 40; ++i)
            log += fmt::format(
                "{}{{\"hotkey\":\"{}\",\"uid\":{},\"mu\":{},\"sigma\":2,\"score\":{},\"weight\":0.025,"
                "\"penalty\":{{\"reason\":\"late\",\"evidence\":\"{}\"}}}}",
                i ? "," : "", hotkey(i), i, 20 + i % 7, 0.1 * i + 0.001 * (w * 7919 % 1000), "x");
        log += "]}\n";
    }
    folder.write("peers/v/events.jsonl", log);
    const std::string page = render_report(read_run(folder.path()));
    CHECK(page.size() < 8'000'000);
    CHECK(contains(page, "60,000 penalties"));
    CHECK(contains(page, "28 more, unnamed"));
    CHECK(markup_trouble(page) == "");
}
