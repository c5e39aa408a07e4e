// The emulator's types beside NVIDIA's, where those are installed, and beside their definition.
#include "simt.h"

#include "kernels/bf16.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#ifdef TEMPLAR_HAVE_CUDA_HEADERS
#include "tests/simt/nvidia/types.h"
#endif

namespace {

// All upper halves, each with lower halves at and around the ties.
std::vector<float> values_around_ties() {
    std::vector<float> values;
    for (uint32_t upper = 0; upper < 0x10000; ++upper)
        for (uint32_t lower : {0u, 1u, 0x1234u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
            values.push_back(std::bit_cast<float>(upper << 16 | lower));
    return values;
}

}  // namespace

TEST_CASE("bf16 is what the host's kernels/bf16.h says") {
    int64_t different = 0;
    for (float value : values_around_ties()) different += __nv_bfloat16(value).bits != templar::to_bf16(value).bits;
    CHECK(different == 0);
}

TEST_CASE("bf16 rounds to the nearest, ties to even") {
    CHECK(__float2bfloat16(1.0f).bits == 0x3f80);
    CHECK(__float2bfloat16(1.0f + 0x1p-8f).bits == 0x3f80);
    CHECK(__float2bfloat16(1.0f + 0x1p-8f + 0x1p-20f).bits == 0x3f81);
    CHECK(__float2bfloat16_rn(1.0f + 3 * 0x1p-8f).bits == 0x3f82);
    CHECK(__float2bfloat16(3.4e38f).bits == 0x7f80);
    CHECK(__float2bfloat16(-NAN).bits == 0x7fff);
    CHECK(__bfloat162float(__ushort_as_bfloat16(0x0001)) == 0x1p-133f);
    CHECK(__bfloat16_as_ushort(__float2bfloat16(-2.0f)) == 0xc000);
}

TEST_CASE("pairs of bf16") {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(1, 2);
    CHECK(std::bit_cast<uint32_t>(pair) == 0x40003f80u);  // the first in the lower half
    CHECK(__low2float(pair) == 1);
    CHECK(__high2float(pair) == 2);
    CHECK(__bfloat1622float2(pair).y == 2);
    CHECK(__float22bfloat162_rn(make_float2(3, 4)).x == 3.0f);
    CHECK(__halves2bfloat162(__high2bfloat16(pair), __low2bfloat16(pair)).y == 1.0f);
    CHECK(make_bfloat162(pair.y, pair.y).x == 2.0f);
    CHECK(__bfloat162bfloat162(pair.x).y == 1.0f);
}

TEST_CASE("vector types are made of what they are given") {
    const int4 i = make_int4(1, 2, 3, 4);
    CHECK((i.x == 1 && i.y == 2 && i.z == 3 && i.w == 4));
    const dim3 d = make_uint3(5, 6, 7);
    CHECK((d.x == 5 && d.y == 6 && d.z == 7));
    CHECK(dim3(3).y == 1);
}

#ifdef TEMPLAR_HAVE_CUDA_HEADERS

TEST_CASE("bf16 is NVIDIA's, bit for bit") {
    const std::vector<float> values = values_around_ties();
    std::vector<uint16_t> theirs(values.size());
    nvidia_to_bf16(values.data(), theirs.data(), std::ssize(values));
    int64_t different = 0;
    for (size_t i = 0; i < values.size(); ++i) different += __float2bfloat16(values[i]).bits != theirs[i];
    CHECK(different == 0);

    std::vector<uint16_t> bits(0x10000);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    std::vector<float> widened(bits.size());
    nvidia_from_bf16(bits.data(), widened.data(), std::ssize(bits));
    for (size_t i = 0; i < bits.size(); ++i)
        different += std::bit_cast<uint32_t>(widened[i]) !=
                     std::bit_cast<uint32_t>(__bfloat162float(__ushort_as_bfloat16(bits[i])));
    CHECK(different == 0);
}

TEST_CASE("types have NVIDIA's sizes and alignments") {
#define OF(type) {#type, {sizeof(type), alignof(type)}}
    const std::map<std::string, std::pair<size_t, size_t>> ours = {
        OF(char1), OF(char2), OF(char3), OF(char4), OF(uchar1), OF(uchar2), OF(uchar3), OF(uchar4),
        OF(short1), OF(short2), OF(short3), OF(short4), OF(ushort1), OF(ushort2), OF(ushort3), OF(ushort4),
        OF(int1), OF(int2), OF(int3), OF(int4), OF(uint1), OF(uint2), OF(uint3), OF(uint4),
        OF(longlong1), OF(longlong2), OF(longlong3), OF(ulonglong1), OF(ulonglong2), OF(ulonglong3),
        OF(float1), OF(float2), OF(float3), OF(float4), OF(double1), OF(double2), OF(double3),
        OF(dim3), OF(__nv_bfloat16), OF(__nv_bfloat162)};
#undef OF
    size_t count = 0;
    const NvidiaType* const types = nvidia_types(&count);
    CHECK(count == ours.size());
    for (size_t i = 0; i < count; ++i) {
        CAPTURE(types[i].name);
        REQUIRE(ours.contains(types[i].name));
        CHECK(ours.at(types[i].name).first == types[i].size);
        CHECK(ours.at(types[i].name).second == types[i].alignment);
    }
}

#endif
