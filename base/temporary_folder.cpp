#include "base/temporary_folder.h"

#include "base/error.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>

namespace templar {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
    std::error_code error;
    const fs::path parent = fs::temp_directory_path(error);
    if (error)
        fail(ExitCode::storage, "no folder for temporary files: {}: set TMPDIR to one that exists",
             error.message());
    std::string name = (parent / "templar-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
        fail(ExitCode::storage, "cannot create a temporary folder in {}: {}: make room or set TMPDIR",
             parent.string(), std::strerror(errno));
    path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
    try {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    } catch (...) {  // out of memory: the folder stays, as after kill −9
    }
}

}  // namespace templar
