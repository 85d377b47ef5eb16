#if defined(__x86_64__)

// Slices on AMX tiles: 16 outputs x 16 taps of weights times 16 quads as they lie. Sums are in memory for as long as it
// takes to requantize them with AVX-512.
#include <cmath>

#include "steadfast/engine/kernels/registers_512.h"
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"
#include "steadfast/engine/kernels/tiles.h"

namespace steadfast::engine {
namespace {

constexpr int kMostOutputs = 2 * kTileRows;
constexpr int kTileSums = kTileRows * kSliceImages;
constexpr int kMostTiles = 4;  // of sums

// For 16 taps after another, tiles of [output][tap], filled up with zeros.
int PackTiles(std::span<const std::array<int16_t, 4>> levels, int outputs, int, uint32_t* packed) {
  const int taps = static_cast<int>(levels.size()) / outputs;
  for (int first = 0; first < taps; first += kTileRows) {
    for (int o = 0; o < (outputs + kTileRows - 1) / kTileRows * kTileRows; ++o) {
      for (int t = first; t < first + kTileRows; ++t)
        *packed++ = o < outputs ? PackedBytes(levels[static_cast<size_t>(t * outputs + o)]) : 0;
    }
  }
  return 0;
}

#define STEADFAST_TARGET STEADFAST_AMX
#define STEADFAST_OPERATION STEADFAST_TARGET STEADFAST_INLINE static

namespace amx {

struct Vector : Registers512 {
  static constexpr bool kDot = false, kShort = false;
};

#include "steadfast/engine/kernels/slice_loops.inc"

// What becomes of sums.
enum class Ending {
  kSums,     // they are stored
  kClipped,  // codes, of sums that may be anything in steps from the zero point
  kBounded,  // codes, of sums that stay within int32
  kExact,    // codes of a residual addition, whose quotient is a product,
  kRefined,  // or comes from one,
  kDivided,  // or is divided
};

// Codes (or sums) of some places from sums [place][output][16].
template <Ending kEnding>
struct Finish {
  static constexpr bool kAdds = kEnding >= Ending::kExact;
  const Tile& tile;
  const bool has_threshold;
  // In all lanes.
  const Float lowest, highest;
  const Int zero_point, lowest_codes, highest_codes, threshold;
  Int other_zero_point;
  Float sum_scale, other_scale, most, scale, reciprocal;

  STEADFAST_OPERATION Int FourTimes(int code) {
    return Vector::Set(static_cast<int32_t>(static_cast<uint32_t>(code) * 0x01010101u));
  }

  STEADFAST_AMX STEADFAST_INLINE Finish(const Tile& t, int zero, int lowest_code, int most_code, int zero_below)
      : tile(t),
        has_threshold(zero_below > lowest_code),
        lowest(Vector::Set(t.range.lowest)),
        highest(Vector::Set(t.range.highest)),
        zero_point(Vector::Set(zero * 0x00010001)),
        lowest_codes(FourTimes(lowest_code)),
        highest_codes(FourTimes(most_code)),
        threshold(FourTimes(zero_below)) {
    if constexpr (kAdds) {
      const AddedOperand& add = *t.add;
      other_zero_point = Vector::Set(add.of_other.zero_point);
      sum_scale = Vector::Set(add.of_sum.scale);
      other_scale = Vector::Set(add.of_other.scale);
      most = Vector::Set(static_cast<float>(add.constants.highest - add.constants.zero_point));
      scale = Vector::Set(add.constants.scale);
      reciprocal = Vector::Set(add.reciprocal);
    }
  }

