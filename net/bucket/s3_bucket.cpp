#include "net/bucket/s3_bucket.h"

#include "net/bucket/key.h"

#include <chrono>

namespace templar {

namespace {

constexpr int64_t abandoned_ms = 3'600'000;

bool is_key(std::string_view key) {
    try {
        check_key(key);
    } catch (const Error&) {
        return false;
    }
    return true;
}

}  // namespace

std::string S3Bucket::below_prefix() const {
    const std::string& prefix = client_.location().prefix;
    return prefix.empty() ? "" : prefix + "/";
}

std::string S3Bucket::full_key(const std::string& key) const {
    check_key(key);
    return below_prefix() + key;
}

std::optional<ObjectInfo> S3Bucket::head(const std::string& key) {
    const std::optional<S3Object> object = client_.head(full_key(key));
    if (!object) return std::nullopt;
    return ObjectInfo{key, object->size, object->modified_ms};
}

std::optional<Bytes> S3Bucket::get(const std::string& key, int64_t max_bytes) {
    auto object = client_.get(full_key(key), max_bytes);
    if (!object) return std::nullopt;
    return std::move(object->first);
}

std::optional<Bytes> S3Bucket::get_range(const std::string& key, int64_t offset, int64_t length) {
    return client_.get_range(full_key(key), offset, length);
}

std::optional<Object> S3Bucket::fetch(const std::string& key, int64_t bytes, int64_t budget_ms,
                                      const ArrivalCheck& check) {
    auto object = client_.fetch(full_key(key), bytes, budget_ms, check);
    if (!object) return std::nullopt;
    return Object{std::move(object->first), object->second.modified_ms};
}

std::vector<GetResult> S3Bucket::get_many(const std::vector<std::string>& keys, int64_t max_bytes) {
    std::vector<GetResult> results(keys.size());
    std::vector<std::string> asked;
    std::vector<size_t> places;
    for (size_t i = 0; i < keys.size(); ++i) try {
            asked.push_back(full_key(keys[i]));
            places.push_back(i);
        } catch (const Error& error) {
            results[i].error = error;
        }
    std::vector<S3GetResult> found = client_.get_many(asked, max_bytes);
    for (size_t i = 0; i < found.size(); ++i) {
        GetResult& result = results[places[i]];
        result.error = std::move(found[i].error);
        if (found[i].object)
            result.object = Object{std::move(found[i].object->first), found[i].object->second.modified_ms};
    }
    return results;
}

bool S3Bucket::create(const std::string& key, ByteSpan bytes, int64_t budget_ms) {
    return client_.create(full_key(key), bytes, budget_ms);
}

void S3Bucket::put(const std::string& key, ByteSpan bytes, int64_t budget_ms) {
    client_.put(full_key(key), bytes, budget_ms);
}

void S3Bucket::remove(const std::string& key) {
    client_.remove(full_key(key));
}

std::vector<ObjectInfo> S3Bucket::list(const std::string& prefix, const std::string& start_after,
                                       int64_t limit) {
    check_key_prefix(prefix);
    check_key_prefix(start_after);
    const std::string below = below_prefix();
    std::string after = start_after.empty() ? "" : below + start_after;
    std::vector<ObjectInfo> found;
    while (std::ssize(found) < limit) {
        const int64_t wanted = limit - std::ssize(found);
        const std::vector<S3ListedObject> page = client_.list(below + prefix, after, wanted);
        for (const S3ListedObject& object : page) {
            std::string key = object.key.substr(below.size());
            if (is_key(key)) found.push_back({std::move(key), object.size, object.modified_ms});
        }
        if (std::ssize(page) < wanted) break;
        after = page.back().key;
    }
    return found;
}

std::string S3Bucket::url() const {
    return client_.location().url();
}

void S3Bucket::sweep_unfinished() {
    const std::vector<S3Upload> uploads = client_.unfinished_uploads(below_prefix());
    const int64_t here_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count();
    const int64_t now_ms = here_ms + client_.clock_difference_ms().value_or(0);
    for (const S3Upload& upload : uploads)
        if (upload.key.starts_with(below_prefix()) && now_ms - upload.initiated_ms > abandoned_ms)
            client_.abort_upload(upload);
}

TransferStats S3Bucket::stats() const {
    return client_.stats();
}

}  // namespace templar
