// A bucket that hands everything on to another one: the base of those that count, fail or delay.
#pragma once

#include "net/bucket/bucket.h"

namespace templar {

class ForwardingBucket : public Bucket {
  public:
    explicit ForwardingBucket(std::unique_ptr<Bucket> bucket) : bucket_(std::move(bucket)) {}

    std::optional<ObjectInfo> head(const std::string& key) override {
        before("head", key);
        return bucket_->head(key);
    }
    std::optional<Bytes> get(const std::string& key, int64_t max_bytes) override {
        before("get", key);
        return bucket_->get(key, max_bytes);
    }
    std::optional<Bytes> get_range(const std::string& key, int64_t offset, int64_t length) override {
        before("get_range", key);
        return bucket_->get_range(key, offset, length);
    }
    std::optional<Object> fetch(const std::string& key, int64_t bytes, int64_t budget_ms,
                                const ArrivalCheck& check) override {
        before("fetch", key);
        return bucket_->fetch(key, bytes, budget_ms, check);
    }
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) override {
        std::vector<GetResult> results;
        for (const std::string& key : keys) {
            try {
                before("get_many", key);
                results.push_back(std::move(bucket_->get_many({key}, max_bytes).front()));
            } catch (const Error& error) {
                results.push_back({{}, error});
            }
        }
        return results;
    }
    bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms) override {
        before("create", key);
        return bucket_->create(key, bytes, budget_ms);
    }
    void put(const std::string& key, ByteSpan bytes, int64_t budget_ms) override {
        before("put", key);
        bucket_->put(key, bytes, budget_ms);
    }
    void remove(const std::string& key) override {
        before("remove", key);
        bucket_->remove(key);
    }
    std::vector<ObjectInfo> list(const std::string& prefix, const std::string& start_after,
                                 int64_t limit) override {
        before("list", prefix);
        return bucket_->list(prefix, start_after, limit);
    }
    std::string url() const override { return bucket_->url(); }
    TransferStats stats() const override { return bucket_->stats(); }

  protected:
    // Called for every object of every operation; throws to let it fail. From several threads at once when
    // the user of the bucket does so.
    virtual void before(const char* operation, const std::string& key) = 0;

  private:
    std::unique_ptr<Bucket> bucket_;
};

}  // namespace templar
