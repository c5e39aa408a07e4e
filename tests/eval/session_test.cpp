// Whole evaluations of a small random model: scores, files of answers, resuming.
#include "base/temporary_folder.h"
#include "eval/session.h"
#include "kernels/cases/with_table.h"
#include "tests/cpu.h"
#include "tests/eval/toy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

using namespace templar;
using namespace templar::test;

namespace {

SavedModel toy_model(uint64_t seed = 7) {
    SavedModel model;
    model.config = {.vocab_size = 260,
                    .hidden_size = 32,
                    .intermediate_size = 48,
                    .layers = 2,
                    .heads = 2,
                    .kv_heads = 1,
                    .head_dim = 16,
                    .rms_norm_eps = 1e-5f,
                    .rope_theta = 10000.0f,
                    .tie_word_embeddings = true};
    model.seq = 64;
    model.params = genesis_weights(model.config, seed);
    for (float& value : model.params) value *= 8;  // far from uniform
    model.origin = "toy";
    return model;
}

std::string piqa_rows(int64_t count) {
    std::string rows;
    for (int64_t i = 0; i < count; ++i)
        rows += fmt::format(R"({{"goal":"{}","sol1":"do {}","sol2":"{}","label":{}}})",
                            std::string(static_cast<size_t>(i * 7 % 30), 'g'), i * i,
                            std::string(static_cast<size_t>(1 + i % 4), 'x'), i % 2) +
                "\n";
    return rows;
}

struct Sample {
    TemporaryFolder folder;
    SavedModel model = toy_model();
    ToyTokenizer tokenizer;
    SessionOptions options;

    explicit Sample(int64_t rows = 20) {
        write_file(folder.path() / "piqa_validation.jsonl", as_bytes(piqa_rows(rows)));
        options.tasks = {"piqa"};
        options.data = folder.path();
        options.batch_tokens = 200;
        options.rows = folder.path() / "rows.jsonl";
    }
    // Stops when `most` answers are there.
    std::vector<Result> run(int64_t most = 1 << 20) {
        return Session(model, tokenizer, options).run(cpu(), [&](const Workload&, const Answered& answered) {
            return answered.items < most;
        });
    }
    std::string figures() { return to_json(run().front()).dump(); }
    std::string rows() const { return read_text_file(options.rows, 1 << 24); }
    std::vector<nlohmann::json> lines() const {
        std::vector<nlohmann::json> found;
        std::istringstream text(rows());
        for (std::string line; std::getline(text, line);) found.push_back(nlohmann::json::parse(line));
        return found;
    }
    std::string refused() {
        return refusal([&] { run(); });
    }
};

// The sum of −log softmax at the scored tokens, from all logits in double.
Score reference(const SavedModel& model, const Request& request) {
    const auto inputs = std::ssize(request.tokens) - 1;
    Llama llama(cpu(), model.config, 1, inputs, Pass::inference);
    const auto vocab = static_cast<size_t>(model.config.vocab_size);
    std::vector<float> logits(static_cast<size_t>(inputs) * vocab);
    llama.logits(flat(model.params), std::span(request.tokens).first(static_cast<size_t>(inputs)), logits);
    Score score{.loglikelihood = 0, .greedy = true};
    for (auto at = static_cast<size_t>(inputs - request.scored); at < static_cast<size_t>(inputs); ++at) {
        const std::span<const float> row = std::span(logits).subspan(at * vocab, vocab);
        const auto label = static_cast<size_t>(request.tokens[at + 1]);
        double sum = 0;
        for (const float logit : row) {
            sum += std::exp(static_cast<double>(logit) - static_cast<double>(row[label]));
            score.greedy = score.greedy && logit <= row[label];
        }
        score.loglikelihood -= std::log(sum);
    }
    return score;
}

// The CPU, and how many tokens went through attention, over all layers, and how many targets through the head.
struct Counting : WithTable {
    static inline int64_t tokens, targets;
    static const Ops& table() {
        static Ops ops = cpu().ops();
        ops.attention_forward = [](Stream& stream, Tensor out, Tensor lse, Tensor qkv) {
            tokens += qkv.shape[0] * qkv.shape[1];
            cpu().ops().attention_forward(stream, out, lse, qkv);
        };
        ops.loss_eval = [](Stream& stream, Tensor losses, Tensor greedy, Tensor hidden, Tensor head, Tensor labels,
                           Tensor scratch) {
            targets += labels.numel();
            cpu().ops().loss_eval(stream, losses, greedy, hidden, head, labels, scratch);
        };
        return ops;
    }
    Counting() : WithTable(cpu(), table()) { tokens = targets = 0; }
};

// The scores of the requests, checked against reference(); `batch_tokens` for sequences of `length`.
void check_scores(const SavedModel& model, Device& device, const std::vector<Request>& requests, int64_t length,
                  int64_t batch_tokens) {
    Scorer scorer(device, model.config, model.params, length, batch_tokens);
    std::vector<int> calls(requests.size());
    std::vector<size_t> lengths;
    scorer.score(requests, [&](size_t i, const Score& score) {
        CAPTURE(i);
        const Score expected = reference(model, requests[i]);
        CHECK(score.loglikelihood == doctest::Approx(expected.loglikelihood).epsilon(1e-5));
        CHECK(score.greedy == expected.greedy);
        ++calls[i];
        lengths.push_back(requests[i].tokens.size());
        return true;
    });
    CHECK(calls == std::vector<int>(requests.size(), 1));
    CHECK(std::is_sorted(lengths.rbegin(), lengths.rend()));
}

}  // namespace

