// The other side of the kill tests: this program, started once more.
#pragma once

namespace templar {

inline constexpr const char* upload_and_die_option = "--upload-and-die";
// Uploads an object in parts and is killed by signal 9 when half of it is there.
int upload_and_die_main(const char* credentials, const char* key);

}  // namespace templar
