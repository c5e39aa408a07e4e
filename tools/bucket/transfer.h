// Objects to files and back, and lists of them.
#pragma once

#include "net/bucket/bucket.h"

#include <filesystem>
#include <string>
#include <vector>

namespace templar {

// Counts what arrives or leaves on several threads and shows it on stderr, with rate and time left.
class Meter {
  public:
    Meter();
    ~Meter();
    // For BucketOptions::progress.
    TransferProgress callback();
    void expect(const std::string& what, int64_t bytes);
    // One object is through, on the thread that moved it.
    void finished(int64_t bytes);
    // "3 objects, 1.20 GB in 00:04 (292 MB/s)", once all are.
    std::string summary() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// Prints size, time and key; 0: no limit.
void list_objects(Bucket& bucket, const std::string& prefix, int64_t limit);

struct GetOptions {
    std::filesystem::path folder{};  // empty: read and forget
    int parallel = 8;                // objects at a time
    bool replace = false;            // files that are there
    bool hash = true;                // print the SHA-256 of every object
};
// Each becomes the file of its key's name below the folder.
void get_objects(Bucket& bucket, std::vector<std::string> keys, const GetOptions& options, Meter& meter);

void put_object(Bucket& bucket, const std::filesystem::path& file, const std::string& key, bool replace,
                Meter& meter);
void remove_objects(Bucket& bucket, const std::vector<std::string>& keys);

}  // namespace templar
