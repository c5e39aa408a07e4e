// Training a byte-level BPE: again and again the most frequent pair of neighbouring tokens becomes one token.
#include "base/error.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenize.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>
#include <unordered_set>

namespace templar {

namespace {

constexpr std::string_view end_of_text = "<|endoftext|>";
constexpr int64_t least_count = 2;  // a pair seen once is no pattern

// The distinct pre-tokens laid end to end, as linked tokens, and for every pair of neighbours how often it
// occurs in the text and where. A merge touches only the places of its pair.
class Trainer {
  public:
    explicit Trainer(const std::unordered_map<std::string_view, int64_t>& words);

    // Merges the most frequent pair whose bytes are not a token yet (they may be: a|bc beside ab|c); false
    // when no pair occurs often enough.
    bool merge_best();
    std::vector<std::string>& tokens() { return tokens_; }
    std::vector<std::pair<int32_t, int32_t>>& merges() { return merges_; }

  private:
    using Place = uint32_t;
    static constexpr Place nowhere = std::numeric_limits<Place>::max();
    struct Symbol {
        int32_t id;  // -1: merged into an earlier one
        Place previous, next;
        uint32_t word;
    };
    struct Pair {
        int32_t left, right;
        int64_t count = 0;
        std::vector<Place> places;  // of the left token; some may be out of date
    };
    struct Candidate {
        int64_t count;
        uint32_t pair;
    };

    void add_word(std::string_view word, int64_t count);
    Pair& pair_of(int32_t left, int32_t right);
    void merge_at(Place place, int32_t made);
    void push(uint32_t pair);
    bool comes_later(const Candidate& a, const Candidate& b) const;

