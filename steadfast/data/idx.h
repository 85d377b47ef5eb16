// The IDX format of MNIST and its relatives (LeCun, Cortes, Burges: The MNIST database), plain or gzip-compressed.
//
// Big-endian: two zero bytes, a type byte (8: unsigned byte, the only one read here), the number of dimensions, each
// dimension as 32 bits, then the elements.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace steadfast::data {

struct IdxArray {
  std::vector<int64_t> shape;   // as many as the file says, outermost first
  std::vector<uint8_t> values;  // row-major
};

// Reads a whole file of unsigned bytes with `dimensions` dimensions. Memory grows with the bytes that are really there.
// Throws IoError, and InputError that names file, offset, what was found and what was expected, for a file that is
// foreign, truncated, or longer than its header says.
IdxArray ReadIdx(const std::filesystem::path& path, int dimensions);

}  // namespace steadfast::data
