#if defined(__x86_64__)

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/tiles.h"

namespace steadfast::engine {
namespace {

// ---- AMX: tiles of 16 outputs x 16 taps of weights times tiles of 16 taps x 16 images ----

// Tiles pay for enough outputs and taps; the others go the way of VNNI.
bool UsesTiles(int taps, int outputs) {
  return outputs >= 8 && taps >= 8;
}

// Blocks of 16 taps, each as one or two tiles of [output][tap], filled up with zeros.
void PackForTiles(std::span<const uint32_t> weights, int taps, int outputs, int largest_code,
                  std::vector<uint32_t>& packed) {
  if (!UsesTiles(taps, outputs)) return PackByTap(weights, taps, outputs, largest_code, packed);
  const int padded_outputs = (outputs + kTileRows - 1) / kTileRows * kTileRows;
  for (int first = 0; first < taps; first += kTileRows) {
    for (int o = 0; o < padded_outputs; ++o) {
      for (int t = first; t < first + kTileRows; ++t)
        packed.push_back(o < outputs && t < taps ? weights[static_cast<size_t>(t * outputs + o)] : 0);
    }
  }
}

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes};
  uint8_t rows[16] = {kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows};
};

STEADFAST_AMX void ConfigureTiles() {
  // In static memory: g++ 12 takes the instruction to read 8 bytes only, and drops other stores to a local one.
  static const TileConfiguration configuration;
  _tile_loadconfig(&configuration);
}

// Up to 16 rows of `bytes` bytes for a tile load with `stride`: the quads in place if they are evenly spaced, otherwise
// copied to `gathered`.
STEADFAST_AMX STEADFAST_INLINE const uint8_t* TileRows(const uint8_t* base, const int32_t* offsets, int count,
                                                       int bytes, uint8_t* gathered, int64_t& stride) {
  stride = count > 1 ? offsets[1] - offsets[0] : kQuadBytes;
  bool even = count == kTileRows || stride == kQuadBytes;
  for (int t = 2; t < count && even; ++t) even = offsets[t] - offsets[t - 1] == stride;
  if (even) return base + offsets[0];
  for (int t = 0; t < count; ++t) {
    for (int q = 0; q < bytes; q += 64)
      _mm512_store_si512(gathered + t * kQuadBytes + q, _mm512_loadu_si512(base + offsets[t] + q));
  }
  MemoryBarrier();
  stride = kQuadBytes;
  return gathered;  // what lies behind the last tap meets weights of 0
}

// Up to 16 outputs: 4 tiles of sums.
STEADFAST_AMX void AmxProductsOfOneTile(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                        const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  alignas(64) uint8_t gathered[kTileRows * kQuadBytes];
  MemoryBarrier();
  if (initial == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    const auto bytes = static_cast<size_t>(initial_stride) * sizeof(int32_t);
    _tile_loadd(0, initial, bytes);
    _tile_loadd(1, initial + 16, bytes);
    _tile_loadd(2, initial + 32, bytes);
    _tile_loadd(3, initial + 48, bytes);
  }
  for (int first = 0; first < taps; first += kTileRows, weights += kTileRows * kTileRows) {
    int64_t stride = 0;
    const uint8_t* rows =
        TileRows(base, offsets + first, std::min(kTileRows, taps - first), kQuadBytes, gathered, stride);
    _tile_loadd(4, weights, kTileBytes);
    _tile_loadd(5, rows, static_cast<size_t>(stride));
    _tile_loadd(6, rows + 64, static_cast<size_t>(stride));
    _tile_dpbsud(0, 4, 5);
    _tile_loadd(7, rows + 128, static_cast<size_t>(stride));
    _tile_dpbsud(1, 4, 6);
    _tile_loadd(5, rows + 192, static_cast<size_t>(stride));
    _tile_dpbsud(2, 4, 7);
    _tile_dpbsud(3, 4, 5);
  }
  _tile_stored(0, sums, kQuadBytes);
  _tile_stored(1, sums + 16, kQuadBytes);
  _tile_stored(2, sums + 32, kQuadBytes);
  _tile_stored(3, sums + 48, kQuadBytes);
  MemoryBarrier();
}

// Up to 32 outputs: 2 x 2 tiles of sums, for one half of the images after the other, so that every tile that is loaded
// is used twice.
STEADFAST_AMX void AmxProductsOfTwoTiles(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                         const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  alignas(64) uint8_t gathered[kTileRows * kQuadBytes];
  constexpr int kTileSums = kTileRows * kBlockImages;
  MemoryBarrier();
  for (int half = 0; half < 2; ++half, base += 128, sums += 32) {
    if (initial == nullptr) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    } else {
      const auto bytes = static_cast<size_t>(initial_stride) * sizeof(int32_t);
      const int32_t* from = initial + 32 * half;
      _tile_loadd(0, from, bytes);
      _tile_loadd(1, from + 16, bytes);
      _tile_loadd(2, from + kTileRows * initial_stride, bytes);
      _tile_loadd(3, from + kTileRows * initial_stride + 16, bytes);
    }
    const uint32_t* w = weights;
    for (int first = 0; first < taps; first += kTileRows, w += 2 * kTileRows * kTileRows) {
      int64_t stride = 0;
      const uint8_t* rows =
          TileRows(base, offsets + first, std::min(kTileRows, taps - first), kQuadBytes / 2, gathered, stride);
      _tile_loadd(4, w, kTileBytes);
      _tile_loadd(6, rows, static_cast<size_t>(stride));
      _tile_loadd(7, rows + 64, static_cast<size_t>(stride));
      _tile_dpbsud(0, 4, 6);
      _tile_loadd(5, w + kTileRows * kTileRows, kTileBytes);
      _tile_dpbsud(1, 4, 7);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, sums, kQuadBytes);
    _tile_stored(1, sums + 16, kQuadBytes);
    _tile_stored(2, sums + kTileSums, kQuadBytes);
    _tile_stored(3, sums + kTileSums + 16, kQuadBytes);
  }
  MemoryBarrier();
}

STEADFAST_AMX void AmxProducts(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                               int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  if (!UsesTiles(taps, outputs))
    return VnniKernels().products(base, offsets, taps, weights, outputs, initial, initial_stride, sums);
  const auto products = outputs > kTileRows ? AmxProductsOfTwoTiles : AmxProductsOfOneTile;
  if (outputs % kTileRows == 0) return products(base, offsets, taps, weights, initial, initial_stride, sums);
  // Rows of sums that are not there must be neither read nor written.
  alignas(64) int32_t own_sums[kMostOutputsPerCall * kBlockImages];
  constexpr size_t kBytes = kBlockImages * sizeof(int32_t);
  for (int o = 0; initial != nullptr && o < outputs; ++o)
    std::memcpy(own_sums + o * kBlockImages, initial + o * initial_stride, kBytes);
  MemoryBarrier();
  products(base, offsets, taps, weights, initial == nullptr ? nullptr : own_sums, kBlockImages, own_sums);
  std::memcpy(sums, own_sums, static_cast<size_t>(outputs) * kBytes);
}

}  // namespace

const Kernels& AmxKernels() {
  static const Kernels kernels = [] {
    Kernels set = VnniKernels();
    set.prepare = ConfigureTiles;
    set.products = AmxProducts;
    set.pack = PackForTiles;
    set.outputs_per_call = 2 * kTileRows;
    return set;
  }();
  return kernels;
}

}  // namespace steadfast::engine

#endif
