// The bench as a program: what it lists, what it prints as JSON. No time is asserted.
#include "base/file.h"
#include "tests/node/sample.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <sys/wait.h>

#include <cstdlib>

using namespace templar;

namespace {

struct Result {
    int code;
    std::string output;  // stdout alone
};

Result bench(const std::string& arguments) {
    const sample::TemporaryFolder folder;
    const std::filesystem::path out = folder.path() / "out";
    const std::string command = std::string(TEMPLAR_BIN_DIR) + "/bench --device cpu --threads 1 --shape small " +
                                arguments + " >" + out.string() + " 2>" + (folder.path() / "err").string();
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text_file(out, 1 << 24)};
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("bench lists every kind of case") {
    const Result list = bench("--list");
    CHECK(list.code == 0);
    for (const char* name : {"matmul/", "rmsnorm_backward/", "demo_compress/", "state_tree/", "train_step ",
                             "waterfall ", "losses ", "demo_step ", "replica_apply ", "candidate ", "payload_check "})
        CHECK_MESSAGE(contains(list.output, "\n" + std::string(name)), name);
}

TEST_CASE("bench prints figures as JSON, of an operation and of a step") {
    const Result result = bench("matmul/33x65x17-nt waterfall --preset tiny --batch 1 --seq 32 --json --seconds 0");
    REQUIRE(result.code == 0);
    const nlohmann::json report = nlohmann::json::parse(result.output);
    CHECK(report["dtype"] == "f32");
    CHECK(report["matmul_gflops"] > 0);
    CHECK(report["copy_gbytes"] > 0);
    CHECK(report["read_gbytes"] > 0);
    REQUIRE(report["cases"].size() == 2);
    const nlohmann::json &product = report["cases"][0], &step = report["cases"][1];
    CHECK(product["name"] == "matmul/33x65x17-nt");
    CHECK(product["best_ms"] > 0);
    CHECK(product["median_ms"] >= product["best_ms"]);
    CHECK(product["gflops"] > 0);
    CHECK(step["seq"] == 32);
    CHECK(step["tokens_per_second"] > 0);
    // No utilisation of a device whose peak is not known.
    CHECK_FALSE(step.contains("mfu_causal"));
    bool attention = false;
    for (const nlohmann::json& operation : step["operations"])
        attention = attention || operation["name"] == "attention_backward 1x32x8x16";
    CHECK(attention);
}

TEST_CASE("bench asks for a case, and refuses one that is not there") {
    CHECK(bench("").code == 2);
    CHECK(bench("no_such_case").code == 2);
    CHECK(bench("--isa no_such_isa matmul").code == 2);
    CHECK(bench("--dtype bf16 matmul").code == 2);
    CHECK(bench("train_step --preset no_such_preset").code == 2);
}
