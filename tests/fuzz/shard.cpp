// Token shards: r<file>, or <version><count u16><tokens> with the header written inside.
#include "engine/data/corpus.h"
#include "tests/fuzz/memory_file.h"

using namespace templar;
using namespace templar::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    ByteWriter writer;
    const uint8_t form = input.number();
    if (form != 'r') {
        writer.put(int32_t{20240520});
        writer.put(static_cast<int32_t>(form));
        writer.put(static_cast<int32_t>(input.number<int16_t>()));
        writer.put_zeros(1024 - writer.size());
    }
    writer.put_bytes(input.rest());
    const MemoryFile file(writer.bytes());
    const auto corpus = accepted([&] {
        return std::make_unique<Corpus>(std::vector{file.path(), file.path()});
    });
    if (!corpus) return 0;
    std::vector<int32_t> tokens(static_cast<size_t>((*corpus)->tokens()));
    if (refused([&] { (*corpus)->read(0, tokens); })) return 0;  // a token of 2^31 or more
    require(tokens.size() % 2 == 0 && std::equal(tokens.begin(), tokens.begin() + std::ssize(tokens) / 2,
                                                 tokens.begin() + std::ssize(tokens) / 2),
            "two equal shards hold the same tokens");
    require(refused([&] { (*corpus)->read(1, tokens); }), "nothing is read past the end");

    const PageShape shape{.page_sequences = 2, .seq = 3};
    if (const auto pages = accepted([&] { return page_count(**corpus, shape); })) {
        std::vector<int32_t> inputs(3), labels(3);
        read_sequence(**corpus, shape, *pages - 1, 1, tokens[0], inputs, labels);
        require(inputs[1] == labels[0] || labels[0] == -100, "a label is the next token");
    }
    return 0;
}
