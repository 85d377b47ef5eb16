// What memories hold, as Verilog's $readmemh reads it: for simulations of hardware that start with a network in its
// memories.
#pragma once

#include <cstdint>
#include <string>

#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

// One line a word, in hexadecimal, as many digits as a word needs; a comment and an address (@) where each array
// begins. Bits that hold nothing are 0. Arrays of buffers hold nothing yet, and are left out. memory: place in
// Chip::memories.
std::string WordsAsHex(const MemoryImage& image, int memory);

// The same memory as its banks have it: one line a row, column 0 in the lowest bit, with what is interleaved and in
// which order words fill banks done.
std::string RowsAsHex(const MemoryImage& image, int memory, int64_t bank);

}  // namespace steadfast::memory
