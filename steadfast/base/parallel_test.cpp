#include "steadfast/base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

TEST(ParallelFor, CallsEachIndexOnce) {
  for (int threads : {1, 2, 5}) {
    std::vector<std::atomic<int>> calls(1000);
    ParallelFor(threads, 1000, [&](int, int64_t index) { ++calls[static_cast<size_t>(index)]; });
    for (const auto& count : calls) ASSERT_EQ(count, 1);
  }
}

TEST(ParallelFor, RethrowsTheFirstFailure) {
  EXPECT_THROW(ParallelFor(3, 100,
                           [](int, int64_t index) {
                             if (index == 7) throw InputError("seven");
                           }),
               InputError);
}

TEST(ParallelFor, StopsWhenCancelled) {
  Cancellation cancellation;
  std::atomic<int> calls = 0;
  EXPECT_THROW(ParallelFor(
                   2, 1000000,
                   [&](int, int64_t) {
                     if (++calls == 10) cancellation.Request();
                   },
                   &cancellation),
               InterruptedError);
  EXPECT_LT(calls, 1000);
}

}  // namespace
}  // namespace steadfast
