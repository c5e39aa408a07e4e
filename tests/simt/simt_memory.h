// The emulated GPU's memory. It is ordinary memory under guard:
//   - Host code that touches it is stopped, as it would be on a machine with a GPU: it can be read and written only
//     while a DeviceAccess exists (launch() and the copies make one). A stray access ends the program with SIGSEGV or,
//     under the address sanitizer, with "use-after-poison" and a stack trace.
//   - Each allocation has its own place, with nothing behind it: the address sanitizer reports the first byte beyond,
//     other builds SIGSEGV within 256.
#pragma once

#include <cstdint>

namespace simt {

// Aligned to 256 bytes, every byte being `fill`. Throws std::bad_alloc.
void* device_allocate(int64_t bytes, unsigned char fill);
void device_release(void* memory) noexcept;  // null: nothing

// Whether the bytes lie in one allocation.
bool is_device_memory(const void* address, int64_t bytes);
// Whether a GPU could not use them, because they do not. Always false in a program that has allocated nothing.
bool is_out_of_reach(const void* address, int64_t bytes);

// While one exists, in whatever thread, device memory can be used.
class DeviceAccess {
  public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
    DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace simt
