// Writes real objects into the targets' corpora, for a fuzzer to begin from.
// usage: fuzz_seeds CORPUS_FOLDER
#include "base/file.h"
#include "net/swarm/objects.h"
#include "net/swarm/run.h"
#include "net/wire/payload.h"
#include "tests/fuzz/target.h"
#include "tokenizer/bpe.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/shards.h"
#include "weights/safetensors.h"

#include <bit>

using namespace templar;
using namespace templar::fuzz;

namespace {

namespace fs = std::filesystem;

class Corpora {
  public:
    explicit Corpora(fs::path root) : root_(std::move(root)) {}
    void add(const char* target, const char* name, std::string_view text) const {
        fs::create_directories(root_ / target);
        write_file(root_ / target / fmt::format("seed-{}", name), as_bytes(text));
    }

  private:
    fs::path root_;
};

Hotkey hotkey(int i) {
    return participant(i).hotkey();
}

std::string record() {
    Record record{.run_id = run_id, .window = window};
    record.eta_bits = std::bit_cast<uint32_t>(4e-4f);
    record.keep_bits = std::bit_cast<uint32_t>(0.9999f);
    record.step = 11;
    record.accepted = {{0, hotkey(0), run_id}, {3, hotkey(3), run_id}};
    record.rejected = {{1, hotkey(1), "malformed", "layout: expected a, found b"},
                       {2, hotkey(2), "late", ""}};
    record.gather = {hotkey(3), hotkey(0)};
    record.reserve = {hotkey(5)};
    return record_to_json(record);
}

std::string scores() {
    Scores scores{.run_id = run_id, .window = window};
    scores.random_sequences = {{5, 1}, {7, 0}};
    scores.train_loss = 3.25;
    scores.peers.resize(2);
    ScoreEntry& peer = scores.peers[1];
    peer.uid = 4;
    peer.hotkey = hotkey(4);
    peer.tokens = 123456;
    peer.evaluated = true;
    peer.evaluation = {1.0 / 3, 2.5, 5e-324, 10.125, -0.0};
    peer.binary_average = -0.05;
    peer.final_score = -1.25;
    peer.penalty = {Reason::overlap, "index overlap 0.41", 0.5, 0.5};
    peer.own_sequences = {{1, 2}};
    return scores_to_json(scores);
}

std::string run() {
    RunDescription run;
    run.name = "seed";
    run.model = {.vocab_size = 300,
                 .hidden_size = 32,
                 .intermediate_size = 64,
                 .layers = 2,
                 .heads = 2,
                 .kv_heads = 1,
                 .head_dim = 16,
                 .rms_norm_eps = 1e-6f,
                 .rope_theta = 10000.0f,
                 .tie_word_embeddings = true};
    run.t0_ms = 1'000'000'010'000;
    run.validators = {{hotkey(0), 1.0}, {hotkey(1), 2.5}};
    run.schedule = {.peak = 3e-3, .floor_share = 0.2, .warmup_steps = 2, .cosine_steps = 30};
    return run_to_json(run);
}

std::string text_of(const Bytes& bytes) {
    return std::string(as_text(bytes));
}

void wire(const Corpora& corpora) {
    const std::string commit =
        commit_to_json({run_id, window, sha256(as_bytes("object")), 23'700'000, 1'000'000});
    corpora.add("objects", "commit", "c" + commit);
    corpora.add("objects", "record", "r" + record());
    corpora.add("objects", "scores", "s" + scores());
    corpora.add("envelope", "commit", "r" + text_of(seal(participant(0), "commit", commit)));
    corpora.add("envelope", "record", "r" + text_of(seal(participant(1), "record", record())));
    corpora.add("envelope", "sealed", "sa" + commit);
    corpora.add("envelope", "flipped", "xbab" + commit);
    corpora.add("run", "run", run());
    Manifest manifest{.tokenizer = run_id, .vocab_size = 300, .end_token = 299};
    manifest.shards = {{"train_000000.bin", 1000, run_id, "train"},
                       {"heldout_000000.bin", 20, run_id, "heldout"}};
    corpora.add("manifest", "manifest", manifest_to_json(manifest));
    corpora.add("key", "payload", payload_key(window, hotkey(0)));
    corpora.add("key", "data", "data/train_000000.bin");

    Bytes payload(40);
    PayloadHeader header{
        .run_id = run_id, .window = static_cast<uint64_t>(window), .layout = sha256(as_bytes("layout"))};
    corpora.add("payload_object", "object", "r" + text_of(encode_payload(participant(0), header, payload)));
    corpora.add("payload_object", "small", std::string_view("\0\0\x20\0\0\0", 6));
    corpora.add("payload_object", "large", std::string_view("\7\0\x70\0\1\1", 6));
    corpora.add("payload_object", "empty", std::string_view("\3\0\0\x80\0\1", 6));
}

void arrivals(const Corpora& corpora) {
    const auto part = [](uint16_t begin, uint16_t length, uint8_t source) {
        return std::string{static_cast<char>(begin), static_cast<char>(begin >> 8), static_cast<char>(length),
                           static_cast<char>(length >> 8), static_cast<char>(source)};
    };
    const std::string small("\3\0\1\0", 4), large("\4\3\0\1\0\x20\7", 7), mended("\14\3\0\1\0\x20\7", 7);
    corpora.add("arrival", "in-order", small + part(0, 200, 1) + part(201, 300, 1));
    corpora.add("arrival", "backwards",
                large + part(40000, 60000, 0) + part(10000, 29999, 0) + part(0, 9999, 0));
    corpora.add("arrival", "front-first", large + part(0, 20, 0) + part(100, 30000, 2) + part(100, 30000, 3));
    corpora.add("arrival", "mended", mended + part(0, 1000, 0) + part(500, 65000, 2) + part(0, 10, 1));
}

void ledger(const Corpora& corpora) {
    const std::string join =
        R"(join {"bucket":"s3://b?endpoint=https://a.b","read_key":{"access_key_id":"k",)"
        R"("secret_access_key":"s","session_token":""},"role":"miner"})";
    const std::string validator = R"(join {"bucket":"file:///b","read_key":{"access_key_id":"",)"
                                  R"("secret_access_key":"","session_token":""},"role":"validator"})";
    const std::string weights = R"(weights {"window":1,"weights":{"@C":0.25,"@D":0.75}})";
    corpora.add("ledger", "join",
                fmt::format("as\1"
                            "0{}\nbs\1"
                            "0{}\ncs\1"
                            "0{}\nds\1"
                            "0{}\n",
                            validator, validator, join, join));
    corpora.add("ledger", "weights",
                fmt::format("bs\1"
                            "0{}\ncs\1"
                            "0{}\nds\1"
                            "0{}\nbs\1"
                            "0{}\nas\1"
                            "0{}\n",
                            validator, join, join, weights, weights));
    corpora.add("ledger", "replaced",
                fmt::format("cs\1"
                            "0{0}\nds\1"
                            "0{0}\nes\1"
                            "0{0}\nfs\1"
                            "0{0}\ngs@0{0}\nhsz0{0}\nds\1"
                            "0leave {{}}\n"
                            "isz0{0}\n",
                            join));
    corpora.add("ledger", "forms",
                fmt::format("cq\1"
                            "0{0}\ncp\1"
                            "0{0}\ncx\1"
                            "0{0}\ncl\1"
                            "0{0}\ncr\1"
                            "0nonsense\n"
                            "cb\1"
                            "0{{\"sequence\":@s,\"previous\":\"@p\",\"time_ms\":1000000001000,\"kind\":"
                            "\"leave\",\"payload\":\"{{}}\"}}\n"
                            "cs\1"
                            "0dispute {{\"window\":3,\"root\":\"@A\",\"reason\":\"other\"}}\ncs\1"
                            "z{0}\n",
                            join));
}

void files(const Corpora& corpora) {
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    const std::vector<NamedTensor> tensors = {{"a", {2, 2}, std::span(values).first(4)},
                                              {"b.weight", {2}, std::span(values).last(2)}};
    const std::string file = text_of(write_safetensors(tensors, {{"format", "pt"}}));
    corpora.add("safetensors", "file", "r" + file);
    corpora.add("safetensors", "header",
                "h" +
                    file.substr(8, file.find('}', file.size() - 32) == file.npos ? file.rfind('}') - 7 : 0) +
                    "\n" + file.substr(file.size() - 24));
    corpora.add("shard", "uint16",
                std::string_view("\1\x14\0"
                                 "abcdefghijklmnopqrstuvwxyzabcdefghijklmn",
                                 43));
    corpora.add("shard", "uint32",
                std::string_view("\7\2\0"
                                 "abc\0def\0",
                                 11));
    for (int bits = 0; bits < 4; ++bits)
        for (int form : {0, 4, 12}) {
            std::string input(1, static_cast<char>(bits | form));
            for (const float factor : {3e-3f, 0.999f}) {
                const auto value = std::bit_cast<uint32_t>(factor);
                for (int i = 0; i < 4; ++i) input += static_cast<char>(value >> 8 * i);
            }
            for (int i = 0; i < 400; ++i) input += static_cast<char>(form == 0 ? 0 : i * 37 + bits);
            corpora.add("gradient", fmt::format("{}-{}", 8 >> bits, form).c_str(), input);
        }
}

void tokenizers(const Corpora& corpora) {
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += fmt::format("the miner signs {} of the window and the record, ", i % 17);
    const ByteLevelBpe tokenizer = train_bpe({text}, 300);
    corpora.add("tokenizer", "trained",
                tokenizer.to_json() + std::string(1, '\0') + "the record of the miner\n");
    corpora.add("json", "tokenizer", tokenizer.to_json().substr(0, 300));
    const std::string digest = to_hex(run_id);
    corpora.add(
        "json", "fields",
        fmt::format(
            R"({{"integer":-5,"number":0.1,"small":1e-3,"flag":true,"text":"t\u00e9","note":"n","bits":"0123abcd","digest":"{0}",)"
            R"("digests":["{0}"],"pairs":[[1,2]],"shares":{{"{0}":0.5}},"choice":"one","list":[],"map":{{"{0}":{{"value":7}}}}}})",
            digest));
}

void documents(const Corpora& corpora) {
    const std::string text = "one two\n<|endoftext|>\n<|endoftext|> three\r\n<|endoftext|>\r\n\n<|endoftext|>\n\u00e9 four five\n";
    corpora.add("jsonl", "text", "t\3" + text);
    corpora.add("jsonl", "byte-order-mark", "t\7\xef\xbb\xbf" + text);
    corpora.add("jsonl", "lines", R"(j
{"id":-1.5e3,"text":"one \"two\"\n\u00e9\ud83d\ude00","meta":{"a":[true,false,null,{}]}}

{"text":" "}
{"text":"three"})");
    corpora.add("jsonl", "twice", R"(jx{"text":"a","text":"b"})");
    corpora.add("jsonl", "surrogate", R"(jx{"text":"\ud83d"})");
    // gzip and zstd of "one two\n", each with a second part.
    corpora.add("jsonl", "gzip", std::string("t\5") +
                 std::string("\037\213\010\000\000\000\000\000\002\003\313\317\113\125\050\051\317\347\002\000\103\074\313\231"
                     "\010\000\000\000\037\213\010\000\000\000\000\000\002\003\313\317\113\125\050\051\317\347\002\000"
                     "\103\074\313\231\010\000\000\000", 56));
    corpora.add("jsonl", "zstd", std::string("t\5") +
                 std::string("\050\265\057\375\004\130\101\000\000\157\156\145\040\164\167\157\012\037\242\040\264\050\265\057"
                     "\375\004\130\101\000\000\157\156\145\040\164\167\157\012\037\242\040\264", 42));
}

// Length-delimited and number fields of a protobuf; every length here is below 128.
std::string field(int number, std::string_view bytes) {
    return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())}.append(bytes);
}
std::string field(int number, int value) {
    return {static_cast<char>(number << 3), static_cast<char>(value)};
}

