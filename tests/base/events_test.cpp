#include "base/events.h"

#include "base/file.h"
#include "base/temporary_folder.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <csignal>
#include <sstream>

using namespace templar;

namespace {

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::istringstream text(read_text_file(path, 1000));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
}

// Files may grow to this size and no further, as on a full disk.
class FullDisk {
  public:
    explicit FullDisk(uint64_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FullDisk() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    void (*handler_)(int);
    rlimit before_{};
};

}  // namespace

TEST_CASE("a line of the event log that a full disk cuts short spoils no other") {
    const TemporaryFolder folder;
    const std::filesystem::path path = folder.path() / "events.jsonl";
    for (const bool by_the_same_process : {true, false}) {
        CAPTURE(by_the_same_process);
        std::filesystem::remove(path);
        auto log = std::make_unique<EventLog>(path);
        log->write(1, "before", nlohmann::json::object());
        {
            const FullDisk disk(std::filesystem::file_size(path) + 10);
            log->write(2, "cut", nlohmann::json::object());
            log->write(3, "dropped", nlohmann::json::object());
        }
        if (!by_the_same_process) log = std::make_unique<EventLog>(path);
        log->write(4, "after", nlohmann::json::object());
        log->write(5, "last", nlohmann::json::object());
        const std::vector<std::string> lines = lines_of(path);
        REQUIRE(lines.size() == 4);
        CHECK(nlohmann::json::parse(lines[0]).at("event") == "before");
        CHECK(lines[1].size() == 10);
        CHECK(nlohmann::json::parse(lines[2]) == nlohmann::json{{"event", "after"}, {"t", 4}});
        CHECK(nlohmann::json::parse(lines[3]).at("event") == "last");
    }
}
