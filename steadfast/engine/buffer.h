// Memory for rows and sums: aligned to cache lines, and in huge pages if it is large, because accesses to large blocks
// would otherwise wait for look-ups in page tables.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace steadfast::engine {

template <typename T>
struct HugePageAllocator {
  using value_type = T;
  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}

  T* allocate(size_t count) {
    constexpr size_t kCacheLine = 64, kHugePage = size_t{1} << 21;
    const size_t bytes = count * sizeof(T);
    const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: what it returns changes nothing
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) {
    std::free(memory);
  }
  bool operator==(const HugePageAllocator&) const {
    return true;
  }
};

template <typename T>
using Buffer = std::vector<T, HugePageAllocator<T>>;

}  // namespace steadfast::engine
