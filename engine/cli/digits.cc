#include "engine/cli/digits.h"

// The assembler includes the files as they are: no generated source, no conversion. SKYLINE_DIGITS is their
// folder.
#define SKYLINE_EMBED(symbol, file)                                                              \
  __asm__(".section .rodata\n.balign 64\n" #symbol "_begin:\n.incbin \"" SKYLINE_DIGITS "/" file \
          "\"\n" #symbol "_end:\n.byte 0\n.previous\n");                                         \
  extern "C" const char symbol##_begin[], symbol##_end[]

SKYLINE_EMBED(skyline_digits_model, "model.onnx");
SKYLINE_EMBED(skyline_digits_images, "test_images.npy");
SKYLINE_EMBED(skyline_digits_labels, "test_labels.npy");

namespace skyline::cli {
namespace {
std::span<const unsigned char> bytes(const char* begin, const char* end) {
  return {reinterpret_cast<const unsigned char*>(begin), static_cast<size_t>(end - begin)};
}
}  // namespace

Digits digits() {
  return {{skyline_digits_model_begin,
           static_cast<size_t>(skyline_digits_model_end - skyline_digits_model_begin)},
          bytes(skyline_digits_images_begin, skyline_digits_images_end),
          bytes(skyline_digits_labels_begin, skyline_digits_labels_end)};
}

}  // namespace skyline::cli
