#pragma once
// Memory whose first byte past the end cannot be touched: an over-read or over-write of a kernel is a signal.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = (n * sizeof(T) + page - 1) / page * page;
    mapped_ = bytes + page;
    base_ = static_cast<std::byte*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + bytes, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(base_ + bytes - n * sizeof(T));
  }
  explicit Guarded(const std::vector<T>& v) : Guarded(v.size()) {
    std::memcpy(data_, v.data(), n_ * sizeof(T));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }
  T* data() { return data_; }
  std::span<T> span() { return {data_, n_}; }

 private:
  size_t n_, mapped_ = 0;
  std::byte* base_ = nullptr;
  T* data_ = nullptr;
};
