// A device whose operations are called through another table.
#pragma once

#include "kernels/device.h"

namespace templar {

// `inner` with another table. Tests use it to count calls and to plant faults, the bench to time each call.
class WithTable : public Device {
  public:
    WithTable(Device& inner, const Ops& ops) : Device(ops, inner.compute_type(), inner.stream()), inner_(inner) {}

    std::string description() const override { return inner_.description(); }
    void* allocate(int64_t bytes) override { return inner_.allocate(bytes); }
    void release(void* memory) noexcept override { inner_.release(memory); }
    int64_t free_bytes() const override { return inner_.free_bytes(); }
    bool shares_host_memory() const override { return inner_.shares_host_memory(); }
    void* allocate_pinned(int64_t bytes) override { return inner_.allocate_pinned(bytes); }
    void release_pinned(void* memory) noexcept override { inner_.release_pinned(memory); }
    void upload(Stream& s, void* to, const void* from, int64_t bytes) override { inner_.upload(s, to, from, bytes); }
    void download(Stream& s, void* to, const void* from, int64_t bytes) override {
        inner_.download(s, to, from, bytes);
    }
    void copy(Stream& s, void* to, const void* from, int64_t bytes) override { inner_.copy(s, to, from, bytes); }
    void fill_zero(Stream& s, void* memory, int64_t bytes) override { inner_.fill_zero(s, memory, bytes); }
    void wait(Stream& s) override { inner_.wait(s); }
    std::unique_ptr<Event> make_event() override { return inner_.make_event(); }

  private:
    Device& inner_;
};

}  // namespace templar
