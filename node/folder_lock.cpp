#include "node/folder_lock.h"

#include "base/error.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

namespace templar {

Descriptor lock_folder(const std::filesystem::path& folder) {
    Descriptor lock(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock) fail(ExitCode::storage, "cannot open {}: {}", (folder / "lock").string(), std::strerror(errno));
    if (!try_lock(lock))
        fail(ExitCode::usage, "another program uses the folder {}: stop it, or give this one a folder of its own",
             folder.string());
    return lock;
}

}  // namespace templar
