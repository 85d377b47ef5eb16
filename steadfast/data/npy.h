// NumPy's array files (.npy, format versions 1 to 3), and archives of them (.npz: ZIP, stored or deflated).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace steadfast::data {

struct NpyArray {
  std::string type;            // NumPy's: "|u1", "<i8", "<f4"
  std::vector<int64_t> shape;  // row-major
  std::vector<uint8_t> bytes;  // little-endian
};

// `name` stands in errors. Throws InputError for foreign or damaged bytes, big-endian numbers, and Fortran order.
NpyArray ParseNpy(const std::vector<uint8_t>& bytes, const std::string& name);
NpyArray ReadNpy(const std::filesystem::path& path);
// The arrays of an archive, by name (without .npy).
std::map<std::string, NpyArray> ReadNpz(const std::filesystem::path& path);

// The bytes of an array file, and of an archive of several (stored, not compressed; reproducible: no times).
std::vector<uint8_t> ToNpy(const NpyArray& array);
std::vector<uint8_t> ToNpz(const std::map<std::string, NpyArray>& arrays);

// Integers of any width as int64. Throws InputError for other types.
std::vector<int64_t> IntegersOf(const NpyArray& array, const std::string& name);

}  // namespace steadfast::data
