// A bucket, or the part of one below a prefix, at an S3 service.
#pragma once

#include "net/bucket/bucket.h"
#include "net/s3/client.h"

namespace templar {

class S3Bucket : public Bucket {
  public:
    explicit S3Bucket(S3Client client) : client_(std::move(client)) {}

    std::optional<ObjectInfo> head(const std::string& key) override;
    std::optional<Bytes> get(const std::string& key, int64_t max_bytes) override;
    std::optional<Bytes> get_range(const std::string& key, int64_t offset, int64_t length) override;
    std::optional<Object> fetch(const std::string& key, int64_t bytes, int64_t budget_ms,
                                const ArrivalCheck& check) override;
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) override;
    bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms) override;
    void put(const std::string& key, ByteSpan bytes, int64_t budget_ms) override;
    void remove(const std::string& key) override;
    // Objects whose keys are none of ours (see bucket.h) are passed over.
    std::vector<ObjectInfo> list(const std::string& prefix, const std::string& start_after,
                                 int64_t limit) override;
    std::string url() const override;
    // Uploads that began more than an hour ago, by the service's clock.
    void sweep_unfinished() override;
    TransferStats stats() const override;
    std::optional<int64_t> clock_difference_ms() const override { return client_.clock_difference_ms(); }

  private:
    std::string full_key(const std::string& key) const;  // of a valid key
    std::string below_prefix() const;                    // "" or "prefix/"

    S3Client client_;
};

}  // namespace templar