TEST_CASE("scores of batches of mixed lengths are those of each request by itself") {
    const SavedModel model = toy_model();
    const ToyTokenizer tokenizer;
    const RequestRules rules{.length = 40, .prefix = ToyTokenizer::begin, .bos = false};
    std::vector<Request> requests;
    for (const char* context : {"", "x", "hello there, this is long enough to be cut at its front", "aab"})
        for (const char* answer : {" y", " abab", " a longer one", " y"})
            requests.push_back(make_request(tokenizer, rules, context, answer));
    requests.push_back(requests[2]);  // the same tokens, of which fewer count
    requests.back().scored -= 3;
    requests.back().context += 3;
    for (const int64_t batch_tokens : {1, 90, 1000}) {
        CAPTURE(batch_tokens);
        check_scores(model, cpu(), requests, 40, batch_tokens);
    }
}

TEST_CASE("requests that differ in their last token alone are computed as one") {
    const SavedModel model = toy_model();
    const std::vector<int32_t> inputs{'a', ' ', 'b', 'c', 'a', 'b', 'x', 'y'};
    std::vector<Request> requests;
    for (const int64_t scored : {1, 8, 3})
        for (const int32_t last : {'p', 'q', 'r', 'p'}) {
            requests.push_back({.tokens = inputs, .scored = scored, .context = 9 - scored});
            requests.back().tokens.push_back(last);
        }
    requests.push_back({.tokens = {'a', ' ', 'b', 'c', 'x', 'x', 'x', 'y'}, .scored = 2, .context = 6});
    requests.push_back({.tokens = {'a', ' ', 'b', 'c', 'x'}, .scored = 2, .context = 3});
    {
        Counting device;
        check_scores(model, device, requests, 8, 80);
        CHECK(Counting::tokens == model.config.layers * (2 * 8 + 4));  // seven inputs are padded to eight, four are not
        CHECK(Counting::targets == 7 + 3 * 3 + 2 + 2);                 // p, q and r for each number of scored tokens
    }
    // Where a batch has no room for all targets of a sequence, the next one computes it again for the rest.
    const std::map<int64_t, int64_t> computed = {{8, 4 * 8 + 7 + 4}, {16, 8 + 7 + 4}};  // tokens, by those of a batch
    for (const auto& [batch_tokens, tokens] : computed) {
        Counting device;
        check_scores(model, device, requests, 8, batch_tokens);
        CHECK(Counting::tokens == model.config.layers * tokens);
    }
}

