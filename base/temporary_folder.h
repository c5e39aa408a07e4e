#pragma once

#include <filesystem>

namespace templar {

// A folder of its own for its owner alone (0700), removed with its contents at the end.
class TemporaryFolder {
  public:
    TemporaryFolder();  // throws Error(storage)
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

}  // namespace templar
