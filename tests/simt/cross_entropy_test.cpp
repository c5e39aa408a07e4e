// What the cases of cross-entropy cannot say: a NaN is not near to anything.
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace templar;

TEST_CASE("a NaN among the logits reaches the loss, wherever it is") {
    constexpr int64_t V = 515;
    const std::unique_ptr<Device> device = test::test_device(DType::f32);
    const int32_t label = 7;
    DeviceMemory labels(*device, sizeof(label));
    device->upload(device->stream(), labels.data(), &label, sizeof(label));
    for (size_t first : {0, 5, 300, 514})
        for (size_t count : {1, 8}) {
            CAPTURE(first);
            std::vector<float> values(V, 1.0f);
            for (size_t v = first; v < first + count && v < values.size(); ++v) values[v] = std::nanf("");
            const DeviceArray logits(*device, values), loss(*device, DType::f32, 1);
            device->ops().cross_entropy_forward(device->stream(), loss.tensor(),
                                                Tensor(logits.tensor().f32(), {1, V}),
                                                Tensor(static_cast<int32_t*>(labels.data()), {1}));
            CHECK(std::isnan(loss.download()[0]));
        }
}