TEST_CASE("requests of more tokens than planned, or that score none or all of theirs, are refused") {
    const SavedModel model = toy_model();
    Scorer scorer(cpu(), model.config, model.params, 4, 100);
    const auto refused = [&](std::vector<int32_t> tokens, int64_t scored) {
        const std::vector<Request> requests{{.tokens = {'x', 'y'}, .scored = 1, .context = 1},
                                            {.tokens = std::move(tokens), .scored = scored, .context = 1}};
        return refusal([&] { scorer.score(requests, [](size_t, const Score&) { return true; }); });
    };
    CHECK(refused({1, 2, 3, 4, 5}, 4) == "");
    CHECK(refused({1, 2, 3, 4, 5, 6}, 1).find("6 tokens, expected 2 to 5") != std::string::npos);
    CHECK(refused({}, 0).find("0 tokens") != std::string::npos);
    CHECK(refused({1}, 1).find("1 tokens") != std::string::npos);
    CHECK(refused({1, 2, 3}, 3).find("scores 3, expected 1 to 2") != std::string::npos);
    CHECK(refused({1, 2, 3}, 0).find("scores 0") != std::string::npos);
    CHECK(refused({1, 260, 3}, 1).find("vocabular") != std::string::npos);
    CHECK(refused({1, 2, 260}, 1).find("vocabular") != std::string::npos);
}

TEST_CASE("greedy answers are found") {
    const SavedModel model = toy_model();
    Request request{.tokens = {'x', 0}, .scored = 1, .context = 1};
    int greedy = 0;
    for (int32_t token = 0; token < 260; ++token) {
        request.tokens[1] = token;
        Scorer scorer(cpu(), model.config, model.params, 1, 1);
        scorer.score({&request, 1}, [&](size_t, const Score& score) { return greedy += score.greedy, true; });
    }
    CHECK(greedy == 1);
}

TEST_CASE("a stopped evaluation goes on to the same figures and answers") {
    Sample whole;
    const std::string expected = whole.figures();
    CHECK(whole.lines().size() == 2 + 20);
    for (const int64_t stop : {1, 7, 19}) {
        Sample sample;
        CHECK_THROWS_WITH_AS(sample.run(stop), doctest::Contains("stopped in piqa after"), Error);
        CHECK(std::ssize(sample.lines()) == 2 + stop);
        CHECK(sample.figures() == expected);
        CHECK(sample.lines().size() == 2 + 20);
    }
}

TEST_CASE("progress counts the tokens that are computed, those of earlier evaluations included") {
    Sample sample;
    write_file(sample.folder.path() / "mmlu_test.jsonl",
               as_bytes(R"({"subject":"anatomy","question":"q","choices":["a","b","c","d"],"answer":1})"));
    sample.options.tasks = {"piqa", "mmlu"};
    for (const int64_t from : {0, 7}) {
        if (from > 0) write_file(sample.options.rows, {});
        if (from > 0) CHECK_THROWS_AS(sample.run(from), Error);
        const Session session(sample.model, sample.tokenizer, sample.options);
        std::map<std::string, std::vector<Answered>> told;
        Session(sample.model, sample.tokenizer, sample.options)
            .run(cpu(), [&](const Workload& work, const Answered& now) {
                told[work.name].push_back(now);
                return true;
            });
        for (const Workload& work : session.works()) {
            CAPTURE(work.name);
            const std::vector<Answered>& all = told.at(work.name);
            CHECK(all.front().items == (work.name == "piqa" ? from : 0));
            CHECK((all.front().tokens > 0) == (all.front().items > 0));
            for (size_t k = 1; k < all.size(); ++k) {
                CHECK(all[k].items == all[k - 1].items + 1);
                CHECK(all[k].tokens > all[k - 1].tokens);
            }
            CHECK(all.back().items == std::ssize(work.items));
            CHECK(all.back().tokens == everything(work).tokens);
        }
        // Four answers of one token after one context.
        const Workload& mmlu = session.works()[1];
        CHECK(everything(mmlu).tokens == std::ssize(mmlu.items[0].requests[0].inputs()));
    }
}

