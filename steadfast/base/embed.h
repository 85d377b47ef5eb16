// Files as data of a program: the assembler reads them, the compiler does not have to. In one source file, at its top
// STEADFAST_EMBED(name, "/path") for each file, and within a namespace STEADFAST_EMBEDDED(name), which declares
// name_begin and name_end.
#pragma once

#include <cstddef>
#include <string_view>

#define STEADFAST_EMBED(symbol, path)                          \
  __asm__(                                                     \
      ".pushsection .rodata\n"                                 \
      ".balign 16\n"                                           \
      "steadfast_embedded_" #symbol "_begin:\n.incbin \"" path \
      "\"\n"                                                   \
      "steadfast_embedded_" #symbol "_end:\n.byte 0\n.popsection\n")

#define STEADFAST_EMBEDDED(symbol)                                                    \
  extern const char symbol##_begin[] __asm__("steadfast_embedded_" #symbol "_begin"); \
  extern const char symbol##_end[] __asm__("steadfast_embedded_" #symbol "_end")

namespace steadfast {

inline std::string_view TextBetween(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace steadfast
