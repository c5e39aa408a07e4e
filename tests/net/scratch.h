// A folder of its own for one test case.
#pragma once

#include "base/random.h"

#include <filesystem>

namespace templar {

class Scratch {
  public:
    Scratch()
        : path_(std::filesystem::temp_directory_path() /
                ("templar-test-" + to_hex(random_secret()).substr(0, 16))) {
        std::filesystem::create_directory(path_);
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    std::string url() const { return "file://" + path_.string(); }

  private:
    std::filesystem::path path_;
};

}  // namespace templar
