#include "simt_memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace simt {

namespace {

constexpr int64_t alignment = 256;

[[maybe_unused]] int64_t round_up(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

struct Allocation {
    int64_t bytes = 0;
    unsigned char* pages = nullptr;  // the mapping, whose last page is a guard
    int64_t usable = 0;              // its bytes before the guard
};

struct Registry {
    std::mutex mutex;
    std::map<const unsigned char*, Allocation> allocations;  // by address
    int users = 0;                                           // DeviceAccess objects

    void set_open(const unsigned char* address, const Allocation& allocation, bool open) {
#if defined(__SANITIZE_ADDRESS__)
        (open ? __asan_unpoison_memory_region : __asan_poison_memory_region)(address,
                                                                             static_cast<size_t>(allocation.bytes));
#else
        static_cast<void>(address);
        mprotect(allocation.pages, static_cast<size_t>(allocation.usable), open ? PROT_READ | PROT_WRITE : PROT_NONE);
#endif
    }
    void set_open(bool open) {
        for (const auto& [address, allocation] : allocations) set_open(address, allocation, open);
    }
};

Registry& registry() {
    static Registry registry;
    return registry;
}

// Whether one allocation holds the bytes.
bool holds(const Registry& r, const void* address, int64_t bytes) {
    const unsigned char* const first = static_cast<const unsigned char*>(address);
    const auto next = r.allocations.upper_bound(first);
    return next != r.allocations.begin() && first + bytes <= std::prev(next)->first + std::prev(next)->second.bytes;
}

}  // namespace

void* device_allocate(int64_t bytes, unsigned char fill) {
    Allocation made{.bytes = bytes};
    unsigned char* address = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, static_cast<size_t>(bytes)) != 0) throw std::bad_alloc();
    address = static_cast<unsigned char*>(memory);
#else
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int64_t placed = round_up(bytes > 0 ? bytes : 1, alignment);
    made.usable = round_up(placed, page);
    void* memory = mmap(nullptr, static_cast<size_t>(made.usable + page), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    made.pages = static_cast<unsigned char*>(memory);
    mprotect(made.pages + made.usable, static_cast<size_t>(page), PROT_NONE);
    address = made.pages + made.usable - placed;
#endif
    if (fill != 0 || !made.pages) std::memset(address, fill, static_cast<size_t>(bytes));  // fresh pages are zero
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    r.allocations[address] = made;
    if (r.users == 0) r.set_open(address, made, false);
    return address;
}

void device_release(void* memory) noexcept {
    if (!memory) return;
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    const auto found = r.allocations.find(static_cast<const unsigned char*>(memory));
    if (found == r.allocations.end()) std::abort();  // never handed out, or released before
#if defined(__SANITIZE_ADDRESS__)
    r.set_open(found->first, found->second, true);
    std::free(memory);
#else
    munmap(found->second.pages, static_cast<size_t>(found->second.usable + sysconf(_SC_PAGESIZE)));
#endif
    r.allocations.erase(found);
}

bool is_device_memory(const void* address, int64_t bytes) {
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    return holds(r, address, bytes);
}

bool is_out_of_reach(const void* address, int64_t bytes) {
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    return !r.allocations.empty() && !holds(r, address, bytes);
}

DeviceAccess::DeviceAccess() {
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    if (r.users++ == 0) r.set_open(true);
}

DeviceAccess::~DeviceAccess() {
    Registry& r = registry();
    const std::lock_guard lock(r.mutex);
    if (--r.users == 0) r.set_open(false);
}

}  // namespace simt
