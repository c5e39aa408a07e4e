#include "engine/model/peak.h"

#include <doctest/doctest.h>

using namespace templar;

TEST_CASE("a GPU's peak goes by its whole name") {
    CHECK(dense_bf16_peak("NVIDIA H200") == 989.4e12);
    CHECK(dense_bf16_peak("NVIDIA H200, 139.8 GiB, bf16") == 989.4e12);
    CHECK(dense_bf16_peak("NVIDIA H100 80GB HBM3, 79.1 GiB, bf16") == 989.4e12);
    CHECK(dense_bf16_peak("NVIDIA H100 PCIe") == 756e12);
    CHECK(dense_bf16_peak("NVIDIA H200 NVL") == 835.5e12);
    CHECK_FALSE(dense_bf16_peak("NVIDIA H2000").has_value());
    CHECK_FALSE(dense_bf16_peak("cpu/avx512, 2 threads").has_value());
    CHECK_FALSE(dense_bf16_peak("").has_value());
}
