#include "types.h"

#include <cuda_bf16.h>
#include <vector_types.h>

#include <cstring>

#define EXPORTED __attribute__((visibility("default")))
#define OF(type) NvidiaType{#type, sizeof(type), alignof(type)}

extern "C" {

EXPORTED void nvidia_to_bf16(const float* from, uint16_t* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const __nv_bfloat16 value = __float2bfloat16(from[i]);
        std::memcpy(to + i, &value, sizeof value);
    }
}

EXPORTED void nvidia_from_bf16(const uint16_t* from, float* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        __nv_bfloat16 value;
        std::memcpy(static_cast<void*>(&value), from + i, sizeof value);
        to[i] = __bfloat162float(value);
    }
}

EXPORTED const NvidiaType* nvidia_types(size_t* count) {
    static const NvidiaType types[] = {
        OF(char1), OF(char2), OF(char3), OF(char4), OF(uchar1), OF(uchar2), OF(uchar3), OF(uchar4),
        OF(short1), OF(short2), OF(short3), OF(short4), OF(ushort1), OF(ushort2), OF(ushort3), OF(ushort4),
        OF(int1), OF(int2), OF(int3), OF(int4), OF(uint1), OF(uint2), OF(uint3), OF(uint4),
        OF(longlong1), OF(longlong2), OF(longlong3), OF(ulonglong1), OF(ulonglong2), OF(ulonglong3),
        OF(float1), OF(float2), OF(float3), OF(float4), OF(double1), OF(double2), OF(double3),
        OF(dim3), OF(__nv_bfloat16), OF(__nv_bfloat162)};
    *count = sizeof types / sizeof types[0];
    return types;
}
}
