#include "tests/kernels/kernel_test.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace templar;
using namespace templar::test;

namespace {
constexpr double theta = 10000.0;
constexpr int64_t table_positions = 12;

Doubles rotated_by(const Doubles& x, const std::vector<int32_t>& position, int64_t heads, int64_t rotated,
                   int64_t size, double sign) {
    Doubles y = x;
    for (size_t i = 0; i < position.size(); ++i)
        for (int64_t h = 0; h < rotated; ++h)
            for (int64_t j = 0; j < size / 2; ++j) {
                const size_t low = (static_cast<int64_t>(i) * heads + h) * size + j, high = low + size / 2;
                const double angle =
                    sign * position[i] *
                    std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(size));
                y[low] = x[low] * std::cos(angle) - x[high] * std::sin(angle);
                y[high] = x[high] * std::cos(angle) + x[low] * std::sin(angle);
            }
    return y;
}
}  // namespace

TEST_CASE("rope turns the first heads and leaves the others") {
    for (const auto& [isa, ops] : tables()) {
        CAPTURE(isa);
        for (const int64_t size : {2, 10, 64}) {
            CAPTURE(size);
            constexpr int64_t batch = 2, seq = 5, heads = 3, rotated = 2;
            const Values x = normal(batch * seq * heads * size, 1);
            const Values angles = on_all_threads([&](Stream& stream) {
                Values table(table_positions * size, 1e30f);
                ops->rope_table(stream, Tensor(table.data(), {table_positions, size / 2, 2}),
                                static_cast<float>(theta));
                return table;
            });
            const Tensor table(angles.data(), {table_positions, size / 2, 2});
            std::vector<int32_t> in_order, given{3, 0, 11, 7, 7, 1, 2, 3, 4, 10};
            for (int64_t i = 0; i < batch * seq; ++i) in_order.push_back(static_cast<int32_t>(i % seq));
            const Tensor none, positions(given.data(), {batch * seq});

            const auto turn = [&](auto op, const Tensor& at) {
                return on_all_threads([&](Stream& stream) {
                    Values y = x;
                    op(stream, Tensor(y.data(), {batch, seq, heads, size}), table, at, rotated);
                    return y;
                });
            };
            const Doubles in = to_double(x);
            check_close(turn(ops->rope_forward, none), rotated_by(in, in_order, heads, rotated, size, 1),
                        1e-6, 1e-6);
            check_close(turn(ops->rope_forward, positions), rotated_by(in, given, heads, rotated, size, 1),
                        1e-6, 1e-6);
            check_close(turn(ops->rope_backward, none), rotated_by(in, in_order, heads, rotated, size, -1),
                        1e-6, 1e-6);
            check_close(turn(ops->rope_backward, positions), rotated_by(in, given, heads, rotated, size, -1),
                        1e-6, 1e-6);
        }
    }
}
