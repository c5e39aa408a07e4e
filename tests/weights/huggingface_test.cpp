#include "weights/huggingface.h"

#include "kernels/bf16.h"
#include "weights/safetensors.h"
#include "tests/weights/model_files.h"

#include <cmath>
#include <limits>

#include <sys/resource.h>

#include <csignal>

using namespace templar;
using namespace templar::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// A folder with a small model's config.json and files that a test spoils.
struct ModelFolder {
    explicit ModelFolder(bool tied)
        : config{.model = small_model(tied), .seq = 64, .begin_token = 1, .end_token = 2},
          params(random_values(static_cast<size_t>(parameter_count(config.model)))),
          tensors(raw_tensors(config.model, params)) {
        write_file(path() / "config.json", as_bytes(config_to_json(config, DType::f32)));
    }
    const fs::path& path() const { return folder.path(); }
    RawTensor& tensor(std::string_view name) {
        for (RawTensor& one : tensors)
            if (one.name == name) return one;
        throw std::out_of_range(std::string(name));
    }
    void save(const char* file = "model.safetensors") const { write_file(path() / file, raw_safetensors(tensors)); }
    std::string load_refusal() const {
        return refusal([&] { load_model(path()); });
    }

    TemporaryFolder folder;
    HuggingFaceConfig config;
    std::vector<float> params;
    std::vector<RawTensor> tensors;
};

std::vector<float> rounded(std::vector<float> values) {
    for (float& value : values) value = to_float(to_bf16(value));
    return values;
}

std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

// Files of this process can have no more than `bytes`, as if the disk were full then.
class SmallDisk {
  public:
    explicit SmallDisk(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit small{bytes, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
    }
    ~SmallDisk() {
        setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, old_handler_);
    }

  private:
    rlimit old_{};
    void (*old_handler_)(int);
};

}  // namespace