    std::vector<std::string> tokens_;
    std::unordered_set<std::string> known_;  // tokens made by merges
    std::vector<std::pair<int32_t, int32_t>> merges_;
    std::vector<Symbol> symbols_;
    std::vector<int64_t> word_count_;
    std::vector<Pair> pairs_;
    PairMap<uint32_t> pair_index_;
    std::vector<uint32_t> new_pairs_;  // not yet in the heap; afterwards a pair's count only falls
    // A heap by comes_later; a candidate's count may be out of date (too high, never too low).
    std::vector<Candidate> heap_;
};

Trainer::Trainer(const std::unordered_map<std::string_view, int64_t>& words) {
    for (int byte = 0; byte < 256; ++byte)
        tokens_.emplace_back(1, static_cast<char>(static_cast<uint8_t>(byte)));
    size_t bytes = 0;
    for (const auto& [word, count] : words) bytes += word.size();
    if (bytes >= nowhere)
        fail(ExitCode::input,
             "the text has {} bytes of distinct words, expected less than {}: train on a part of it", bytes,
             nowhere);
    symbols_.reserve(bytes);
    word_count_.reserve(words.size());
    for (const auto& [word, count] : words) add_word(word, count);
    for (const uint32_t pair : std::exchange(new_pairs_, {})) push(pair);
}

void Trainer::add_word(std::string_view word, int64_t count) {
    const auto index = static_cast<uint32_t>(word_count_.size());
    word_count_.push_back(count);
    for (size_t i = 0; i < word.size(); ++i) {
        const auto place = static_cast<Place>(symbols_.size());
        symbols_.push_back({static_cast<uint8_t>(word[i]), i > 0 ? place - 1 : nowhere,
                            i + 1 < word.size() ? place + 1 : nowhere, index});
        if (i == 0) continue;
        Pair& pair = pair_of(symbols_[place - 1].id, symbols_[place].id);
        pair.count += count;
        pair.places.push_back(place - 1);
    }
}

Trainer::Pair& Trainer::pair_of(int32_t left, int32_t right) {
    const auto [index, is_new] = pair_index_.insert(left, right, static_cast<uint32_t>(pairs_.size()));
    if (is_new) {
        pairs_.push_back({left, right, 0, {}});
        new_pairs_.push_back(*index);
    }
    return pairs_[*index];
}

bool Trainer::comes_later(const Candidate& a, const Candidate& b) const {
    if (a.count != b.count) return a.count < b.count;
    const Pair &first = pairs_[a.pair], &second = pairs_[b.pair];
    const auto bytes = [&](int32_t id) -> const std::string& { return tokens_[static_cast<size_t>(id)]; };
    const int order = bytes(first.left).compare(bytes(second.left));
    return order != 0 ? order > 0 : bytes(first.right) > bytes(second.right);
}

void Trainer::push(uint32_t pair) {
    if (pairs_[pair].count < least_count) return;
    heap_.push_back({pairs_[pair].count, pair});
    std::push_heap(heap_.begin(), heap_.end(),
                   [this](const auto& a, const auto& b) { return comes_later(a, b); });
}

bool Trainer::merge_best() {
    while (!heap_.empty()) {
        std::pop_heap(heap_.begin(), heap_.end(),
                      [this](const auto& a, const auto& b) { return comes_later(a, b); });
        const Candidate best = heap_.back();
        heap_.pop_back();
        if (best.count != pairs_[best.pair].count) {
            push(best.pair);
            continue;
        }
        const int32_t left = pairs_[best.pair].left, right = pairs_[best.pair].right;
        const std::string bytes = tokens_[static_cast<size_t>(left)] + tokens_[static_cast<size_t>(right)];
        const auto made = static_cast<int32_t>(tokens_.size());
        if (!known_.insert(bytes).second) continue;
        tokens_.push_back(bytes);
        merges_.emplace_back(left, right);
        std::vector<Place> places = std::exchange(pairs_[best.pair].places, {});
        std::sort(places.begin(), places.end());  // "aaa" merges from the left
        for (const Place place : places) {
            const Symbol& symbol = symbols_[place];
            if (symbol.id == left && symbol.next != nowhere && symbols_[symbol.next].id == right)
                merge_at(place, made);
        }
        pairs_[best.pair].count = 0;
        for (const uint32_t pair : std::exchange(new_pairs_, {})) push(pair);
        return true;
    }
    return false;
}

// Joins the tokens at `place` and after it, and counts their neighbours anew.
void Trainer::merge_at(Place place, int32_t made) {
    Symbol& symbol = symbols_[place];
    Symbol& next = symbols_[symbol.next];
    const int64_t count = word_count_[symbol.word];
    const auto gain = [&](int32_t left, int32_t right, Place at) {
        Pair& pair = pair_of(left, right);
        pair.count += count;
        pair.places.push_back(at);
    };
    if (symbol.previous != nowhere) {
        const int32_t before = symbols_[symbol.previous].id;
        pair_of(before, symbol.id).count -= count;
        gain(before, made, symbol.previous);
    }
    if (next.next != nowhere) {
        const int32_t after = symbols_[next.next].id;
        pair_of(next.id, after).count -= count;
        gain(made, after, place);
        symbols_[next.next].previous = place;
    }
    symbol.id = made;
    symbol.next = next.next;
    next.id = -1;
}

std::unordered_map<std::string_view, int64_t> count_words(const std::vector<std::string_view>& documents,
                                                          const TrainProgress& progress) {
    constexpr int64_t step = 1 << 20;
    int64_t total = 0, done = 0, reported = 0;
    for (const std::string_view document : documents) total += static_cast<int64_t>(document.size());
    std::unordered_map<std::string_view, int64_t> words;
    for (const std::string_view document : documents) {
        for (size_t begin = 0, end; begin < document.size(); begin = end) {
            end = pretoken_end(document, begin);
            ++words[document.substr(begin, end - begin)];
            done += static_cast<int64_t>(end - begin);
            if (progress && done - reported >= step) progress("count", reported = done, total);
        }
    }
    return words;
}

}  // namespace

ByteLevelBpe train_bpe(const std::vector<std::string_view>& documents, int64_t vocab_size,
                    const TrainProgress& progress) {
    constexpr int64_t most = 1 << 24;
    if (vocab_size < 257 || vocab_size > most)
        fail(ExitCode::input, "cannot train a vocabulary of {} tokens, expected 257 (256 bytes and {}) to {}",
             vocab_size, end_of_text, most);
    const auto words = count_words(documents, progress);
    if (words.empty())
        fail(ExitCode::input, "cannot train a tokenizer on an empty text: give it some megabytes");
    Trainer trainer(words);
    const auto wanted = static_cast<size_t>(vocab_size - 1);
    while (trainer.tokens().size() < wanted) {
        if (!trainer.merge_best())
            fail(ExitCode::input,
                 "the text is too small for a vocabulary of {} tokens: it gives {}; ask for that many or "
                 "train on more text",
                 vocab_size, trainer.tokens().size() + 1);
        if (progress && trainer.tokens().size() % 64 == 0)
            progress("merge", static_cast<int64_t>(trainer.tokens().size()), vocab_size);
    }
    trainer.tokens().emplace_back(end_of_text);
    return ByteLevelBpe(std::move(trainer.tokens()), std::move(trainer.merges()), std::string(end_of_text));
}

}  // namespace templar
