// A folder of its own for one test case.
#pragma once

#include "base/temporary_folder.h"

namespace templar {

class Scratch : public TemporaryFolder {
  public:
    std::filesystem::path operator/(const std::string& name) const { return path() / name; }
    std::string url() const { return "file://" + path().string(); }
};

}  // namespace templar
