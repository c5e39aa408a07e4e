#include "engine/replica/state_root.h"

#include "base/error.h"
#include "base/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

using namespace templar;

namespace {

// Tensors of 5 and 1 leaves, one of them exactly full, and a 1-D tensor.
Layout small_layout() {
    return make_layout(
        {{"a", {256, 257}, 0, 65792}, {"b", {128, 128}, 65792, 16384}, {"c", {100}, 82176, 100}}, {});
}

std::vector<float> small_theta() {
    std::vector<float> theta(82276);
    for (size_t i = 0; i < theta.size(); ++i) theta[i] = static_cast<float>(i) * 0.25f - 1000.0f;
    return theta;
}

Bytes bytes_of(const std::vector<float>& theta, int64_t first, int64_t count) {
    ByteWriter writer;
    for (int64_t i = first; i < first + count; ++i) writer.put(std::bit_cast<uint32_t>(theta[i]));
    return writer.take();
}

}  // namespace

TEST_CASE("the state root is the tree of docs/protocol.md §6") {
    const Layout layout = small_layout();
    const std::vector<float> theta = small_theta();
    Sha256 root;
    root.update_le(uint8_t{2}).update(layout.hash);
    std::vector<Digest> tensors;
    const int64_t offsets[] = {0, 65792, 82176, 82276};
    for (uint32_t t = 0; t < 3; ++t) {
        ByteWriter tensor;
        tensor.put(uint8_t{1});
        uint32_t index = 0;
        for (int64_t first = offsets[t]; first < offsets[t + 1]; first += 16384, ++index) {
            ByteWriter leaf;
            leaf.put(uint8_t{0});
            leaf.put(t);
            leaf.put(index);
            leaf.put_bytes(bytes_of(theta, first, std::min<int64_t>(16384, offsets[t + 1] - first)));
            tensor.put_bytes(sha256(leaf.bytes()));
        }
        CHECK(index == (t == 0 ? 5 : 1));
        tensors.push_back(sha256(tensor.bytes()));
        root.update(tensors.back());
    }
    const StateTree tree = state_tree(layout, theta, 1);
    CHECK(tree.tensors == tensors);
    CHECK(tree.root == root.finish());
    for (int threads : {2, 3, 7}) {
        const StateTree other = state_tree(layout, theta, threads);
        CHECK(other.root == tree.root);
        CHECK(other.tensors == tree.tensors);
    }
}

TEST_CASE("any changed bit changes its tensor and the root, and nothing else") {
    const Layout layout = small_layout();
    const std::vector<float> theta = small_theta();
    const StateTree before = state_tree(layout, theta, 2);
    const std::pair<int64_t, size_t> places[] = {{0, 0},     {65791, 0}, {65792, 1},
                                                 {82175, 1}, {82176, 2}, {82275, 2}};
    for (auto [element, tensor] : places) {
        std::vector<float> changed = theta;
        changed[element] = std::bit_cast<float>(std::bit_cast<uint32_t>(changed[element]) ^ 1);
        const StateTree after = state_tree(layout, changed, 2);
        CHECK(after.root != before.root);
        for (size_t t = 0; t < 3; ++t) CHECK((after.tensors[t] != before.tensors[t]) == (t == tensor));
    }
    // Zeros of both signs and values that compare unequal to themselves are bytes like any other.
    std::vector<float> odd = theta;
    odd[4000] = -0.0f;
    CHECK(theta[4000] == 0.0f);
    CHECK(state_tree(layout, odd, 2).root != before.root);
    odd[4000] = std::numeric_limits<float>::quiet_NaN();
    CHECK(state_tree(layout, odd, 2).root == state_tree(layout, odd, 1).root);
    // The same weights under another layout are another state.
    Codec codec;
    codec.k = 16;
    const Layout other = make_layout(
        {{"a", {256, 257}, 0, 65792}, {"b", {128, 128}, 65792, 16384}, {"c", {100}, 82176, 100}}, codec);
    CHECK(state_tree(other, theta, 1).root != before.root);
    CHECK(state_tree(other, theta, 1).tensors == before.tensors);
}

TEST_CASE("weights of another length are refused") {
    const Layout layout = small_layout();
    std::vector<float> theta = small_theta();
    theta.pop_back();
    CHECK_THROWS_AS(state_tree(layout, theta, 1), Error);
    CHECK_THROWS_AS(possession_proof(layout, theta, {}, {}, 1), Error);
}

TEST_CASE("the possession proof is the raw bytes of 32 chosen leaves") {
    const Layout layout = small_layout();
    const std::vector<float> theta = small_theta();
    const Digest root = state_tree(layout, theta, 1).root, hotkey = sha256(as_bytes("hotkey"));
    const int64_t first[] = {0, 16384, 32768, 49152, 65536, 65792, 82176, 82276};
    const int64_t count[] = {16384, 16384, 16384, 16384, 256, 16384, 100};

    ByteWriter seed;
    seed.put_bytes(root);
    seed.put_bytes(hotkey);
    CounterRng rng(sha256(seed.bytes()));
    ByteWriter proof;
    proof.put_bytes(as_bytes("pop"));
    proof.put_bytes(hotkey);
    proof.put(uint64_t{9});
    std::set<uint64_t> chosen;
    for (int i = 0; i < 32; ++i) {
        const uint64_t leaf = rng.below(7);
        chosen.insert(leaf);
        proof.put_bytes(bytes_of(theta, first[leaf], count[leaf]));
    }
    const Digest expected = sha256(proof.bytes());
    CHECK(possession_proof(layout, theta, root, hotkey, 9) == expected);
    CHECK(possession_proof(layout, theta, root, hotkey, 10) != expected);
    CHECK(possession_proof(layout, theta, root, sha256(as_bytes("other")), 9) != expected);
    CHECK(possession_proof(layout, theta, hotkey, hotkey, 9) != expected);
    for (uint64_t leaf : chosen) {
        std::vector<float> wrong = theta;
        wrong[first[leaf]] += 1.0f;
        CHECK(possession_proof(layout, wrong, root, hotkey, 9) != expected);
    }
}
