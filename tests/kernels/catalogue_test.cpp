#include "kernels/cases/operations.h"
#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>

using namespace templar;

namespace {

struct Slot {
    const char* name;
    size_t offset;
};

#define SLOT(name) Slot{#name, offsetof(Ops, name)},
constexpr Slot slots[] = {SLOT(name) TEMPLAR_OPERATIONS(SLOT)};
#undef SLOT

}  // namespace

TEST_CASE("the list of slots covers the catalogue") {
    static_assert(sizeof(Ops) == std::size(slots) * sizeof(void*),
                  "ops.h has an operation that this list has not");
    for (size_t i = 0; i < std::size(slots); ++i) CHECK(slots[i].offset == i * sizeof(void*));
}

TEST_CASE("no table has an empty slot") {
    for (const auto& [isa, ops] : test::tables()) {
        CHECK(std::string(ops->name).ends_with(isa));
        for (const Slot& slot : slots) {
            void* pointer = nullptr;
            std::memcpy(&pointer, reinterpret_cast<const char*>(ops) + slot.offset, sizeof pointer);
            const std::string where = std::string(ops->name) + ": " + slot.name;
            CAPTURE(where);
            CHECK(pointer != nullptr);
        }
    }
}
