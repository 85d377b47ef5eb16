#include "steadfast/engine/kernels/tokens.h"

#include "steadfast/engine/kernels/token_parts.h"

namespace steadfast::engine {
namespace {

STEADFAST_INLINE void MultiplyRowsBody(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,
                                       const OperandConstants& of_b, const QuantizeConstants& constants, uint8_t* row) {
  for (int i = 0; i < kRowBytes; ++i) {
    const float x = static_cast<float>(a[i] - of_a.zero_point) * of_a.scale;
    const float y = static_cast<float>(b[i] - of_b.zero_point) * of_b.scale;
    row[i] = CodeOfSteps(x * y / constants.scale, constants);
  }
}

template <typename Tile, int kRows, int kColumns>
STEADFAST_INLINE void RunTile(const int16_t* left, const int16_t* right, int64_t pairs,
                              const RequantizeConstants& constants, uint8_t* const* output, int64_t place) {
  alignas(64) int32_t sums[kRows * kColumns * Tile::kLanes];
  Tile::template Sum<kRows, kColumns>(left, right, pairs, 2 * kRowBytes, sums);
  for (int m = 0; m < kRows; ++m) {
    for (int n = 0; n < kColumns; ++n)
      RequantizeSome<Tile::kLanes>(sums + (m * kColumns + n) * Tile::kLanes, constants,
                                   output[m] + place + n * kRowBytes);
  }
}

// Some images after the other, so that what is read again and again stays in the nearest cache.
template <typename Tile>
STEADFAST_INLINE void ProductBody(const int16_t* left, int64_t rows, const int16_t* right, int64_t columns,
                                  int64_t pairs, const RequantizeConstants& constants, uint8_t* const* output) {
  const int64_t matrix = pairs * 2 * kRowBytes;
  for (int first = 0; first < kRowBytes; first += Tile::kLanes) {
    int64_t m = 0;
    const auto row_of_tiles = [&](auto rows_at_once) __attribute__((always_inline)) {
      constexpr int kRows = decltype(rows_at_once)::value;
      const int16_t* a = left + m * matrix + 2 * first;
      int64_t n = 0;
      for (; n + Tile::kMostColumns <= columns; n += Tile::kMostColumns)
        RunTile<Tile, kRows, Tile::kMostColumns>(a, right + n * matrix + 2 * first, pairs, constants, output + m,
                                                 n * kRowBytes + first);
      for (; n < columns; ++n)
        RunTile<Tile, kRows, 1>(a, right + n * matrix + 2 * first, pairs, constants, output + m, n * kRowBytes + first);
      m += kRows;
    };
    while (m + Tile::kMostRows <= rows) row_of_tiles(std::integral_constant<int, Tile::kMostRows>());
    while (m < rows) row_of_tiles(std::integral_constant<int, 1>());
  }
}

#define STEADFAST_TOKEN_KERNELS(NAME, TILE, TARGET)                                                                   \
  struct NAME {                                                                                                       \
    TARGET static void PairRows(const uint8_t* row, const uint8_t* second, int zero_point, int16_t* pairs) {          \
      PairRowsBody(row, second, zero_point, pairs);                                                                   \
    }                                                                                                                 \
    TARGET static void Product(const int16_t* left, int64_t rows, const int16_t* right, int64_t columns,              \
                               int64_t pairs, const RequantizeConstants& constants, uint8_t* const* output) {         \
      ProductBody<TILE>(left, rows, right, columns, pairs, constants, output);                                        \
    }                                                                                                                 \
    TARGET static void Softmax(const uint8_t* input, int64_t terms, int64_t stride, const int32_t* exponentials,      \
                               int32_t* numerators, const QuantizeConstants& constants, uint8_t* output) {            \
      SoftmaxBody<TILE, false>(input, terms, stride, exponentials, numerators, constants, output);                    \
    }                                                                                                                 \
    TARGET static void Normalize(const uint8_t* input, int64_t channels, int64_t stride, int zero_point,              \
                                 double epsilon, const QuantizeConstants& constants, uint8_t* output) {               \
      NormalizeBody<false>(input, channels, stride, zero_point, epsilon, constants, output);                          \
    }                                                                                                                 \
    TARGET static void MultiplyRows(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,                 \
                                    const OperandConstants& of_b, const QuantizeConstants& constants, uint8_t* row) { \
      MultiplyRowsBody(a, of_a, b, of_b, constants, row);                                                             \
    }                                                                                                                 \
    static constexpr TokenKernels kKernels = {PairRows, Product, Softmax, Normalize, MultiplyRows};                   \
  };

STEADFAST_TOKEN_KERNELS(Plain, PlainTile, )
#if defined(__x86_64__)
STEADFAST_TOKEN_KERNELS(Avx2, Avx2Tile, STEADFAST_AVX2)
STEADFAST_TOKEN_KERNELS(Avx512, Avx512Tile, STEADFAST_AVX512)
STEADFAST_TOKEN_KERNELS(Vnni, VnniTile, STEADFAST_VNNI)
#endif

}  // namespace

const TokenKernels& TokenKernelsOf(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAmx || set == InstructionSet::kAvx512Vnni) return Vnni::kKernels;
  if (set == InstructionSet::kAvx512) return Avx512::kKernels;
  if (set == InstructionSet::kAvx2 || set == InstructionSet::kAvxVnni) return Avx2::kKernels;
#endif
  (void)set;
  return Plain::kKernels;
}

}  // namespace steadfast::engine
