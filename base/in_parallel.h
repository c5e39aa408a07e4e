// Waiting for many at once: one thread each, because what they do is wait.
#pragma once

#include <cstdint>
#include <functional>

namespace templar {

// Does job(0) … job(count − 1), at most `width` at a time and beginning with the first. After one has thrown
// no other begins; when all that began have ended the first error (by number) is thrown again. Jobs must not
// sleep on a virtual clock.
void in_parallel(int64_t count, const std::function<void(int64_t)>& job, int64_t width = 64);

}  // namespace templar
