#pragma once

#include "base/file.h"

namespace templar {

// Keeps the folder (which must exist) for this process until the descriptor closes, however the process ends: two
// programs in one folder would spoil each other's checkpoint, and two miners commit twice in one name. Throws
// Error(usage) when another has it, Error(storage) when no lock can be made there.
Descriptor lock_folder(const std::filesystem::path& folder);

}  // namespace templar