TEST_CASE("a file of answers cut anywhere goes on") {
    Sample whole(6);
    const std::string expected = whole.figures(), rows = whole.rows();
    Sample sample(6);
    for (size_t size = 0; size < rows.size(); size += 13) {
        CAPTURE(size);
        write_file(sample.options.rows, as_bytes(std::string_view(rows).substr(0, size)));
        CHECK(sample.figures() == expected);
        CHECK(sample.lines().size() == 2 + 6);
    }
}

TEST_CASE("nothing is computed twice: another portion of the rows uses what is there") {
    Sample sample;
    sample.options.limit = 5;
    sample.run();
    const std::string five = sample.rows();
    sample.options.limit = 8;
    sample.run();
    CHECK(sample.rows().starts_with(five));
    CHECK(sample.lines().size() == 2 + 8);
    sample.run();
    CHECK(sample.lines().size() == 2 + 8);
}

TEST_CASE("answers of another model, tokenizer rule or data are refused") {
    Sample sample;
    sample.run();
    const std::string rows = sample.rows();
    sample.model = toy_model(8);
    CHECK(sample.refused().find("another evaluation (model:") != std::string::npos);
    sample.model = toy_model();
    sample.options.bos = true;
    CHECK(sample.refused().find("bos: false there, true now") != std::string::npos);
    sample.options.bos = false;
    sample.options.length = 60;
    CHECK(sample.refused().find("length: 64 there, 60 now") != std::string::npos);
    sample.options.length = 0;
    write_file(sample.folder.path() / "piqa_validation.jsonl", as_bytes(piqa_rows(21)));
    CHECK(sample.refused().find("answers to piqa from other data") != std::string::npos);
    CHECK(sample.rows() == rows);
}

TEST_CASE("files that are none of answers are refused and left alone") {
    Sample sample;
    for (const char* text : {"a note", "a note\n", "{}\n", "[]\n", "{\"rows\":3}\n"}) {
        CAPTURE(text);
        write_file(sample.options.rows, as_bytes(text));
        CHECK(sample.refused() != "");
        CHECK(sample.rows() == text);
    }
    write_file(sample.options.rows, {});
    sample.run();
    const std::string good = sample.rows();
    const std::string deep = "{\"begin\":\"piqa\",\"x\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
    for (const char* line :
         {deep.c_str(), "3", "{}", "{\"task\":1,\"i\":0}", "{\"task\":\"piqa\"}", "{\"begin\":[]}",
          "{\"task\":\"piqa\",\"i\":1}", "{\"task\":\"piqa\",\"i\":0,\"ll\":[1],\"is_greedy\":[true],\"n_cont\":[1]}",
          "{\"task\":\"piqa\",\"i\":0,\"ll\":[\"x\",1],\"is_greedy\":[true,true],\"n_cont\":[5,2]}"}) {
        CAPTURE(line);
        write_file(sample.options.rows, as_bytes(good + line + "\n"));
        CHECK(sample.refused() != "");
    }
}

TEST_CASE("two processes do not write one file of answers") {
    Sample sample;
    const RowsFile held(sample.options.rows, {});
    CHECK_THROWS_WITH_AS(sample.run(), doctest::Contains("another process"), Error);
}

TEST_CASE("model and tokenizer must fit each other") {
    Sample sample;
    for (const int64_t rows : {258, 300}) {
        sample.model.config.vocab_size = rows;
        sample.model.params = genesis_weights(sample.model.config, 1);
        CHECK(sample.refused().find("259 tokens, but the model's vocabulary " + std::to_string(rows)) !=
              std::string::npos);
    }
}

