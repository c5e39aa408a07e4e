#include "tools/swarm/table.h"

#include "base/error.h"
#include "tools/program.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>

namespace templar {

using nlohmann::json;

WindowTable::WindowTable(const LocalSwarm& swarm, int64_t windows)
    : log_(swarm.peers.front().folder / "events.jsonl"),
      windows_(windows),
      started_ms_(swarm.created.run.description.t0_ms),
      window_ms_(swarm.created.run.description.window_ms()) {
    for (const LocalPeer& peer : swarm.peers) names_[to_hex(peer.hotkey)] = peer.name;
}

void WindowTable::follow() {
    std::ifstream file(log_);
    if (!file) return;
    file.seekg(offset_);
    for (std::string line; std::getline(file, line);) {
        if (file.eof()) return;  // half a line: its other half comes later
        offset_ = file.tellg();
        const json event = json::parse(line, nullptr, false);
        if (event.is_object() && event.value("event", "") == "window") print(event);
    }
}

void WindowTable::print(const json& event) {
    const int64_t window = event.at("window");
    const int64_t left_ms = (windows_ - 1 - window) * window_ms_;
    const std::string heldout = event.at("heldout_loss").is_number()
                                    ? fmt::format("{:.3f}", event.at("heldout_loss").get<double>())
                                    : "–";
    fmt::print("\nwindow {} of {}   train loss {:.3f}   held-out loss {}   {} tokens/s   root {}   {} left\n",
               window + 1, windows_, event.at("train_loss").get<double>(), heldout,
               short_count(event.at("tokens_per_second")), event.at("root").get<std::string>().substr(0, 12),
               short_duration(static_cast<double>(left_ms) / 1000.0));
    fmt::print("  uid {:<12}{:>8} {:>9} {:>9} {:>12} {:>6} {:>5} {:>8} {:>7}  last penalty\n", "peer",
               "tokens", "own", "random", "rating", "B", "sync", "score", "weight");
    for (const json& peer : event.at("peers")) {
        const std::string hotkey = peer.at("hotkey");
        if (const json& penalty = peer.at("penalty"); penalty.is_object())
            penalties_[hotkey] =
                fmt::format("w{}: {} ({})", window + 1, penalty.at("reason").get<std::string>(),
                            penalty.at("evidence").get<std::string>());
        const bool evaluated = peer.at("evaluated");
        auto percent = [&](const char* key) {
            return evaluated ? fmt::format("{:+.2f} %", 100.0 * peer.at(key).get<double>())
                             : std::string("–");
        };
        fmt::print(
            "  {:>3} {:<12}{:>8} {:>9} {:>9} {:>12} {:>6.2f} {:>5.2f} {:>8.3f} {:>7.3f}  {}\n",
            peer.at("uid").get<int64_t>(), names_.contains(hotkey) ? names_[hotkey] : hotkey.substr(0, 8),
            short_count(peer.at("tokens").get<double>()), percent("own"), percent("random"),
            fmt::format("{:.1f} ± {:.1f}", peer.at("mu").get<double>(), peer.at("sigma").get<double>()),
            peer.at("binary").get<double>(), peer.at("sync").get<double>(), peer.at("score").get<double>(),
            peer.at("weight").get<double>(), penalties_[hotkey].substr(0, 90));
    }
    std::fflush(stdout);
}

std::string summary_text(const std::string& summary_json, const std::filesystem::path& folder) {
    const json summary = json::parse(summary_json);
    auto number = [](const json& value) {
        return value.is_number() ? fmt::format("{:.3f}", value.get<double>()) : std::string("–");
    };
    std::string text =
        fmt::format("\nheld-out loss {} → {} nats per token (unigram baseline {}), {} windows, {}\n",
                    number(summary.at("heldout_loss_start")), number(summary.at("heldout_loss_end")),
                    number(summary.at("unigram_loss")), summary.at("windows").get<int64_t>(),
                    short_duration(summary.at("seconds").get<double>()));
    text += "ranking:\n";
    int place = 0;
    for (const json& peer : summary.at("peers"))
        text += fmt::format("  {:>2}. {:<12} score {:>8}   rating {:>7}   weight {}\n", ++place,
                            peer.at("name").get<std::string>(), number(peer.at("final_score")),
                            number(peer.at("rating")), number(peer.at("weight")));
    const std::string root = summary.at("root");
    text += summary.at("roots_equal").get<bool>()
                ? fmt::format("all {} replicas agree: root {}\n", summary.value("replicas", int64_t{0}), root)
                : std::string("THE REPLICAS DO NOT AGREE: see report.html\n");
    text += fmt::format("logs: {}\nsummary: {}\nreport: {}\n", (folder / "peers").string(),
                        (folder / "summary.json").string(), (folder / "report.html").string());
    return text;
}

}  // namespace templar
