// What NVIDIA's headers say of the types that simt_types.h declares again. Both use the same names, so theirs live in a
// library of their own (types.cpp), which is built where the headers are.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

void nvidia_to_bf16(const float* from, uint16_t* to, int64_t count);
void nvidia_from_bf16(const uint16_t* from, float* to, int64_t count);

struct NvidiaType {
    const char* name;
    size_t size, alignment;
};
const NvidiaType* nvidia_types(size_t* count);
}
