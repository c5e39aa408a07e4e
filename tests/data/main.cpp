// Tests on real tokenizers, models and benchmarks, which are too large or not ours to keep here: $TEMPLAR_DATA is the
// folder that has them.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    constexpr int skipped = 77;  // SKIP_RETURN_CODE
    if (!std::getenv("TEMPLAR_DATA")) {
        std::puts("skipped: TEMPLAR_DATA is unset");
        return skipped;
    }
    return doctest::Context(argc, argv).run();
}
