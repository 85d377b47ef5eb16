#include "steadfast/data/npy.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::data {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 33;

[[noreturn]] void Fail(const std::string& name, const std::string& what) {
  throw InputError(fmt::format("{}: {}", name, what));
}

uint64_t Little(const uint8_t* at, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | at[i];
  return value;
}

// What stands behind 'key': in the header, a Python dictionary as text.
std::string_view ValueOf(std::string_view header, std::string_view key, const std::string& name) {
  const size_t at = header.find(fmt::format("'{}'", key));
  const size_t colon = at == std::string_view::npos ? at : header.find(':', at);
  if (colon == std::string_view::npos) Fail(name, fmt::format("its header does not say {}", key));
  std::string_view value = header.substr(colon + 1);
  value.remove_prefix(std::min(value.size(), value.find_first_not_of(' ')));
  return value;
}

std::vector<int64_t> ShapeOf(std::string_view text, const std::string& name) {
  std::vector<int64_t> shape;
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string_view::npos) Fail(name, "its header has no shape");
  int64_t number = -1;
  for (const char c : text.substr(1, end)) {
    if (c >= '0' && c <= '9') {
      number = std::max<int64_t>(number, 0) * 10 + (c - '0');
      if (number > int64_t{1} << 40) Fail(name, "its shape is impossible");
    } else {
      if (number >= 0) shape.push_back(number);
      number = -1;
    }
  }
  return shape;
}

std::vector<uint8_t> Inflated(const uint8_t* from, uint64_t size, uint64_t expected, const std::string& name) {
  if (expected > kMostBytes) Fail(name, "is larger than is read");
  std::vector<uint8_t> bytes;
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) Fail(name, "cannot be decompressed");
  stream.next_in = const_cast<uint8_t*>(from);
  stream.avail_in = static_cast<uInt>(size);
  int state = Z_OK;
  while (state == Z_OK && bytes.size() < expected + 1) {  // grows with what is really there
    const size_t before = bytes.size();
    bytes.resize(std::min<uint64_t>(expected + 1, before + (1 << 20)));
    stream.next_out = bytes.data() + before;
    stream.avail_out = static_cast<uInt>(bytes.size() - before);
    state = inflate(&stream, Z_NO_FLUSH);
    bytes.resize(bytes.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END || bytes.size() != expected) Fail(name, "is damaged: it does not decompress to its size");
  return bytes;
}

}  // namespace

NpyArray ParseNpy(const std::vector<uint8_t>& bytes, const std::string& name) {
  if (bytes.size() < 12 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) Fail(name, "is not a NumPy array file");
  const bool is_long = bytes[6] >= 2;
  const size_t begin = is_long ? 12 : 10;
  const uint64_t length = Little(bytes.data() + 8, is_long ? 4 : 2);
  if (bytes[6] < 1 || bytes[6] > 3 || length > bytes.size() - begin) Fail(name, "its header is damaged");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + begin, length);
  NpyArray array;
  const std::string_view type = ValueOf(header, "descr", name);
  array.type = std::string(type.substr(1, type.find('\'', 1) == std::string_view::npos ? 0 : type.find('\'', 1) - 1));
  if (type.empty() || type[0] != '\'' || array.type.size() < 3) Fail(name, "holds records, which are not read");
  if (array.type[0] == '>') Fail(name, fmt::format("holds big-endian numbers ({}), which are not read", array.type));
  if (ValueOf(header, "fortran_order", name).starts_with("True"))
    Fail(name, "is in Fortran order; save numpy.ascontiguousarray of it");
  array.shape = ShapeOf(ValueOf(header, "shape", name), name);
  uint64_t size = 0;
  for (const char digit : array.type.substr(2)) {
    if (digit < '0' || digit > '9' || size > 1000) Fail(name, fmt::format("type {} is not read", array.type));
    size = size * 10 + static_cast<uint64_t>(digit - '0');
  }
  for (const int64_t dimension : array.shape) {
    if (dimension > 0 && size > kMostBytes / static_cast<uint64_t>(dimension)) Fail(name, "its shape is impossible");
    size *= static_cast<uint64_t>(dimension);
  }
  const uint64_t there = bytes.size() - begin - length;
  if (size != there)
    Fail(name, fmt::format("has {} bytes of data, expected {} ([{}] of {})", there, size, fmt::join(array.shape, ", "),
                           array.type));
  array.bytes.assign(bytes.begin() + static_cast<int64_t>(begin + length), bytes.end());
  return array;
}

NpyArray ReadNpy(const std::filesystem::path& path) {
  return ParseNpy(ReadFile(path, kMostBytes), path.string());
}

