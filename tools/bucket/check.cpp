#include "tools/bucket/check.h"

#include "base/random.h"
#include "tools/program.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>

namespace templar {

namespace {

constexpr int racers = 4;
constexpr double tolerated_seconds = 2.0;

int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Bytes new_content() {
    const std::string text = "templar.cpp bucket check " + to_hex(random_secret()) + "\n";
    return {text.begin(), text.end()};
}

class BucketCheck {
  public:
    explicit BucketCheck(Bucket& bucket) : bucket_(bucket) {}
    ~BucketCheck() { clean_up(); }
    BucketCheck(const BucketCheck&) = delete;
    BucketCheck& operator=(const BucketCheck&) = delete;

    bool all_good() const { return all_good_; }

    // False when nothing else is worth trying.
    bool sign_in_and_write() {
        if (!question("sign in", [&] {
                // Unlike HEAD it is answered with a reason.
                bucket_.list(prefix_, "", 1);
                return bucket_.url();
            }))
            return false;
        return question("write", [&] {
            began_ = true;
            wrote_from_ms_ = now_ms();
            if (!bucket_.create(first_, content_))
                fail(ExitCode::storage, "the service says that {} exists, which cannot be", first_);
            wrote_until_ms_ = now_ms();
            return std::string("creates an object");
        });
    }

    void own_key() {
        question("clock", [&] { return clock(); });
        question("read", [&] {
            expect(first_, content_);
            return std::string("gives back what was written");
        });
        question("read a range", [&] {
            const std::optional<Bytes> part = bucket_.get_range(first_, 8, 16);
            if (!part || *part != Bytes(content_.begin() + 8, content_.begin() + 24))
                fail(ExitCode::storage,
                     "16 bytes from byte 8 on are not what was written there; ranges are "
                     "needed: choose another service");
            return std::string("gives 16 bytes from byte 8 on");
        });
        question("write once", [&] { return write_once(); });
        question("write once, at once", [&] { return race(); });
        question("replace", [&] {
            content_ = new_content();
            bucket_.put(first_, content_);
            expect(first_, content_);
            return std::string("gives the new content at once");
        });
        question("list", [&] { return list(); });
    }

    void read_key(Bucket& reader) {
        const bool reads = question("read key: read", [&] {
            if (reader.get(first_, 1 << 16) != content_)
                fail(ExitCode::storage, "this key does not see the object that is there");
            return std::string("reads what the own key wrote");
        });
        if (!reads) return;
        question("read key: write", [&] {
            attempt([&] { reader.put(added_, content_); });
            const bool written = bucket_.head(added_).has_value();
            bucket_.remove(added_);
            if (written)
                fail(ExitCode::identity,
                     "this key WRITES: whoever learns it can fill your bucket; make one "
                     "that may only read");
            return std::string("is refused, as it must be");
        });
        question("read key: delete", [&] {
            attempt([&] { reader.remove(first_); });
            if (!bucket_.head(first_))
                fail(ExitCode::identity,
                     "this key DELETES: whoever learns it can empty your bucket; make one "
                     "that may only read");
            return std::string("is refused, as it must be");
        });
        question("read key: list", [&] {
            const bool lists = attempt([&] { reader.list(prefix_, "", 10); });
            return std::string(lists ? "is allowed: whoever has this key sees the names of all objects"
                                     : "is refused: whoever has this key must know an object's name");
        });
    }

    void remove() {
        question("delete", [&] {
            for (const std::string& key : {first_, raced_}) {
                bucket_.remove(key);
                if (bucket_.head(key)) fail(ExitCode::storage, "{} is still there after it was removed", key);
            }
            if (!bucket_.list(prefix_, "", 10).empty())
                fail(ExitCode::storage,
                     "the list still shows what was removed; a run needs a service whose "
                     "lists are up to date");
            return std::string("nothing is left behind");
        });
    }

  private:
    // One line. `action` returns what is good about it, or throws what is bad.
    bool question(const std::string& name, const std::function<std::string()>& action) {
        if (stop_requested()) fail(ExitCode::interrupted, "stopped; the check's own objects are removed");
        bool good = true;
        std::string detail;
        try {
            detail = action();
        } catch (const Error& error) {
            good = false;
            detail = error.what();
        }
        fmt::print("{:<20} {} {}\n", name, good ? "ok:" : "FAILED:", detail);
        std::fflush(stdout);
        all_good_ = all_good_ && good;
        return good;
    }

    // Whether it went through; what it did is looked at with the own key.
    static bool attempt(const std::function<void()>& action) {
        try {
            action();
        } catch (const Error&) {
            return false;
        }
        return true;
    }

    void expect(const std::string& key, const Bytes& content) {
        const std::optional<Bytes> found = bucket_.get(key, 1 << 16);
        if (!found) fail(ExitCode::storage, "{} is not there right after it was written", key);
        if (*found != content)
            fail(ExitCode::storage, "{} has other bytes than were written; choose another service", key);
    }

