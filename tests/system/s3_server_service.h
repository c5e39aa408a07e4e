// The buckets, objects and uploads behind the server, and the operations on them.
#pragma once

#include "tests/system/s3_server_auth.h"

#include <atomic>
#include <mutex>

namespace templar::s3test {

// What a request is about.
struct Target {
    Operation operation = Operation::other;
    std::string bucket, key;
    std::map<std::string, std::string> query;
    std::string parameter(const std::string& name) const;
};
Target read_target(const Request& request);

Response error_response(const Target& target, const Refusal& refusal, int64_t now_s);
std::string http_date(int64_t unix_s);
std::string iso_date(int64_t unix_ms);
std::string xml_text(std::string_view text);

struct Blob {
    std::shared_ptr<const Bytes> owner;
    ByteSpan bytes;
    std::string etag;
    int64_t modified_ms = 0, times_stored = 0;
};

class Service {
  public:
    explicit Service(const Quirks& quirks) : quirks_(quirks) {}

    // Judges the signature, then does what is asked.
    Response answer(const Request& request, const Target& target);
    // Of the request's object, for faults that answer with more or less than was asked.
    std::optional<Blob> blob(const std::string& bucket, const std::string& key) const;
    int64_t now_ms() const;
    int64_t now_s() const { return now_ms() / 1000; }

    void add_key(const Key& key);
    void add_bucket(const std::string& name, bool public_read);
    void store(const std::string& bucket, const std::string& key, Blob blob);
    void set_modified(const std::string& bucket, const std::string& key, int64_t unix_ms);
    int64_t uploads_open(const std::string& bucket) const;
    void set_clock_offset(int64_t seconds) { clock_offset_s_ = seconds; }

  private:
    struct Part {
        Bytes bytes;
        std::string md5;
    };
    struct Upload {
        std::string key;
        int64_t begun_ms = 0;
        std::map<int64_t, Part> parts;
    };
    struct Shelf {
        bool public_read = false;
        std::map<std::string, Blob> objects;
        std::map<std::string, Upload> uploads;  // by upload id, ascending with time
        std::map<std::string, int64_t> written_ms;
    };

    Response perform(const Request& request, const Target& target);
    Response get(const Request& request, const Target& target);
    Response put(const Request& request, const Target& target);
    Response remove(const Target& target);
    Response list(const Target& target);
    Response create_upload(const Target& target);
    Response upload_part(const Request& request, const Target& target);
    Response complete_upload(const Request& request, const Target& target);
    Response abort_upload(const Target& target);
    Response list_parts(const Target& target);
    Response list_uploads(const Target& target);

    Response refuse(const Target& target, int status, const std::string& code,
                    const std::string& message) const;
    // Why these parts make no object; nothing when they do.
    std::optional<Refusal> judge_parts(const Upload& upload,
                                       const std::vector<std::pair<int64_t, std::string>>& listed) const;
    // Stores unless the key must not be there and is. Called with the lock held.
    bool write(Shelf& shelf, const std::string& key, Blob blob, bool create_only);
    bool too_often(Shelf& shelf, const std::string& key) const;
    Shelf* shelf(const std::string& bucket);

    const Quirks quirks_;
    mutable std::mutex mutex_;
    std::map<std::string, Shelf> shelves_;
    std::vector<Key> keys_;
    int64_t next_upload_ = 1;
    std::atomic<int64_t> clock_offset_s_{0};
};

}  // namespace templar::s3test