std::map<std::string, NpyArray> ReadNpz(const std::filesystem::path& path) {
  const std::string name = path.string();
  const std::vector<uint8_t> bytes = ReadFile(path, kMostBytes);
  constexpr size_t kEnd = 22, kEntry = 46, kLocal = 30;  // sizes of ZIP's records without names
  size_t end = bytes.size() < kEnd ? 0 : bytes.size() - kEnd;
  const size_t lowest = end > 65535 ? end - 65535 : 0;  // a comment may follow
  while (end > lowest && std::memcmp(bytes.data() + end, "PK\5\6", 4) != 0) --end;
  if (bytes.size() < kEnd || std::memcmp(bytes.data() + end, "PK\5\6", 4) != 0) Fail(name, "is not an archive (.npz)");
  const uint64_t count = Little(bytes.data() + end + 10, 2);
  uint64_t at = Little(bytes.data() + end + 16, 4);
  std::map<std::string, NpyArray> arrays;
  for (uint64_t i = 0; i < count; ++i) {
    const auto fits = [&](uint64_t from, uint64_t size) { return from <= bytes.size() && size <= bytes.size() - from; };
    if (!fits(at, kEntry) || std::memcmp(bytes.data() + at, "PK\1\2", 4) != 0) Fail(name, "its directory is damaged");
    const uint8_t* entry = bytes.data() + at;
    const uint64_t method = Little(entry + 10, 2), packed = Little(entry + 20, 4), size = Little(entry + 24, 4);
    const uint64_t name_size = Little(entry + 28, 2), local = Little(entry + 42, 4);
    if (!fits(at + kEntry, name_size) || !fits(local, kLocal)) Fail(name, "its directory is damaged");
    if (packed == 0xFFFFFFFF || size == 0xFFFFFFFF) Fail(name, "holds an array of 4 GiB or more; use .npy files");
    std::string of(reinterpret_cast<const char*>(entry) + kEntry, name_size);
    at += kEntry + name_size + Little(entry + 30, 2) + Little(entry + 32, 2);
    const uint64_t data = local + kLocal + Little(bytes.data() + local + 26, 2) + Little(bytes.data() + local + 28, 2);
    if (!fits(data, packed)) Fail(name, fmt::format("'{}' is cut off", of));
    if (of.ends_with(".npy")) of.erase(of.size() - 4);
    const std::string where = fmt::format("{}: '{}'", name, of);
    if (method == 0) {
      arrays[of] = ParseNpy(
          {bytes.begin() + static_cast<int64_t>(data), bytes.begin() + static_cast<int64_t>(data + packed)}, where);
    } else if (method == 8) {
      arrays[of] = ParseNpy(Inflated(bytes.data() + data, packed, size, where), where);
    } else {
      Fail(where, fmt::format("is compressed by method {}, which is not read", method));
    }
  }
  return arrays;
}

std::vector<uint8_t> ToNpy(const NpyArray& array) {
  std::string shape = fmt::format("{}", fmt::join(array.shape, ", "));
  if (array.shape.size() == 1) shape += ",";
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", array.type, shape);
  constexpr size_t kStart = 10, kAligned = 64;
  header.resize((kStart + header.size() + 1 + kAligned - 1) / kAligned * kAligned - kStart, ' ');
  header.back() = '\n';
  std::string start = "\x93NUMPY";
  for (const size_t byte : {size_t{1}, size_t{0}, header.size() & 255, header.size() >> 8})
    start += static_cast<char>(byte);
  start += header;
  std::vector<uint8_t> bytes(start.begin(), start.end());
  bytes.insert(bytes.end(), array.bytes.begin(), array.bytes.end());
  return bytes;
}

std::vector<uint8_t> ToNpz(const std::map<std::string, NpyArray>& arrays) {
  std::vector<uint8_t> archive, directory;
  const auto put = [](std::vector<uint8_t>& to, std::initializer_list<std::pair<uint64_t, int>> numbers) {
    for (const auto& [number, bytes] : numbers) {
      for (int byte = 0; byte < bytes; ++byte) to.push_back(static_cast<uint8_t>(number >> 8 * byte));
    }
  };
  constexpr uint64_t kDate = 0x21;  // the first of January 1980
  for (const auto& [name, array] : arrays) {
    const std::vector<uint8_t> bytes = ToNpy(array);
    const std::string file = name + ".npy";
    const uint64_t size = bytes.size(), sum = crc32_z(0, bytes.data(), bytes.size()), at = archive.size();
    if (at + size > kMostBytes / 2 - 1) throw InputError("an archive of arrays would be 4 GiB or more");
    // What the entry in front of an array and that in the directory share: version needed, flags, method, time, date,
    // sum, sizes, length of the name, extra fields.
    std::vector<uint8_t> common;
    put(common,
        {{20, 2}, {0, 2}, {0, 2}, {0, 2}, {kDate, 2}, {sum, 4}, {size, 4}, {size, 4}, {file.size(), 2}, {0, 2}});
    put(archive, {{0x04034b50, 4}});
    archive.insert(archive.end(), common.begin(), common.end());
    archive.insert(archive.end(), file.begin(), file.end());
    archive.insert(archive.end(), bytes.begin(), bytes.end());
    put(directory, {{0x02014b50, 4}, {20, 2}});  // made by this version
    directory.insert(directory.end(), common.begin(), common.end());
    put(directory, {{0, 2}, {0, 2}, {0, 2}, {0, 4}, {at, 4}});  // no comment, disk, attributes; where the array is
    directory.insert(directory.end(), file.begin(), file.end());
  }
  const uint64_t start = archive.size();
  archive.insert(archive.end(), directory.begin(), directory.end());
  put(archive, {{0x06054b50, 4},
                {0, 2},
                {0, 2},
                {arrays.size(), 2},
                {arrays.size(), 2},
                {directory.size(), 4},
                {start, 4},
                {0, 2}});
  return archive;
}

std::vector<int64_t> IntegersOf(const NpyArray& array, const std::string& name) {
  const char kind = array.type[1];
  const int size = array.type.size() == 3 ? array.type[2] - '0' : 0;
  if ((kind != 'i' && kind != 'u' && kind != 'b') || (size != 1 && size != 2 && size != 4 && size != 8))
    Fail(name, fmt::format("has the type {}, expected integers", array.type));
  std::vector<int64_t> values;
  for (size_t at = 0; at < array.bytes.size(); at += static_cast<size_t>(size)) {
    uint64_t value = Little(array.bytes.data() + at, size);
    const uint64_t sign = uint64_t{1} << (8 * size - 1);
    if (kind == 'i' && size < 8 && (value & sign) != 0) value |= ~(sign * 2 - 1);
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

}  // namespace steadfast::data
