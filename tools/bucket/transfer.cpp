#include "tools/bucket/transfer.h"

#include "base/file.h"
#include "base/in_parallel.h"
#include "base/sha256.h"
#include "net/bucket/file_bucket.h"
#include "net/bucket/key.h"
#include "tools/program.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace templar {

namespace {

using std::chrono::steady_clock;

// Whole objects are in memory while they travel: this many bytes at a time, or one object.
constexpr int64_t most_bytes_in_memory = int64_t{1} << 30;

double seconds_since(steady_clock::time_point start) {
    return std::chrono::duration<double>(steady_clock::now() - start).count();
}

// "26 bytes", "3.15 MB"
std::string size_text(int64_t bytes) {
    return bytes < 1000 ? fmt::format("{} bytes", bytes) : short_count(static_cast<double>(bytes)) + "B";
}

std::string time_text(int64_t unix_ms) {
    using namespace std::chrono;
    const sys_seconds moment = floor<seconds>(sys_time<milliseconds>(milliseconds(unix_ms)));
    const sys_days day = floor<days>(moment);
    const year_month_day date(day);
    const hh_mm_ss time(moment - day);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", int(date.year()), unsigned(date.month()),
                       unsigned(date.day()), time.hours().count(), time.minutes().count(),
                       time.seconds().count());
}

void stop_when_asked() {
    if (stop_requested()) fail(ExitCode::interrupted, "stopped; what was not finished is not there");
}

// Room for objects in memory: who does not fit waits, who is alone always fits.
class Room {
  public:
    void take(int64_t bytes) {
        std::unique_lock lock(mutex_);
        freed_.wait(lock, [&] { return taken_ == 0 || taken_ + bytes <= most_bytes_in_memory; });
        taken_ += bytes;
    }
    void free(int64_t bytes) {
        const std::lock_guard lock(mutex_);
        taken_ -= bytes;
        freed_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable freed_;
    int64_t taken_ = 0;
};

class RoomFor {
  public:
    RoomFor(Room& room, int64_t bytes) : room_(room), bytes_(bytes) { room_.take(bytes_); }
    ~RoomFor() { room_.free(bytes_); }
    RoomFor(const RoomFor&) = delete;
    RoomFor& operator=(const RoomFor&) = delete;

  private:
    Room& room_;
    int64_t bytes_;
};

std::vector<std::string> without_repeats(std::vector<std::string> keys) {
    std::set<std::string> seen;
    std::erase_if(keys, [&](const std::string& key) { return !seen.insert(key).second; });
    return keys;
}

std::vector<int64_t> sizes_of(Bucket& bucket, const std::vector<std::string>& keys, int parallel) {
    std::vector<int64_t> sizes(keys.size());
    const auto look = [&](int64_t number) {
        stop_when_asked();
        const auto i = static_cast<size_t>(number);
        const std::optional<ObjectInfo> info = bucket.head(keys[i]);
        if (!info)
            fail(ExitCode::input, "{} has no object {}; `bucket ls` shows what there is", bucket.url(),
                 keys[i]);
        sizes[i] = info->size;
    };
    in_parallel(std::ssize(keys), look, parallel);
    return sizes;
}

}  // namespace

struct Meter::State {
    mutable std::mutex mutex;
    std::unique_ptr<Progress> progress;
    steady_clock::time_point start = steady_clock::now();
    int64_t done = 0, objects = 0;
    std::map<std::thread::id, int64_t> under_way;

    void show() {
        int64_t all = done;
        for (const auto& [thread, bytes] : under_way) all += bytes;
        if (progress) progress->update(static_cast<double>(all));
    }
};

Meter::Meter() : state_(std::make_unique<State>()) {}
Meter::~Meter() = default;

TransferProgress Meter::callback() {
    return [state = state_.get()](const std::string&, int64_t done, int64_t) {
        const std::lock_guard lock(state->mutex);
        state->under_way[std::this_thread::get_id()] = done;
        state->show();
    };
}

void Meter::expect(const std::string& what, int64_t bytes) {
    const std::lock_guard lock(state_->mutex);
    state_->progress = std::make_unique<Progress>(what, "B", static_cast<double>(bytes));
    state_->start = steady_clock::now();
}

void Meter::finished(int64_t bytes) {
    const std::lock_guard lock(state_->mutex);
    state_->under_way.erase(std::this_thread::get_id());
    state_->done += bytes;
    ++state_->objects;
    state_->show();
}

