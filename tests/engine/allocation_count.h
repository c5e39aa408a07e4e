// How often this test program has allocated: allocation_count.cpp replaces operator new to count.
#pragma once

#include <cstdint>

int64_t allocation_count();
