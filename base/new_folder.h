#pragma once

#include <filesystem>

namespace templar {

// A folder that appears with all that is in it, as one step, with commit(); without it, or after an error, nothing of
// it is left.
class NewFolder {
  public:
    // Throws Error(usage) when something is at `path` already other than an empty folder that can be replaced,
    // Error(storage) when no folder can be made there.
    explicit NewFolder(std::filesystem::path path);
    // The first of these alone: to be said before anything that takes long.
    static void check(const std::filesystem::path& path);
    ~NewFolder();
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;
    // Where it lies until then: beside `path`, with a name that begins with '.'.
    const std::filesystem::path& path() const { return temporary_; }
    void commit();  // throws Error(storage)

  private:
    std::filesystem::path path_, temporary_;
};

}  // namespace templar