std::string Meter::summary() const {
    const std::lock_guard lock(state_->mutex);
    state_->progress.reset();
    const double seconds = seconds_since(state_->start);
    const double rate = seconds > 0 ? static_cast<double>(state_->done) / seconds : 0;
    return fmt::format("{} {}, {} in {:.2f} s ({}/s)", state_->objects,
                       state_->objects == 1 ? "object" : "objects", size_text(state_->done), seconds,
                       size_text(static_cast<int64_t>(rate)));
}

void list_objects(Bucket& bucket, const std::string& prefix, int64_t limit) {
    constexpr int64_t page = 1000;
    int64_t count = 0, bytes = 0;
    std::string last;
    while (limit == 0 || count < limit) {
        stop_when_asked();
        const int64_t wanted = limit == 0 ? page : std::min(page, limit - count);
        const std::vector<ObjectInfo> objects = bucket.list(prefix, last, wanted);
        for (const ObjectInfo& object : objects) {
            fmt::print("{:>14}  {}  {}\n", object.size, time_text(object.modified_ms), object.key);
            bytes += object.size;
        }
        count += std::ssize(objects);
        if (!objects.empty()) last = objects.back().key;
        if (std::ssize(objects) < wanted) break;
    }
    const bool more = limit > 0 && count == limit && !bucket.list(prefix, last, 1).empty();
    fmt::print(stderr, "bucket: {} {}, {}{}\n", count, count == 1 ? "object" : "objects", size_text(bytes),
               more ? fmt::format("; there are more than --limit {}", limit) : "");
}

void get_objects(Bucket& bucket, std::vector<std::string> keys, const GetOptions& options, Meter& meter) {
    keys = without_repeats(std::move(keys));
    for (const std::string& key : keys) check_key(key);
    // A bucket in a folder of its own, because its keys stay below it whatever links lie there.
    std::optional<FileBucket> folder;
    if (!options.folder.empty()) folder.emplace(std::filesystem::absolute(options.folder), true, nullptr);
    const std::vector<int64_t> sizes = sizes_of(bucket, keys, options.parallel);
    int64_t total = 0;
    for (const int64_t size : sizes) total += size;
    meter.expect("getting", total);

    Room room;
    std::vector<std::string> hashes(keys.size());
    const auto get = [&](int64_t number) {
        stop_when_asked();
        const auto i = static_cast<size_t>(number);
        const RoomFor mine(room, sizes[i]);
        const std::optional<Object> object = bucket.fetch(keys[i], sizes[i]);
        if (!object)
            fail(ExitCode::storage, "object {} was removed meanwhile; look again with `bucket ls`", keys[i]);
        if (options.hash) hashes[i] = to_hex(sha256(object->bytes));
        if (folder && options.replace)
            folder->put(keys[i], object->bytes, 0);
        else if (folder && !folder->create(keys[i], object->bytes, 0))
            fail(ExitCode::storage, "{} exists already; choose another folder, or say --replace",
                 (options.folder / keys[i]).string());
        meter.finished(sizes[i]);
    };
    in_parallel(std::ssize(keys), get, options.parallel);
    const std::string summary = meter.summary();
    for (size_t i = 0; options.hash && i < keys.size(); ++i) fmt::print("{}  {}\n", hashes[i], keys[i]);
    fmt::print(stderr, "bucket: {}\n", summary);
}

void put_object(Bucket& bucket, const std::filesystem::path& file, const std::string& key, bool replace,
                Meter& meter) {
    check_key(key);
    const MappedFile content(file);
    const auto size = std::ssize(content.bytes());
    meter.expect("putting", size);
    if (replace)
        bucket.put(key, content.bytes());
    else if (!bucket.create(key, content.bytes()))
        fail(ExitCode::storage, "{} has an object {} already; choose another key, or say --replace",
             bucket.url(), key);
    meter.finished(size);
    const std::string summary = meter.summary();
    fmt::print("{}  {}\n", to_hex(sha256(content.bytes())), key);
    fmt::print(stderr, "bucket: {}\n", summary);
}

void remove_objects(Bucket& bucket, const std::vector<std::string>& keys) {
    for (const std::string& key : keys) check_key(key);
    for (const std::string& key : keys) {
        stop_when_asked();
        const bool is_there = bucket.head(key).has_value();
        if (is_there) bucket.remove(key);
        fmt::print("{}  {}\n", is_there ? "removed" : "was not there", key);
    }
}

}  // namespace templar
