// Runs every fuzz target without a fuzzer: on each file of its corpus, and on changes of it that are the same
// every time. Each target runs in a process of its own, so that one that dies or hangs is named with the
// input that did it, which is kept for a look. usage: test_fuzz CORPUS_FOLDER [TARGET [FILE]]
#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#define FUZZ_TARGET(name) extern "C" int fuzz_##name(const uint8_t* data, size_t size);
#include "targets.inc"
#undef FUZZ_TARGET

namespace {

using namespace templar;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Target {
    const char* name;
    int (*run)(const uint8_t* data, size_t size);
};
constexpr Target targets[] = {
#define FUZZ_TARGET(name) {#name, fuzz_##name},
#include "targets.inc"
#undef FUZZ_TARGET
};

constexpr int mutations = 1000;  // of each target, as far as there is time
constexpr auto time_each = std::chrono::milliseconds(800);
constexpr auto time_of_one_input = std::chrono::seconds(20);
constexpr int64_t max_input_bytes = 1 << 20;

// What a target's process is at, for the one that waits for it.
struct Progress {
    int64_t inputs;
    size_t size;
    uint8_t input[max_input_bytes];
};

// One to four of: a byte changed, a piece removed, doubled, or replaced by one of another file.
Bytes mutated(Bytes bytes, const Bytes& other, CounterRng& rng) {
    const auto piece = [&rng](const Bytes& from) {
        const size_t begin = rng.below(from.size() + 1);
        const size_t length = rng.below(std::min<size_t>(from.size() - begin, 64) + 1);
        return ByteSpan(from).subspan(begin, length);
    };
    for (uint64_t steps = 1 + rng.below(4); steps > 0; --steps) {
        const auto at = static_cast<std::ptrdiff_t>(rng.below(bytes.size() + 1));
        const uint64_t kind = rng.below(5);
        if (kind <= 1 && at < std::ssize(bytes)) {
            bytes[static_cast<size_t>(at)] = kind == 0
                                                 ? static_cast<uint8_t>(rng.below(256))
                                                 : bytes[static_cast<size_t>(at)] ^ (1u << rng.below(8));
        } else if (kind == 2) {
            const ByteSpan gone = piece(bytes);
            const auto begin = gone.data() - bytes.data();
            bytes.erase(bytes.begin() + begin, bytes.begin() + begin + std::ssize(gone));
        } else if (kind == 3) {
            const ByteSpan part = piece(bytes);
            const Bytes copy(part.begin(), part.end());
            bytes.insert(bytes.begin() + at, copy.begin(), copy.end());
        } else if (kind == 4) {
            const ByteSpan part = piece(other);
            bytes.insert(bytes.begin() + at, part.begin(), part.end());
        }
    }
    bytes.resize(std::min<size_t>(bytes.size(), max_input_bytes));
    return bytes;
}

std::vector<Bytes> corpus_of(const fs::path& folder) {
    std::vector<fs::path> paths;
    if (fs::is_directory(folder))
        for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
    std::ranges::sort(paths);
    std::vector<Bytes> files;
    for (const fs::path& path : paths) files.push_back(read_file(path, max_input_bytes));
    return files;
}

void run_all(const Target& target, const std::vector<Bytes>& files, Clock::duration time,
             Progress& progress) {
    const auto run = [&](const Bytes& input) {
        progress.size = input.size();
        std::ranges::copy(input, progress.input);
        // From memory of just that size: a sanitizer sees a read of one byte too many.
        const Bytes copy(input.begin(), input.end());
        target.run(copy.data(), copy.size());
        ++progress.inputs;
    };
    for (const Bytes& file : files) run(file);
    CounterRng rng(sha256(as_bytes(target.name)));
    const auto end = Clock::now() + time;
    for (int i = 0; i < mutations && Clock::now() < end; ++i)
        run(mutated(files[static_cast<size_t>(i) % files.size()], files[rng.below(files.size())], rng));
}

// The child's exit status; nothing when it hung at one input and was ended.
std::optional<int> wait_for(pid_t child, const Progress& progress) {
    int64_t seen = -1;
    auto moved = Clock::now();
    for (;;) {
        int status = 0;
        if (::waitpid(child, &status, WNOHANG) == child) return status;
        if (const int64_t now = progress.inputs; now != seen) {
            seen = now;
            moved = Clock::now();
        }
        if (Clock::now() - moved > time_of_one_input) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            return std::nullopt;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

bool replay(const Target& target, const std::vector<Bytes>& files, Clock::duration time, Progress& progress) {
    progress.inputs = 0;
    const auto begin = Clock::now();
    const pid_t child = ::fork();
    if (child == 0) {
        run_all(target, files, time, progress);
        std::exit(0);  // with the leak check, where there is one
    }
    const std::optional<int> status = wait_for(child, progress);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (status == 0) {
        fmt::print("{:16} {:5} files, {:6} inputs, {:5.2f} s\n", target.name, files.size(), progress.inputs,
                   seconds);
        return true;
    }
    const fs::path kept = fs::temp_directory_path() / fmt::format("fuzz-finding-{}", target.name);
    write_file(kept, ByteSpan(progress.input, progress.size));
    fmt::print("{}: FAILED: it {} at input {}, kept as {}\n", target.name, status ? "died" : "hung",
               progress.inputs, kept.string());
    return false;
}

int replay_all(const fs::path& corpus, std::string_view only) {
    void* memory =
        ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail(ExitCode::internal, "no memory to share with the targets' processes");
    auto& progress = *static_cast<Progress*>(memory);
    std::fflush(stdout);
    int failed = 0;
    for (const Target& target : targets) {
        if (!only.empty() && only != target.name) continue;
        const std::vector<Bytes> files = corpus_of(corpus / target.name);
        if (files.empty()) fmt::print("{}: FAILED: no corpus in {}\n", target.name, corpus.string());
        failed += files.empty() ||
                  !replay(target, files, only.empty() ? time_each : std::chrono::hours(1), progress);
        std::fflush(stdout);
    }
    ::munmap(memory, sizeof(Progress));
    return failed;
}

int replay_file(std::string_view name, const fs::path& path) {
    const Bytes input = read_file(path, max_input_bytes);
    for (const Target& target : targets)
        if (target.name == name) return target.run(input.data(), input.size());
    fail(ExitCode::usage, "there is no target {}", name);
}

}  // namespace

int main(int count, char** words) {
    if (count < 2 || count > 4) {
        fmt::print(stderr, "usage: test_fuzz CORPUS_FOLDER [TARGET [FILE]]\n");
        return 2;
    }
    try {
        if (count == 4) return replay_file(words[2], words[3]);
        return replay_all(words[1], count > 2 ? words[2] : "") == 0 ? 0 : 1;
    } catch (const Error& error) {
        fmt::print(stderr, "test_fuzz: {}\n", error.what());
        return static_cast<int>(error.code());
    }
}
