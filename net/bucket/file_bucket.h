// A bucket in a folder. Others may write to that folder, and not all of them are friends: nothing in it is
// followed but plain folders and regular files, every name is resolved from an open folder to an open folder,
// and nothing read is trusted for its length.
#pragma once

#include "base/file.h"
#include "net/bucket/bucket.h"

#include <filesystem>

namespace templar {

class FileBucket : public Bucket {
  public:
    FileBucket(const std::filesystem::path& root, bool create, Clock* clock);

    std::optional<ObjectInfo> head(const std::string& key) override;
    std::optional<Bytes> get(const std::string& key, int64_t max_bytes) override;
    std::optional<Bytes> get_range(const std::string& key, int64_t offset, int64_t length) override;
    std::optional<Object> fetch(const std::string& key, int64_t bytes, int64_t budget_ms,
                                const ArrivalCheck& check) override;
    std::vector<GetResult> get_many(const std::vector<std::string>& keys, int64_t max_bytes) override;
    bool create(const std::string& key, ByteSpan bytes, int64_t budget_ms) override;
    void put(const std::string& key, ByteSpan bytes, int64_t budget_ms) override;
    void remove(const std::string& key) override;
    std::vector<ObjectInfo> list(const std::string& prefix, const std::string& start_after,
                                 int64_t limit) override;
    std::string url() const override;
    // A folder costs nothing but bytes.
    TransferStats stats() const override { return {.bytes_up = bytes_up_, .bytes_down = bytes_down_}; }

  private:
    struct Open;
    struct Listing;
    std::optional<Object> read_object(const std::string& key, int64_t min_bytes, int64_t max_bytes) const;
    std::string name_of(const std::string& key) const;
    std::optional<Descriptor> open_folder(std::string_view folder, bool create) const;
    std::optional<Open> open_object(const std::string& key) const;
    std::optional<int64_t> time() const;
    void walk(Listing& listing, const Descriptor& folder, const std::string& path) const;

    std::filesystem::path root_path_;
    Descriptor root_;
    Clock* clock_;
    mutable std::atomic<int64_t> bytes_up_{0}, bytes_down_{0};
};

}  // namespace templar