TEST_CASE("weights that are not numbers are reported, not averaged") {
    Sample sample;
    sample.model.params.back() = std::nanf("");
    CHECK(sample.refused().find("log-likelihood is nan") != std::string::npos);
}

TEST_CASE("a row that the model cannot answer is named") {
    Sample sample;
    write_file(
        sample.folder.path() / "piqa_validation.jsonl",
        as_bytes(piqa_rows(2) + R"({"goal":"g","sol1":")" + std::string(80, 'x') + R"(","sol2":"b","label":0})"));
    const std::string message = sample.refused();
    for (const char* part :
         {"piqa_validation.jsonl line 3: the answer", "81 tokens, expected at most the 64", "--limit"})
        CHECK(message.find(part) != std::string::npos);
    sample.options.limit = 2;
    CHECK(sample.refused() == "");
}

TEST_CASE("PIQA's original files: labels apart") {
    Sample sample;
    const std::string rows = R"({"goal":"g","sol1":"a","sol2":"b"})";
    std::filesystem::create_directory(sample.folder.path() / "piqa");
    write_file(sample.folder.path() / "piqa" / "valid.jsonl", as_bytes(rows + "\n" + rows + "\n"));
    sample.options.files["piqa"] = sample.folder.path() / "piqa" / "valid.jsonl";
    CHECK(sample.refused().find("no field \"label\"") != std::string::npos);
    write_file(sample.folder.path() / "piqa" / "valid-labels.lst", as_bytes("1\n0\n"));
    CHECK(sample.run().front().figures[0].value == 0.5);
}

TEST_CASE("all tasks: those whose data is there") {
    Sample sample;
    sample.options.tasks = {"all"};
    const Session session(sample.model, sample.tokenizer, sample.options);
    CHECK(session.works().size() == 1);
    CHECK(session.skipped().size() == all_tasks().size() - 1);
    sample.options.tasks = {"hellaswag"};
    CHECK(sample.refused().find("hellaswag_val.jsonl or") != std::string::npos);
    sample.options.tasks = {};
    CHECK_THROWS_WITH_AS(sample.run(), doctest::Contains("nothing to do"), Error);
    sample.options.files = {{"pica", "x"}};
    CHECK_THROWS_WITH_AS(sample.run(), doctest::Contains("no task \"pica\""), Error);
}

TEST_CASE("MMLU: limits and means by subject, pooled by group") {
    Sample sample;
    std::string rows;
    for (int i = 0; i < 30; ++i) {
        const char* subject = i % 3 == 0 ? "anatomy" : i % 3 == 1 ? "virology" : "astronomy";
        if (i > 20 && i % 3 == 2) continue;
        rows += fmt::format(R"({{"subject":"{}","question":"q{}","choices":["a","b","c","d"],"answer":{}}})", subject,
                            i, i % 4) +
                "\n";
    }
    write_file(sample.folder.path() / "mmlu_test.jsonl", as_bytes(rows));
    sample.options.tasks = {"mmlu"};
    sample.options.limit = 8;
    const Result result = sample.run().front();
    CHECK(result.rows == 8 + 8 + 7);
    REQUIRE(result.subjects.size() == 3);
    REQUIRE(result.groups.size() == 2);
    CHECK(result.groups[0].name == "other");
    CHECK(result.groups[0].rows == 8);
    CHECK(result.groups[1].name == "stem");
    CHECK(result.groups[1].rows == 15);
    double hits = 0;
    for (const Result& subject : result.subjects) hits += subject.figures[0].value * static_cast<double>(subject.rows);
    CHECK(result.figures[0].value == doctest::Approx(hits / 23));
    CHECK(table({&result, 1}).find("    virology") != std::string::npos);
}