    // By the time of the object that was just written: deadlines are judged by that.
    std::string clock() {
        const std::optional<ObjectInfo> info = bucket_.head(first_);
        if (!info) fail(ExitCode::storage, "{} is not there right after it was written", first_);
        // Services cut the milliseconds off.
        const double here = 0.5 * static_cast<double>(wrote_from_ms_ + wrote_until_ms_);
        const double there = static_cast<double>(info->modified_ms) + (info->modified_ms % 1000 ? 0 : 500);
        const double seconds = (there - here) / 1000;
        if (std::abs(seconds) <= tolerated_seconds)
            return fmt::format("the bucket's differs from this machine's by less than {:.0f} s",
                               tolerated_seconds);
        return fmt::format(
            "BUT this machine's is {:.1f} s {} the bucket's, by which deadlines are judged: set "
            "it (timedatectl set-ntp true)",
            std::abs(seconds), seconds > 0 ? "behind" : "ahead of");
    }

    std::string write_once() {
        constexpr const char* advice =
            "the ledger needs a service that honours If-None-Match: * (R2, AWS, Ceph)";
        if (bucket_.create(first_, new_content()))
            fail(ExitCode::storage, "a second create of the same key succeeded; {}", advice);
        if (bucket_.get(first_, 1 << 16) != content_)
            fail(ExitCode::storage, "a second create was refused, yet changed the object; {}", advice);
        return "a second create with other content is refused";
    }

    std::string race() {
        std::vector<Bytes> contents;
        for (int i = 0; i < racers; ++i) contents.push_back(new_content());
        std::vector<char> won(racers, 0);
        std::vector<std::string> errors(racers);
        {
            std::vector<std::jthread> threads;
            for (size_t i = 0; i < racers; ++i)
                threads.emplace_back([&, i] {
                    try {
                        won[i] = bucket_.create(raced_, contents[i]);
                    } catch (const Error& error) {
                        errors[i] = error.what();
                    }
                });
        }
        int winners = 0;
        size_t winner = 0;
        for (size_t i = 0; i < racers; ++i) {
            if (!errors[i].empty()) fail(ExitCode::storage, "{}", errors[i]);
            if (!won[i]) continue;
            ++winners;
            winner = i;
        }
        if (winners != 1)
            fail(ExitCode::storage,
                 "of {} concurrent creates {} were told that they made the object, expected one; the ledger "
                 "needs a service that decides (R2, AWS, Ceph)",
                 racers, winners);
        if (bucket_.get(raced_, 1 << 16) != contents[winner])
            fail(ExitCode::storage,
                 "the object has not the bytes of the create that won; choose another service");
        return fmt::format("of {} concurrent creates one wins", racers);
    }

    std::string list() {
        const std::vector<ObjectInfo> objects = bucket_.list(prefix_, "", 10);
        // Both were made above, unless that failed.
        std::vector<std::string> expected;
        for (const std::string& key : {first_, raced_})
            if (bucket_.head(key)) expected.push_back(key);
        std::vector<std::string> found;
        for (const ObjectInfo& object : objects) found.push_back(object.key);
        if (found != expected)
            fail(ExitCode::storage,
                 "expected the {} objects of this check, found {}; a run needs a service "
                 "whose lists are up to date, and a key that may list",
                 expected.size(), found.size());
        if (!objects.empty() && objects.front().size != std::ssize(content_))
            fail(ExitCode::storage, "the list says {} bytes of an object that has {}", objects.front().size,
                 content_.size());
        return "shows what was written, in order";
    }

    // What is gone already is no error.
    void clean_up() noexcept {
        if (!began_) return;
        try {
            for (const std::string& key : {first_, raced_, added_}) bucket_.remove(key);
        } catch (const std::exception& error) {
            fmt::print(stderr, "bucket: objects {}* may be left behind: {}\n", prefix_, error.what());
        }
    }

    Bucket& bucket_;
    const std::string prefix_ = "check-" + to_hex(ByteSpan(random_secret()).first(8)) + ".";
    const std::string first_ = prefix_ + "first", raced_ = prefix_ + "raced",
                      added_ = prefix_ + "by-read-key";
    Bytes content_ = new_content();
    int64_t wrote_from_ms_ = 0, wrote_until_ms_ = 0;
    bool began_ = false, all_good_ = true;
};

}  // namespace

bool check_bucket(const std::string& url, const BucketOptions& options, const std::string& read_profile) {
    if (!read_profile.empty() && !url.starts_with("s3://"))
        fail(ExitCode::usage, "--read-profile {}: bucket {} has no keys, only s3:// buckets do", read_profile,
             url);
    const std::unique_ptr<Bucket> bucket = open_bucket(url, options);
    std::unique_ptr<Bucket> reader;
    if (!read_profile.empty())  // url() names the same bucket without a profile
        reader = open_bucket(bucket->url() + "&profile=" + read_profile, options);
    BucketCheck check(*bucket);
    if (!check.sign_in_and_write()) return false;
    check.own_key();
    if (reader) check.read_key(*reader);
    check.remove();
    return check.all_good();
}

}  // namespace templar
