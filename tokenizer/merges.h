// The inner loop of every BPE: while two neighbouring tokens can merge, the merge of lowest rank is made, leftmost
// first.
#pragma once

#include "tokenizer/pair_map.h"

#include <functional>
#include <span>
#include <vector>

namespace templar {

struct Merge {
    int32_t rank;  // lower ones are made first
    int32_t id;    // what the pair becomes
};

class Merges {
  public:
    // False, and nothing changed, when the pair has a merge already.
    bool add(int32_t left, int32_t right, Merge merge) { return of_pair_.insert(left, right, merge).second; }
    const Merge* find(int32_t left, int32_t right) const { return of_pair_.find(left, right); }

    // Appends what becomes of `ids` (which serve as working memory) to `out`, in O(n·log n).
    void apply(std::span<int32_t> ids, std::vector<int32_t>& out) const;

    // The same, telling `offered(left, right, id)` of every merge that came into question, in the order of
    // sentencepiece.
    using Offered = std::function<void(int32_t left, int32_t right, int32_t id)>;
    void apply(std::span<const int32_t> ids, std::vector<int32_t>& out, const Offered& offered) const;

  private:
    template <class Offer>
    void apply_long(std::span<const int32_t> ids, std::vector<int32_t>& out, const Offer& offered) const;
    PairMap<Merge> of_pair_;
};

}  // namespace templar
