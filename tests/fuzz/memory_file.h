// A file that needs no disk, for code that opens one by its path.
#pragma once

#include "base/file.h"
#include "tests/fuzz/target.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace templar::fuzz {

class MemoryFile {
  public:
    explicit MemoryFile(ByteSpan bytes) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
        require(file_ && ::fchmod(file_.get(), 0600) == 0 &&
                    ::write(file_.get(), bytes.data(), bytes.size()) == std::ssize(bytes),
                "memory can be had for a file");
    }
    std::filesystem::path path() const { return fmt::format("/proc/self/fd/{}", file_.get()); }

  private:
    Descriptor file_;
};

}  // namespace templar::fuzz
