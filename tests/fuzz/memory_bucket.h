// A bucket in memory whose times the test sets: as much of the interface as a ledger needs.
#pragma once

#include "base/error.h"
#include "net/bucket/bucket.h"

#include <map>

namespace templar::fuzz {

class MemoryBucket final : public Bucket {
  public:
    int64_t now_ms = 0;  // given to what is created

    std::optional<ObjectInfo> head(const std::string& key) override {
        const auto found = objects_.find(key);
        if (found == objects_.end()) return std::nullopt;
        return ObjectInfo{key, std::ssize(found->second.bytes), found->second.modified_ms};
    }
    std::optional<Bytes> get(const std::string& key, int64_t max_bytes) override {
        const auto found = objects_.find(key);
        if (found == objects_.end()) return std::nullopt;
        if (std::ssize(found->second.bytes) > max_bytes) fail(ExitCode::input, "{}: too long", key);
        return found->second.bytes;
    }
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) override {
        std::vector<GetResult> results(keys.size());
        for (size_t i = 0; i < keys.size(); ++i) try {
                if (auto bytes = get(keys[i], max_bytes))
                    results[i].object = Object{std::move(*bytes), head(keys[i])->modified_ms};
            } catch (const Error& error) {
                results[i].error = error;
            }
        return results;
    }
    bool create(const std::string& key, ByteSpan bytes, int64_t) override {
        return objects_.emplace(key, Object{Bytes(bytes.begin(), bytes.end()), now_ms}).second;
    }
    std::string url() const override { return "memory"; }

    std::optional<Bytes> get_range(const std::string&, int64_t, int64_t) override { absent(); }
    std::optional<Object> fetch(const std::string&, int64_t, int64_t, const ArrivalCheck&) override {
        absent();
    }
    void put(const std::string&, ByteSpan, int64_t) override { absent(); }
    void remove(const std::string&) override { absent(); }
    std::vector<ObjectInfo> list(const std::string&, const std::string&, int64_t) override { absent(); }

  private:
    [[noreturn]] static void absent() { fail(ExitCode::internal, "not in this bucket"); }
    std::map<std::string, Object> objects_;
};

}  // namespace templar::fuzz