void sentencepieces(const Corpora& corpora) {
    const auto piece = [](std::string_view text, int type, char score) {
        return field(1, field(1, text) + std::string{'\x15', 0, 0, score, '\x40'} + field(3, type));
    };
    const auto input = [](const std::string& model, std::string_view text) {
        const std::string length{static_cast<char>(model.size()), static_cast<char>(model.size() >> 8)};
        return (length + model).append(text);
    };
    std::string model = piece("<unk>", 2, 0) + piece("<s>", 3, 0) + piece("</s>", 3, 0);
    for (const char* text : {"\u2581", "a", "b", "c"}) model += piece(text, 1, 1);
    model += piece("ab", 1, 3) + piece("\u2581a", 1, 2) + piece("bc", 1, 2) + piece("\u2581ab", 1, 4) + piece("abx", 1, 4);
    const std::string bpe = field(2, field(3, 2)), plain = field(3, field(3, 1) + field(4, 0));
    corpora.add("sentencepiece", "plain", input(model + bpe + plain, "abc ab  cab \u00e9\xff <s> bca"));
    corpora.add("sentencepiece", "extra", input(model + bpe, "  abc ab  \u2581 cab \u00e9\xff "));
    corpora.add("sentencepiece", "types", input(model + piece("ca", 4, 0) + piece("cc", 5, 4) + bpe + plain, "abcacc cca"));
    std::string llama2c("\7\0\0\0", 4);
    const auto put = [&](std::string_view text) {
        llama2c += std::string("\0\0\0\0", 4) + std::string{static_cast<char>(text.size()), 0, 0, 0};
        llama2c += text;
    };
    for (const char* text : {"<unk>", "\n<s>\n", "\n</s>\n"}) put(text);
    for (int byte = 0; byte < 256; ++byte) put(fmt::format("<0x{:02X}>", byte));
    for (const char* text : {" ", "a", "b", "ab", " a"}) put(text);
    corpora.add("sentencepiece", "llama2c", input(llama2c, "ab a\u00e9 ba"));

    // As tokenizer.json, with a charsmap of the rule A -> b: the root's child for 'A', and that one's value.
    std::vector<uint32_t> units(0x142, 0x80000000);
    units[0] = 0x100 << 10;
    units[0x141] = 0x140 << 10 | 0x100 | 'A';
    ByteWriter map;
    map.put(static_cast<uint32_t>(4 * units.size()));
    for (const uint32_t unit : units) map.put(unit);
    map.put_bytes(as_bytes(std::string_view("b\0", 2)));
    using Type = SentencePiece::Type;
    const std::vector<SentencePiece> pieces{{"<unk>", 0, Type::unknown}, {"</s>", 0, Type::control},
                                            {"\u2581", -4}, {"a", -4}, {"b", -4}, {"\u2581b", -1},
                                            {"b|", 0, Type::user_defined}};
    const SentencePieceBpe tokenizer(pieces, {.charsmap = Charsmap(map.bytes(), "seed")}, "seed");
    corpora.add("tokenizer", "sentencepiece", tokenizer.to_json() + std::string(1, '\0') + "  A  ba b| \u2581x</s> ");
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) {
        fmt::print(stderr, "usage: fuzz_seeds CORPUS_FOLDER\n");
        return 2;
    }
    const Corpora corpora(words[1]);
    wire(corpora);
    arrivals(corpora);
    ledger(corpora);
    files(corpora);
    tokenizers(corpora);
    documents(corpora);
    sentencepieces(corpora);
}
