// Threads that take the next piece of work as they finish one. What a piece computes never depends on its thread.
#pragma once
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>

namespace paceline {

// Gives a thread its next piece; false when none is left.
struct Next {
  std::atomic<int64_t>& taken;
  const int64_t count;
  bool operator()(int64_t& piece) { return (piece = taken.fetch_add(1, std::memory_order_relaxed)) < count; }
};

// Calls work(next) in each thread.
template <class Work>
void parallel(int64_t count, int threads, Work work) {
  std::atomic<int64_t> taken{0};
  threads = int(std::min<int64_t>(threads, count));
#pragma omp parallel num_threads(std::max(threads, 1))
  work(Next{taken, count});
}

// Memory of a thread, aligned for vectors.
template <class T>
struct Free {
  void operator()(T* memory) const { free(memory); }
};
template <class T>
std::unique_ptr<T[], Free<T>> scratch(int64_t count) {
  const size_t bytes = (size_t(std::max<int64_t>(count, 1)) * sizeof(T) + 63) / 64 * 64;
  T* memory = static_cast<T*>(aligned_alloc(64, bytes));
  if (!memory) throw std::bad_alloc();
  return std::unique_ptr<T[], Free<T>>(memory);
}

}  // namespace paceline