TEST_CASE("LAMBADA: perplexity and greedy accuracy") {
    Sample sample;
    write_file(sample.folder.path() / "lambada_openai_test.jsonl",
               as_bytes("{\"text\":\"x y\"}\n{\"text\":\"x xyz\"}\n"));
    sample.options.tasks = {"lambada_openai"};
    const Result result = sample.run().front();
    double sum = 0;
    for (const nlohmann::json& line : sample.lines())
        if (line.contains("ll")) sum += line["ll"][0].get<double>();
    CHECK(result.figures[0].name == "perplexity");
    CHECK(result.figures[0].value == doctest::Approx(std::exp(-sum / 2)));
    CHECK(result.figures[1].name == "acc");
}

TEST_CASE("perplexity of texts: by word, byte and token, documents apart") {
    Sample sample;
    sample.options.tasks = {};
    const std::filesystem::path text = sample.folder.path() / "a.txt", jsonl = sample.folder.path() / "a.jsonl";
    const std::string first = "one two " + std::string(100, 'x'), second = "three";
    write_file(text, as_bytes(first + "\n<|endoftext|>\n" + second));
    sample.options.texts = {text};
    const Session session(sample.model, sample.tokenizer, sample.options);
    const Workload& work = session.works().front();
    CHECK(work.documents == 2);
    const Result result = sample.run().front();
    double loss = 0;
    int64_t tokens = 0;
    for (const Item& item : work.items) {
        loss -= reference(sample.model, item.requests[0]).loglikelihood;
        tokens += item.requests[0].scored;
    }
    CHECK(tokens == work.bytes);  // a token for each byte here
    CHECK(result.figures[0].value == doctest::Approx(std::exp(loss / static_cast<double>(work.words))));
    CHECK(result.figures[1].value == doctest::Approx(std::exp(loss / static_cast<double>(work.bytes))));
    CHECK(result.figures[2].value == doctest::Approx(loss / static_cast<double>(work.bytes) / std::log(2.0)));
    CHECK(result.figures[3].value == doctest::Approx(std::exp(loss / static_cast<double>(tokens))));

    sample.options.overlap = 32;
    CHECK(sample.refused().find("overlap: 1 there, 32 now") != std::string::npos);
    sample.options.rows.clear();
    sample.options.overlap = 1;
    nlohmann::json rows[2] = {{{"text", first + "\n"}}, {{"text", second}}};
    write_file(jsonl, as_bytes(rows[0].dump() + "\n" + rows[1].dump() + "\n"));
    sample.options.texts = {jsonl};
    CHECK(sample.run().front().figures[1].value == doctest::Approx(result.figures[1].value).epsilon(0.01));
    write_file(text, as_bytes("\xff"));
    sample.options.texts = {text};
    CHECK(sample.refused().find("a.txt") != std::string::npos);
}

TEST_CASE("the report has what is needed to repeat the figures") {
    Sample sample;
    Session session(sample.model, sample.tokenizer, sample.options);
    const std::vector<Result> results = session.run(cpu(), [](const Workload&, const Answered&) { return true; });
    const nlohmann::json report = session.report(results, "program");
    CHECK(report["results"]["piqa"]["rows"] == 20);
    CHECK(report["results"]["piqa"]["sha256"] == to_hex(sha256(as_bytes(piqa_rows(20)))));
    CHECK(report["results"]["piqa"]["acc"].get<double>() >= 0);
    CHECK(report["results"]["piqa"].contains("acc_norm_stderr"));
    CHECK(report["options"]["length"] == 64);
    CHECK(report["options"]["prefix"] == ToyTokenizer::begin);
    CHECK(report["model"]["sha256"].get<std::string>().size() == 64);
}

TEST_CASE("an empty context begins with the tokenizer's own token, as in the harness, before the model's") {
    struct EndOnly : ToyTokenizer {
        int32_t begin_token() const override { return -1; }
    };
    Sample sample;
    sample.model.begin_token = 'x';
    const auto prefix_with = [&](const Tokenizer& tokenizer) {
        return Session(sample.model, tokenizer, sample.options).report({}, "program")["options"]["prefix"];
    };
    CHECK(prefix_with(EndOnly()) == ToyTokenizer::end);
    CHECK(prefix_with(ToyTokenizer(false)) == 'x');
}