TEST_CASE("hugging face: what is exported is loaded, bit for bit or rounded") {
    for (bool tied : {false, true})
        for (DType dtype : {DType::f32, DType::bf16})
            for (int64_t shard_bytes : {int64_t{1} << 40, int64_t{5000}, int64_t{1}}) {
                CAPTURE(tied);
                CAPTURE(shard_bytes);
                const ModelFolder made(tied);
                const TemporaryFolder out;
                int64_t told = 0, total = 0;
                export_huggingface(
                    out.path(), made.config, made.params,
                    {.dtype = dtype, .shard_bytes = shard_bytes, .progress = [&](int64_t done, int64_t all) {
                         CHECK(done > told);
                         told = done;
                         total = all;
                     }});
                CHECK(told == total);
                CHECK(told == std::ssize(made.params) * bytes_of(dtype));
                const SavedModel model = load_model(out.path());
                CHECK(model.config == made.config.model);
                CHECK(model.seq == 64);
                CHECK(model.begin_token == 1);
                CHECK(model.end_token == 2);
                CHECK(model.tokenizer.empty());
                CHECK(same_bits(model.params, dtype == DType::f32 ? made.params : rounded(made.params)));
                const bool sharded = fs::exists(out.path() / "model.safetensors.index.json");
                CHECK(sharded == (shard_bytes < 100'000));
                CHECK(fs::exists(out.path() / "generation_config.json"));
                if (shard_bytes == 1) CHECK(names_in(out.path()).size() == made.tensors.size() + 3);
            }
}

TEST_CASE("hugging face: a full disk and a stop leave no folder that looks whole") {
    const ModelFolder made(true);
    const TemporaryFolder out;
    try {
        const SmallDisk disk(10'000);
        export_huggingface(out.path(), made.config, made.params, {.dtype = DType::f32});
        FAIL("expected an error");
    } catch (const Error& error) {
        CHECK(error.code() == ExitCode::storage);
        CHECK(has(error.what(), "model.safetensors"));
    }
    CHECK(names_in(out.path()).empty());

    struct Stopped {};
    CHECK_THROWS_AS(export_huggingface(out.path(), made.config, made.params,
                                       {.dtype = DType::f32, .progress = [](int64_t, int64_t) { throw Stopped(); }}),
                    Stopped);
    CHECK(names_in(out.path()).empty());
    CHECK_THROWS_AS(export_huggingface(out.path(), {.model = small_model(false)}, made.params, {}),
                    std::invalid_argument);
}

TEST_CASE("hugging face: reading tells how far it is, and can be ended") {
    const ModelFolder made(false);
    const TemporaryFolder out;
    export_huggingface(out.path(), made.config, made.params, {.dtype = DType::bf16, .progress = {}});
    const int64_t bytes = 2 * std::ssize(made.params);
    int64_t told = 0;
    load_model(out.path(), [&](int64_t done, int64_t total) {
        CHECK(done > told);
        CHECK(total == bytes);
        told = done;
    });
    CHECK(told == bytes);
    struct Stopped {};
    CHECK_THROWS_AS(load_model(out.path(), [](int64_t, int64_t) { throw Stopped(); }), Stopped);
}

TEST_CASE("hugging face: half precision is read exactly") {
    Bytes halves;
    std::vector<float> expected;
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        halves.push_back(static_cast<uint8_t>(bits));
        halves.push_back(static_cast<uint8_t>(bits >> 8));
        // IEEE 754: exponent of 5 bits, offset 15; 0 for subnormal numbers, 31 for infinity and NaN.
        const int exponent = bits >> 10 & 31;
        const double fraction = bits & 1023;
        double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31)
            value = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
        expected.push_back(static_cast<float>(bits & 0x8000 ? -value : value));
    }
    std::vector<float> found(0x10000);
    // One byte off, as a file may have it.
    halves.insert(halves.begin(), 0);
    read_values({"h", "F16", {0x10000}, ByteSpan(halves).subspan(1)}, found, "a file");
    bool equal = true;
    for (size_t i = 0; i < found.size(); ++i)
        equal &= std::isnan(expected[i]) ? std::isnan(found[i]) : same_bits({&found[i], 1}, {&expected[i], 1});
    CHECK(equal);
}

TEST_CASE("hugging face: tensors of several types, in any order, named without prefix, with rotary buffers") {
    ModelFolder made(true);
    for (RawTensor& tensor : made.tensors) tensor.name = tensor.name.substr(6);  // model.
    RawTensor& norm = made.tensor("norm.weight");
    norm.dtype = "BF16";
    norm.bytes.assign(norm.bytes.size() / 2, 0x3f);  // 0x3f3f: 0.74609375
    std::reverse(made.tensors.begin(), made.tensors.end());
    made.tensors.push_back({"layers.0.self_attn.rotary_emb.inv_freq", "F32", {4}, Bytes(16)});
    made.save();
    std::fill(made.params.end() - 24, made.params.end(), 0.74609375f);
    CHECK(same_bits(load_model(made.path()).params, made.params));
}

TEST_CASE("hugging face: tied and untied heads") {
    ModelFolder tied(true);
    const RawTensor embedding = tied.tensors.front();
    tied.tensors.push_back({"lm_head.weight", embedding.dtype, embedding.shape, embedding.bytes});
    tied.save();
    CHECK(same_bits(load_model(tied.path()).params, tied.params));
    tied.tensors.back().bytes.back() ^= 1;
    tied.save();
    CHECK(has(tied.load_refusal(), "lm_head.weight differs from the embedding, but config.json says"));

    ModelFolder untied(false);
    untied.tensors.pop_back();
    untied.save();
    CHECK(has(untied.load_refusal(), "lm_head.weight is missing; without it config.json must say"));
}

TEST_CASE("hugging face: each fault of a file has its own error, which names file and tensor") {
    const std::string up = "model.layers.1.mlp.up_proj.weight";
    auto spoiled = [&](auto&& spoil) {
        ModelFolder made(false);
        spoil(made);
        made.save();
        const std::string message = made.load_refusal();
        CHECK(has(message, (made.path() / "model.safetensors").string()));
        return message;
    };
    CHECK(has(spoiled([&](ModelFolder& m) { m.tensor(up).name = "other"; }), up + " is missing"));
    CHECK(has(spoiled([&](ModelFolder& m) {
                  m.tensors.push_back({"other", "F32", {1}, Bytes(4)});
              }),
              "tensor other is of no use"));
    CHECK(has(spoiled([&](ModelFolder& m) {
                  m.tensors.push_back({"score.weight", "I64", {1}, Bytes(8)});
              }),
              "tensor score.weight is of no use"));
    CHECK(has(spoiled([&](ModelFolder& m) { std::swap(m.tensor(up).shape[0], m.tensor(up).shape[1]); }),
              up + ": expected the shape [36, 24] that config.json asks for, found [24, 36]"));
    CHECK(has(spoiled([&](ModelFolder& m) { m.tensor(up).shape = {36 * 24}; }), "found [864]"));
    CHECK(has(spoiled([&](ModelFolder& m) { m.tensor(up).dtype = "I32"; }),
              up + ": dtype: expected F32, BF16 or F16, found I32"));
    CHECK(has(spoiled([&](ModelFolder& m) { m.tensor(up).dtype = "Q4"; }),
              up + ": dtype: expected one that the format knows"));
    CHECK(has(spoiled([&](ModelFolder& m) { m.tensor(up).bytes.pop_back(); }), up + ": data_offsets"));
    CHECK(has(spoiled([&](ModelFolder& m) {
                  m.config.model.layers = 1'000'000;
                  write_file(m.path() / "config.json", as_bytes(config_to_json(m.config, DType::f32)));
              }),
              "21 tensors, too few for the 1000000 layers"));

    ModelFolder none(false);
    CHECK(has(none.load_refusal(), "expected model.safetensors or model.safetensors.index.json"));
    write_file(none.path() / "pytorch_model.bin", as_bytes("pickle"));
    CHECK(has(none.load_refusal(), "pytorch_model.bin is not read here"));
}

TEST_CASE("hugging face: a file cut anywhere is refused") {
    const ModelFolder made(true);
    const Bytes whole = raw_safetensors(made.tensors);
    for (size_t length = 0; length < whole.size(); length += 1 + length / 60) {
        CAPTURE(length);
        write_file(made.path() / "model.safetensors", ByteSpan(whole).first(length));
        CHECK(has(made.load_refusal(), "model.safetensors"));
    }
}

TEST_CASE("hugging face: the index of several files") {
    ModelFolder made(true);
    export_huggingface(made.path(), made.config, made.params, {.dtype = DType::f32, .shard_bytes = 20'000});
    const fs::path index_path = made.path() / "model.safetensors.index.json";
    const json good = json::parse(read_text_file(index_path, 1 << 20));
    const std::string first = good["weight_map"]["model.embed_tokens.weight"],
                      last = good["weight_map"]["model.norm.weight"];
    REQUIRE(first != last);
    CHECK(good["metadata"]["total_size"] == made.params.size() * 4);
    CHECK(load_model(made.path()).params == made.params);

    auto with = [&](auto&& spoil) {
        json index = good;
        spoil(index);
        write_file(index_path, as_bytes(index.dump()));
        return made.load_refusal();
    };
    for (const char* name :
         {"../model.safetensors", "/etc/passwd", "..", "", "a/b.safetensors", "model.bin", ".safetensors"})
        CHECK(has(with([&](json& index) { index["weight_map"]["model.norm.weight"] = name; }),
                  "expected the name of a .safetensors file beside it"));
    CHECK(has(with([](json& index) { index["weight_map"]["model.norm.weight"] = 1; }), "expected a file's name"));
    CHECK(has(with([](json& index) { index.erase("weight_map"); }), "expected an object with weight_map"));
    CHECK(has(with([](json& index) { index = json::array(); }), "expected an object with weight_map"));
    CHECK(has(with([&](json& index) { index["weight_map"]["model.norm.weight"] = first; }),
              "model.norm.weight should be in " + first));
    CHECK(
        has(with([](json& index) { index["weight_map"].erase("model.norm.weight"); }), "model.norm.weight is not in"));
    CHECK(has(with([&](json& index) { index["weight_map"]["other"] = first; }), "tensor other is missing, says"));
    CHECK(has(with([](json& index) { index["weight_map"]["other"] = "no.safetensors"; }), "cannot open"));
    write_file(index_path, as_bytes(good.dump()));
    fs::remove(made.path() / last);
    CHECK(has(made.load_refusal(), last));
}