  STEADFAST_AMX STEADFAST_INLINE Int Step(const int32_t* sums, int output, Int other, int slot) const {
    const Float real = Real(tile, Vector::Load(sums), output);
    if constexpr (kEnding == Ending::kBounded) return Vector::Round(real);
    if constexpr (!kAdds) return Vector::Round(Vector::Lesser(highest, real));
    // What is not a number becomes the lowest.
    const Float steps = Vector::Whole(Vector::Greater(Vector::Lesser(highest, real), lowest));
    const Float of_other = Vector::ToFloat(Vector::Sub(Vector::Byte(other, slot), other_zero_point));
    const Float total = Vector::Add(Vector::Multiply(steps, sum_scale), Vector::Multiply(of_other, other_scale));
    const Float quotient = kEnding == Ending::kExact     ? Vector::Multiply(total, reciprocal)
                           : kEnding == Ending::kRefined ? Vector::Refined(total, scale, reciprocal)
                                                         : Vector::Divide(total, scale);
    return Vector::Round(Vector::Lesser(most, quotient));
  }

  STEADFAST_AMX STEADFAST_INLINE void Place(int place, const int32_t* sums) const {
    for (int output = 0; output < tile.outputs; output += 4, sums += 4 * kSliceImages) {
      if constexpr (kEnding == Ending::kSums) {
        int32_t* to = tile.sums + (static_cast<int64_t>(place) * tile.outputs + output) * kSliceImages;
        for (int64_t i = 0; i < 4 * kSliceImages; i += kLanes) Vector::Store(to + i, Vector::Load(sums + i));
        continue;
      }
      const int64_t plane = output / 4 * kSliceQuadBytes;
      const Int other = kAdds ? Vector::Load(tile.other + tile.other_places[place] + plane) : Int{};
      Int steps[4];
      for (int i = 0; i < 4; ++i) steps[i] = Step(sums + i * kSliceImages, output + i, other, i);
      const Int low = Vector::Add16Saturated(Vector::Narrow32(steps[0], steps[1]), zero_point);
      const Int high = Vector::Add16Saturated(Vector::Narrow32(steps[2], steps[3]), zero_point);
      Int codes = Vector::Max8(Vector::Transpose(Vector::Narrow16(low, high)), lowest_codes);
      if constexpr (kEnding == Ending::kBounded) codes = Vector::Min8(codes, highest_codes);
      if (has_threshold) codes = Vector::Raised(codes, threshold, lowest_codes);
      Vector::Store(tile.codes + tile.targets[place] + plane, codes);
    }
  }
};

// What sums start from: each output's correction for 16 images.
struct alignas(64) Initial {
  int32_t of_output[kMostOutputs][kSliceImages];
};

// Sums of the same window of some places.
STEADFAST_AMX STEADFAST_INLINE void SumOfOne(const Tile& tile, const int32_t* window, const Initial& initial,
                                             int32_t* sums) {
  const uint8_t* quads = tile.input + window[0];
  const uint32_t* weights = tile.weights;
  _tile_loadd(0, initial.of_output, kTileBytes);
  for (int t = 0; t < tile.tap_count; t += kTileRows, weights += kTileRows * kTileRows) {
    const auto stride = static_cast<size_t>(tile.taps[t + 1] - tile.taps[t]);
    _tile_loadd(4, weights, kTileBytes);
    _tile_loadd(5, quads + tile.taps[t], stride);
    _tile_dpbsud(0, 4, 5);
  }
  _tile_stored(0, sums, kTileBytes);
}

STEADFAST_AMX STEADFAST_INLINE void StoreFour(int32_t* sums) {
  _tile_stored(0, sums, kTileBytes);
  _tile_stored(1, sums + kTileSums, kTileBytes);
  _tile_stored(2, sums + 2 * kTileSums, kTileBytes);
  _tile_stored(3, sums + 3 * kTileSums, kTileBytes);
}

STEADFAST_AMX STEADFAST_INLINE void SumOfFour(const Tile& tile, const int32_t* window, const Initial& initial,
                                              int32_t* sums) {
  const uint8_t *a = tile.input + window[0], *b = tile.input + window[tile.pool],
                *c = tile.input + window[2 * tile.pool], *d = tile.input + window[3 * tile.pool];
  const uint32_t* weights = tile.weights;
  _tile_loadd(0, initial.of_output, kTileBytes);
  _tile_loadd(1, initial.of_output, kTileBytes);
  _tile_loadd(2, initial.of_output, kTileBytes);
  _tile_loadd(3, initial.of_output, kTileBytes);
  for (int t = 0; t < tile.tap_count; t += kTileRows, weights += kTileRows * kTileRows) {
    const int64_t first = tile.taps[t];
    const auto stride = static_cast<size_t>(tile.taps[t + 1] - first);
    _tile_loadd(4, weights, kTileBytes);
    _tile_loadd(5, a + first, stride);
    _tile_dpbsud(0, 4, 5);
    _tile_loadd(6, b + first, stride);
    _tile_dpbsud(1, 4, 6);
    _tile_loadd(7, c + first, stride);
    _tile_dpbsud(2, 4, 7);
    _tile_loadd(5, d + first, stride);
    _tile_dpbsud(3, 4, 5);
  }
  StoreFour(sums);
}

// The same for more than 16 outputs.
STEADFAST_AMX STEADFAST_INLINE void SumOfOneWide(const Tile& tile, const int32_t* window, const Initial& initial,
                                                 int32_t* sums) {
  const uint8_t* quads = tile.input + window[0];
  const uint32_t* weights = tile.weights;
  _tile_loadd(0, initial.of_output, kTileBytes);
  _tile_loadd(1, initial.of_output + kTileRows, kTileBytes);
  for (int t = 0; t < tile.tap_count; t += kTileRows, weights += 2 * kTileRows * kTileRows) {
    const auto stride = static_cast<size_t>(tile.taps[t + 1] - tile.taps[t]);
    _tile_loadd(6, quads + tile.taps[t], stride);
    _tile_loadd(4, weights, kTileBytes);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(5, weights + kTileRows * kTileRows, kTileBytes);
    _tile_dpbsud(1, 5, 6);
  }
  _tile_stored(0, sums, kTileBytes);
  _tile_stored(1, sums + kTileSums, kTileBytes);
}

STEADFAST_AMX STEADFAST_INLINE void SumOfTwoWide(const Tile& tile, const int32_t* window, const Initial& initial,
                                                 int32_t* sums) {
  const uint8_t *a = tile.input + window[0], *b = tile.input + window[tile.pool];
  const uint32_t* weights = tile.weights;
  _tile_loadd(0, initial.of_output, kTileBytes);
  _tile_loadd(1, initial.of_output + kTileRows, kTileBytes);
  _tile_loadd(2, initial.of_output, kTileBytes);
  _tile_loadd(3, initial.of_output + kTileRows, kTileBytes);
  for (int t = 0; t < tile.tap_count; t += kTileRows, weights += 2 * kTileRows * kTileRows) {
    const int64_t first = tile.taps[t];
    const auto stride = static_cast<size_t>(tile.taps[t + 1] - first);
    _tile_loadd(4, weights, kTileBytes);
    _tile_loadd(6, a + first, stride);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(5, weights + kTileRows * kTileRows, kTileBytes);
    _tile_dpbsud(1, 5, 6);
    _tile_loadd(7, b + first, stride);
    _tile_dpbsud(2, 4, 7);
    _tile_dpbsud(3, 5, 7);
  }
  StoreFour(sums);
}

template <bool kWide>
STEADFAST_AMX STEADFAST_INLINE void SumPlaces(const Tile& tile, const int32_t* window, int places,
                                              const Initial& initial, int32_t* sums) {
  MemoryBarrier();
  if constexpr (kWide) {
    if (places == 2)
      SumOfTwoWide(tile, window, initial, sums);
    else
      SumOfOneWide(tile, window, initial, sums);
  } else if (places == kMostTiles) {
    SumOfFour(tile, window, initial, sums);
  } else {
    for (int p = 0; p < places; ++p) SumOfOne(tile, window + p * tile.pool, initial, sums + p * kTileSums);
  }
  MemoryBarrier();
}

// Of windows that are pooled, the sums that give the largest code.
STEADFAST_AMX STEADFAST_INLINE void TakeBest(const Tile& tile, int places, int stride, const int32_t* sums,
                                             int32_t* best) {
  for (int p = 0; p < places; ++p) {
    for (int o = 0; o < tile.outputs; ++o) {
      const int64_t at = p * stride + o * kSliceImages;
      const Int a = Vector::Load(best + at), b = Vector::Load(sums + at);
      Vector::Store(best + at, tile.falls && tile.scales[o] < 0 ? Vector::Min(a, b) : Vector::Max(a, b));
    }
  }
}

template <bool kWide, Ending kEnding>
STEADFAST_AMX void RunPlacesOf(const Tile& given) {
  constexpr int kTogether = kWide ? 2 : kMostTiles;
  constexpr int kStride = kWide ? 2 * kTileSums : kTileSums;
  const Tile tile = given;  // a copy, which stores of codes do not change
  alignas(64) int32_t sums[2][kMostTiles * kTileSums], of_window[kMostTiles * kTileSums];
  Initial initial;
  for (int o = 0; o < (kWide ? kMostOutputs : kTileRows); ++o)
    Vector::Store(initial.of_output[o], Vector::Set(o < tile.outputs ? tile.corrections[o] : 0));
  using Ended = Finish<kEnding>;
  const int highest = static_cast<int>(tile.range.highest) + tile.range.zero_point;
  const Ended finish =
      Ended::kAdds ? Ended(tile, tile.add->constants.zero_point, tile.add->constants.lowest,
                           tile.add->constants.highest, tile.add->constants.zero_below)
                   : Ended(tile, tile.range.zero_point, tile.range.lowest_code(), highest, tile.range.zero_below);
  // Sums are finished while the tiles compute those of the next places.
  int before = 0;  // places
  for (int place = 0, turn = 0; place < tile.places + kTogether; place += kTogether, turn ^= 1) {
    const int places = std::min(kTogether, tile.places - place);
    const int32_t* windows = tile.windows + static_cast<int64_t>(place) * tile.pool;
    if (places > 0) SumPlaces<kWide>(tile, windows, places, initial, sums[turn]);
    for (int window = 1; window < tile.pool && places > 0; ++window) {
      SumPlaces<kWide>(tile, windows + window, places, initial, of_window);
      TakeBest(tile, places, kStride, of_window, sums[turn]);
    }
    for (int p = 0; p < before; ++p) finish.Place(place - kTogether + p, sums[turn ^ 1] + p * kStride);
    before = places;
  }
}

template <Ending kEnding>
STEADFAST_AMX void RunTo(const Tile& tile) {
  if (tile.outputs > kTileRows)
    RunPlacesOf<true, kEnding>(tile);
  else
    RunPlacesOf<false, kEnding>(tile);
}

// Whether what becomes of any sum is a number within int32.
bool IsBounded(const Tile& tile) {
  for (int o = 0; o < tile.outputs; ++o) {
    if (!(std::abs(tile.scales[o]) <= 0.25f && std::abs(tile.offsets[o]) <= 0x1p29f)) return false;
  }
  return true;
}

STEADFAST_AMX void Run(const Tile& tile) {
  if (tile.sums != nullptr) return RunTo<Ending::kSums>(tile);
  if (tile.add == nullptr) return IsBounded(tile) ? RunTo<Ending::kBounded>(tile) : RunTo<Ending::kClipped>(tile);
  if (tile.add->is_exact) return RunTo<Ending::kExact>(tile);
  return tile.add->can_be_refined ? RunTo<Ending::kRefined>(tile) : RunTo<Ending::kDivided>(tile);
}

}  // namespace amx
}  // namespace

const SliceKernels& AmxSliceKernels() {
  static const SliceKernels kernels = [] {
    SliceKernels set = VnniSliceKernels();
    set.most_outputs = kMostOutputs;
    set.outputs_in_step = kTileRows;
    set.taps_in_step = kTileRows;
    set.pack = PackTiles;
    set.run = amx::Run;
    set.of_few = set.other = &VnniSliceKernels();
    return set;
  }();
  return kernels;
}

}  // namespace steadfast::engine

#endif
