#include "tokenizer/merges.h"

#include <algorithm>
#include <array>
#include <limits>
#include <queue>

namespace templar {

namespace {

// Up to this many tokens are merged by scanning an array; more, with a heap, so that a megabyte without a space does
// not take quadratic time.
constexpr size_t short_word = 48;

}  // namespace

void Merges::apply(std::span<int32_t> ids, std::vector<int32_t>& out) const {
    if (ids.size() > short_word) return apply_long(ids, out, [](int32_t, int32_t, int32_t) {});
    constexpr Merge none{std::numeric_limits<int32_t>::max(), -1};
    std::array<Merge, short_word> merges;  // of ids[i] with ids[i + 1]
    size_t count = ids.size();
    const auto look_up = [&](size_t i) {
        const Merge* merge = find(ids[i], ids[i + 1]);
        merges[i] = merge ? *merge : none;
    };
    for (size_t i = 0; i + 1 < count; ++i) look_up(i);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; ++i)
            if (merges[i].rank < merges[best].rank) best = i;
        if (merges[best].rank == none.rank) break;
        ids[best] = merges[best].id;
        std::copy(ids.data() + best + 2, ids.data() + count, ids.data() + best + 1);
        std::copy(merges.data() + best + 1, merges.data() + count - 1, merges.data() + best);
        --count;
        if (best > 0) look_up(best - 1);
        if (best + 1 < count) look_up(best);
    }
    out.insert(out.end(), ids.data(), ids.data() + count);
}

void Merges::apply(std::span<const int32_t> ids, std::vector<int32_t>& out, const Offered& offered) const {
    apply_long(ids, out, offered);
}

// A heap of candidate merges over a linked list of tokens. A candidate whose tokens have changed since is dropped when
// it comes up.
template <class Offer>
void Merges::apply_long(std::span<const int32_t> ids, std::vector<int32_t>& out, const Offer& offered) const {
    struct Link {
        int32_t id;  // -1: merged into an earlier one
        int64_t previous, next;
    };
    struct Candidate {
        int32_t rank;
        int64_t at;
        bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
    };
    const auto count = static_cast<int64_t>(ids.size());
    std::vector<Link> links(ids.size());
    for (size_t i = 0; i < links.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        links[i] = {ids[i], at - 1, at + 1 < count ? at + 1 : -1};
    }
    const auto link = [&](int64_t at) -> Link& { return links[static_cast<size_t>(at)]; };
    const auto merge_at = [&](int64_t at) -> const Merge* {
        if (link(at).id < 0 || link(at).next < 0) return nullptr;
        return find(link(at).id, link(link(at).next).id);
    };
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
    const auto offer = [&](int64_t at) {
        const Merge* merge = merge_at(at);
        if (!merge) return;
        candidates.push({merge->rank, at});
        offered(link(at).id, link(link(at).next).id, merge->id);
    };
    for (int64_t at = 0; at < count; ++at) offer(at);
    while (!candidates.empty()) {
        const Candidate candidate = candidates.top();
        candidates.pop();
        const Merge* merge = merge_at(candidate.at);
        if (!merge || merge->rank != candidate.rank) continue;
        Link& left = link(candidate.at);
        Link& right = link(left.next);
        left.id = merge->id;
        right.id = -1;
        left.next = right.next;
        if (left.next >= 0) link(left.next).previous = candidate.at;
        if (left.previous >= 0) offer(left.previous);
        offer(candidate.at);
    }
    for (int64_t at = 0; at >= 0 && at < count; at = link(at).next) out.push_back(link(at).id);
}

}  // namespace templar
