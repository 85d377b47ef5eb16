#include "steadfast/engine/kernels/token_slices.h"

#include "steadfast/engine/kernels/slice_parts.h"  // MakeSliceQuad
#include "steadfast/engine/kernels/token_parts.h"

namespace steadfast::engine {
namespace {

// Levels of a quad in 16 bits; a product of such sums pairs.
STEADFAST_INLINE void WidenQuad(const uint8_t* quad, int zero_point, int16_t* levels) {
  for (int i = 0; i < kSliceQuadBytes; ++i) levels[i] = static_cast<int16_t>(quad[i] - zero_point);
}

// 4 rows and kColumns columns.
template <typename Tile, int kColumns>
STEADFAST_INLINE void RunQuadTile(const int16_t* left, const int16_t* right, const QuadProduct& product, int64_t n,
                                  int64_t quad_of_rows) {
  constexpr int kRows = Tile::kQuadRows, kImages = Tile::kLanes / 2;
  uint8_t codes[4][kColumns][kSliceImages];
  for (int m = 0; m < 4; m += kRows) {
    for (int first = 0; first < 2 * kSliceImages; first += Tile::kLanes) {
      alignas(64) int32_t sums[kRows * kColumns * Tile::kLanes];
      Tile::template Sum<kRows, kColumns>(left + m * product.quads * kSliceQuadBytes + 2 * first, right + 2 * first,
                                          product.quads, kSliceQuadBytes, sums);
      for (int r = 0; r < kRows; ++r) {
        for (int c = 0; c < kColumns; ++c) {
          const int32_t* of_place = sums + (r * kColumns + c) * Tile::kLanes;
          int32_t whole[kImages];
          for (int i = 0; i < kImages; ++i) whole[i] = of_place[2 * i] + of_place[2 * i + 1];
          RequantizeSome<kImages>(whole, product.constants, codes[m + r][c] + first / 2);
        }
      }
    }
  }
  for (int c = 0; c < kColumns; ++c) {
    const uint8_t* rows[4] = {codes[0][c], codes[1][c], codes[2][c], codes[3][c]};
    MakeSliceQuad(rows, product.output[static_cast<size_t>(n + c)] + quad_of_rows * kSliceQuadBytes);
  }
}

template <typename Tile>
STEADFAST_INLINE void QuadProductBody(const QuadProduct& product, Buffer<int16_t>& memory) {
  const auto rows = static_cast<int64_t>(product.left.size()), columns = static_cast<int64_t>(product.right.size());
  const int64_t matrix = product.quads * kSliceQuadBytes;
  memory.resize(static_cast<size_t>((rows + columns) * matrix));
  int16_t *left = memory.data(), *right = left + rows * matrix;
  const auto widen = [&](std::span<const uint8_t* const> from, int zero_point, int16_t* to)
      __attribute__((always_inline)) {
    for (const uint8_t* quads : from) {
      for (int64_t q = 0; q < product.quads; ++q, to += kSliceQuadBytes)
        WidenQuad(quads + q * kSliceQuadBytes, zero_point, to);
    }
  };
  widen(product.left, product.left_zero_point, left);
  widen(product.right, product.right_zero_point, right);
  for (int64_t n = 0; n < columns;) {
    const bool is_whole = n + Tile::kQuadColumns <= columns;
    for (int64_t m = 0; m < rows; m += 4) {
      if (is_whole)
        RunQuadTile<Tile, Tile::kQuadColumns>(left + m * matrix, right + n * matrix, product, n, m / 4);
      else
        RunQuadTile<Tile, 1>(left + m * matrix, right + n * matrix, product, n, m / 4);
    }
    n += is_whole ? Tile::kQuadColumns : 1;
  }
}

void LookUpBody(const uint8_t* table, const uint8_t* codes, uint8_t* to) {
  for (int i = 0; i < kSliceQuadBytes; ++i) to[i] = table[codes[i]];
}

#if defined(__x86_64__)
void Transpose(const uint8_t* const pixels[4], uint8_t* const channels[4]) {
  for (int part = 0; part < kSliceQuadBytes; part += 16) {
    const auto load = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels[i] + part)); };
    const __m128i a = load(0), b = load(1), c = load(2), d = load(3);
    const __m128i ab_low = _mm_unpacklo_epi8(a, b), ab_high = _mm_unpackhi_epi8(a, b);
    const __m128i cd_low = _mm_unpacklo_epi8(c, d), cd_high = _mm_unpackhi_epi8(c, d);
    // Each image's 4 channels, of 4 pixels each.
    const __m128i image0 = _mm_unpacklo_epi16(ab_low, cd_low), image1 = _mm_unpackhi_epi16(ab_low, cd_low);
    const __m128i image2 = _mm_unpacklo_epi16(ab_high, cd_high), image3 = _mm_unpackhi_epi16(ab_high, cd_high);
    const __m128i low01 = _mm_unpacklo_epi32(image0, image1), high01 = _mm_unpackhi_epi32(image0, image1);
    const __m128i low23 = _mm_unpacklo_epi32(image2, image3), high23 = _mm_unpackhi_epi32(image2, image3);
    const auto store = [&](int i, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(channels[i] + part), v); };
    store(0, _mm_unpacklo_epi64(low01, low23));
    store(1, _mm_unpackhi_epi64(low01, low23));
    store(2, _mm_unpacklo_epi64(high01, high23));
    store(3, _mm_unpackhi_epi64(high01, high23));
  }
}
#else
void Transpose(const uint8_t* const pixels[4], uint8_t* const channels[4]) {
  for (int image = 0; image < kSliceImages; ++image) {
    for (int c = 0; c < 4; ++c) {
      for (int p = 0; p < 4; ++p) channels[c][4 * image + p] = pixels[p][4 * image + c];
    }
  }
}
#endif

#define STEADFAST_TOKEN_SLICE_KERNELS(NAME, TILE, TARGET)                                                      \
  struct NAME {                                                                                                \
    TARGET static void Softmax(const uint8_t* input, int64_t quads, const ExponentialTable& exponentials,      \
                               int32_t* numerators, const QuantizeConstants& constants, uint8_t* output) {     \
      SoftmaxBody<TILE, true>(input, quads, kSliceQuadBytes, exponentials.whole.data(), numerators, constants, \
                              output);                                                                         \
    }                                                                                                          \
    TARGET static void Normalize(const uint8_t* input, int64_t quads, int zero_point, double epsilon,          \
                                 const QuantizeConstants& constants, uint8_t* output) {                        \
      NormalizeBody<true>(input, quads, kSliceQuadBytes, zero_point, epsilon, constants, output);              \
    }                                                                                                          \
    TARGET static void Product(const QuadProduct& product, Buffer<int16_t>& memory) {                          \
      QuadProductBody<TILE>(product, memory);                                                                  \
    }                                                                                                          \
    static constexpr TokenSliceKernels kKernels = {Softmax, Normalize, Product, Transpose, LookUpBody};        \
  };

STEADFAST_TOKEN_SLICE_KERNELS(PlainQuads, PlainTile, )
#if defined(__x86_64__)
STEADFAST_TOKEN_SLICE_KERNELS(Avx2Quads, Avx2Tile, STEADFAST_AVX2)
STEADFAST_TOKEN_SLICE_KERNELS(Avx512Quads, Avx512Tile, STEADFAST_AVX512)

// With VNNI: a quad is one operand of a 4-way product, and a register holds 16 images' sums.
struct VnniQuads {
  STEADFAST_VNNI STEADFAST_INLINE static __m512i Load(const void* from) { return _mm512_loadu_si512(from); }

  // From steps, counted from the zero point, in 4 registers to codes in one: 4 dwords of each register make 16 bytes.
  struct Ending {
    __m512i zero_point, lowest, highest, zero_below;
    STEADFAST_VNNI STEADFAST_INLINE Ending(int zero, int low, int high, int below)
        : zero_point(_mm512_set1_epi16(static_cast<int16_t>(zero))),
          lowest(_mm512_set1_epi8(static_cast<char>(low))),
          highest(_mm512_set1_epi8(static_cast<char>(below > high ? low : high))),
          zero_below(_mm512_set1_epi8(static_cast<char>(below > high ? 0 : below))) {}
    STEADFAST_VNNI STEADFAST_INLINE __m512i Codes(__m512i a, __m512i b, __m512i c, __m512i d) const {
      const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
      const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero_point);
      const __m512i codes = _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(ab, cd), lowest), highest);
      return _mm512_mask_mov_epi8(codes, _mm512_cmplt_epu8_mask(codes, zero_below), lowest);
    }
  };

  // What model::CodeOfSteps clips and rounds.
  STEADFAST_VNNI STEADFAST_INLINE static __m512i Steps(__m512 value) {
    const __m512 clipped = _mm512_min_ps(_mm512_max_ps(value, _mm512_set1_ps(-1024)), _mm512_set1_ps(1024));
    return _mm512_cvtps_epi32(clipped);
  }

  template <int kColumns>
  STEADFAST_VNNI STEADFAST_INLINE static void RunTile(const QuadProduct& product, const int8_t* right,
                                                      const int32_t* of_rows, const int32_t* of_columns, int64_t m,
                                                      int64_t n, const Ending& ending) {
    __m512i total[4][kColumns];
    _Pragma("GCC unroll 4") for (int r = 0; r < 4; ++r) {
      _Pragma("GCC unroll 4") for (int c = 0; c < kColumns; ++c) total[r][c] =
          _mm512_add_epi32(Load(of_rows + (m + r) * kSliceImages), Load(of_columns + (n + c) * kSliceImages));
    }
    const uint8_t* left[4];
    for (int r = 0; r < 4; ++r) left[r] = product.left[static_cast<size_t>(m + r)];
    const int8_t* columns_here = right + n * product.quads * kSliceQuadBytes;
    for (int64_t q = 0; q < product.quads; ++q) {
      __m512i b[kColumns];
      _Pragma("GCC unroll 4") for (int c = 0; c < kColumns; ++c) b[c] =
          Load(columns_here + (c * product.quads + q) * kSliceQuadBytes);
      _Pragma("GCC unroll 4") for (int r = 0; r < 4; ++r) {
        const __m512i a = Load(left[r] + q * kSliceQuadBytes);
        _Pragma("GCC unroll 4") for (int c = 0; c < kColumns; ++c) total[r][c] =
            _mm512_dpbusd_epi32(total[r][c], a, b[c]);
      }
    }
    const __m512 scale = _mm512_set1_ps(product.constants.scale);
    const __m512 lowest = _mm512_set1_ps(product.constants.lowest), highest = _mm512_set1_ps(product.constants.highest);
    // Bytes of a lane: [row][image]; wanted: [image][row].
    const __m512i turned = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    _Pragma("GCC unroll 4") for (int c = 0; c < kColumns; ++c) {
      __m512i steps[4];
      _Pragma("GCC unroll 4") for (int r = 0; r < 4; ++r) {
        const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(total[r][c]), scale);
        steps[r] = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(value, lowest), highest));
      }
      const __m512i codes = ending.Codes(steps[0], steps[1], steps[2], steps[3]);
      _mm512_storeu_si512(product.output[static_cast<size_t>(n + c)] + m / 4 * kSliceQuadBytes,
                          _mm512_shuffle_epi8(codes, turned));
    }
  }

  // The sum of (a - za)(b - zb) is that of a (b - 128), less (zb - 128) times that of a, less za times that of
  // (b - 128) - (zb - 128).
  STEADFAST_VNNI static void Product(const QuadProduct& product, Buffer<int16_t>& memory) {
    const auto rows = static_cast<int64_t>(product.left.size()), columns = static_cast<int64_t>(product.right.size());
    const int64_t quads = product.quads;
    memory.resize(static_cast<size_t>(columns * quads * kSliceQuadBytes / 2 + 2 * (rows + columns) * kSliceImages));
    auto* of_rows = reinterpret_cast<int32_t*>(memory.data());
    int32_t* of_columns = of_rows + rows * kSliceImages;
    auto* right = reinterpret_cast<int8_t*>(of_columns + columns * kSliceImages);
    const __m512i ones = _mm512_set1_epi8(1), half = _mm512_set1_epi8(-128);
    const __m512i of_row = _mm512_set1_epi32(128 - product.right_zero_point);
    for (int64_t m = 0; m < rows; ++m) {
      __m512i sum = _mm512_setzero_si512();
      for (int64_t q = 0; q < quads; ++q)
        sum = _mm512_dpbusd_epi32(sum, Load(product.left[static_cast<size_t>(m)] + q * kSliceQuadBytes), ones);
      _mm512_storeu_si512(of_rows + m * kSliceImages, _mm512_mullo_epi32(sum, of_row));
    }
    const __m512i of_column = _mm512_set1_epi32(-product.left_zero_point);
    const __m512i most = _mm512_set1_epi32(static_cast<int32_t>(4 * quads) * (product.right_zero_point - 128));
    for (int64_t n = 0; n < columns; ++n) {
      __m512i sum = _mm512_setzero_si512();
      for (int64_t q = 0; q < quads; ++q) {
        const __m512i less = _mm512_xor_si512(Load(product.right[static_cast<size_t>(n)] + q * kSliceQuadBytes), half);
        sum = _mm512_dpbusd_epi32(sum, ones, less);
        _mm512_storeu_si512(right + (n * quads + q) * kSliceQuadBytes, less);
      }
      _mm512_storeu_si512(of_columns + n * kSliceImages, _mm512_mullo_epi32(_mm512_sub_epi32(sum, most), of_column));
    }
    const RequantizeConstants& c = product.constants;
    const Ending ending(c.zero_point, c.lowest_code(), static_cast<int>(c.highest) + c.zero_point, c.zero_below);
    for (int64_t n = 0; n < columns;) {
      const bool is_whole = n + 4 <= columns;
      for (int64_t m = 0; m < rows; m += 4) {
        if (is_whole)
          RunTile<4>(product, right, of_rows, of_columns, m, n, ending);
        else
          RunTile<1>(product, right, of_rows, of_columns, m, n, ending);
      }
      n += is_whole ? 4 : 1;
    }
  }

  // Dwords of which each lane has 4 of one image, as 4 registers for images 0 to 3 of the lane: those of a quad's
  // bytes.
  STEADFAST_VNNI STEADFAST_INLINE static void Widen(__m512i b0, __m512i b1, __m512i b2, __m512i* into) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = _mm512_unpacklo_epi8(b0, b1), high = _mm512_unpackhi_epi8(b0, b1);
    const __m512i low2 = _mm512_unpacklo_epi8(b2, zero), high2 = _mm512_unpackhi_epi8(b2, zero);
    into[0] = _mm512_unpacklo_epi16(low, low2);
    into[1] = _mm512_unpackhi_epi16(low, low2);
    into[2] = _mm512_unpacklo_epi16(high, high2);
    into[3] = _mm512_unpackhi_epi16(high, high2);
  }
  // From [image] to such registers, each filled with its image's number.
  STEADFAST_VNNI STEADFAST_INLINE static void Spread(__m512 of_images, __m512* into) {
    into[0] = _mm512_permute_ps(of_images, 0x00);
    into[1] = _mm512_permute_ps(of_images, 0x55);
    into[2] = _mm512_permute_ps(of_images, 0xAA);
    into[3] = _mm512_permute_ps(of_images, 0xFF);
  }
  STEADFAST_VNNI STEADFAST_INLINE static __m512 Joined(__m512d low, __m512d high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
  }
  STEADFAST_VNNI STEADFAST_INLINE static __m512d Low(__m512i v) {
    return _mm512_cvtepi32_pd(_mm512_castsi512_si256(v));
  }
  STEADFAST_VNNI STEADFAST_INLINE static __m512d High(__m512i v) {
    return _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(v, 1));
  }

  // All numbers up to the inverse deviations are whole and below 2^53, so doubles are exact.
  STEADFAST_VNNI static void Normalize(const uint8_t* input, int64_t quads, int zero_point, double epsilon,
                                       const QuantizeConstants& constants, uint8_t* output) {
    const __m512i zero = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    __m512i sum = zero, low_squares = zero, high_squares = zero;
    const __m512i from_zero = _mm512_set1_epi16(static_cast<int16_t>(zero_point));
    for (int64_t q = 0; q < quads; ++q) {
      const __m512i codes = Load(input + q * kSliceQuadBytes);
      sum = _mm512_dpbusd_epi32(sum, codes, ones);
      const __m512i low = _mm512_sub_epi16(_mm512_unpacklo_epi8(codes, zero), from_zero);
      const __m512i high = _mm512_sub_epi16(_mm512_unpackhi_epi8(codes, zero), from_zero);
      low_squares = _mm512_dpwssd_epi32(low_squares, low, low);
      high_squares = _mm512_dpwssd_epi32(high_squares, high, high);
    }
    const auto channels = static_cast<int32_t>(4 * quads);
    const __m512i levels = _mm512_sub_epi32(sum, _mm512_set1_epi32(channels * zero_point));
    // Two sums an image, side by side.
    const auto folded = [&](__m512i v) STEADFAST_VNNI {
      return _mm512_castsi512_ps(_mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB)));
    };
    const __m512i squares = _mm512_castps_si512(_mm512_shuffle_ps(folded(low_squares), folded(high_squares), 0x88));
    const __m512d count = _mm512_set1_pd(channels), rest = _mm512_set1_pd(epsilon);
    const __m512d scale = _mm512_set1_pd(double{constants.scale}), one = _mm512_set1_pd(1);
    const auto inverse = [&](__m512d of_squares, __m512d of_levels) STEADFAST_VNNI {
      const __m512d spread = _mm512_sub_pd(_mm512_mul_pd(count, of_squares), _mm512_mul_pd(of_levels, of_levels));
      return _mm512_div_pd(one, _mm512_mul_pd(_mm512_sqrt_pd(_mm512_add_pd(spread, rest)), scale));
    };
    __m512 inverses[4], bases[4];
    Spread(Joined(inverse(Low(squares), Low(levels)), inverse(High(squares), High(levels))), inverses);
    Spread(_mm512_cvtepi32_ps(sum), bases);  // levels less their mean are codes less theirs
    const __m512 factor = _mm512_set1_ps(static_cast<float>(channels));
    const Ending ending(constants.zero_point, constants.lowest, constants.highest, constants.zero_below);
    for (int64_t q = 0; q < quads; ++q) {
      __m512i values[4];
      Widen(Load(input + q * kSliceQuadBytes), zero, zero, values);
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
        const __m512 centered = _mm512_fmsub_ps(_mm512_cvtepi32_ps(values[i]), factor, bases[i]);  // whole, below 2^24
        values[i] = Steps(_mm512_mul_ps(centered, inverses[i]));
      }
      _mm512_storeu_si512(output + q * kSliceQuadBytes, ending.Codes(values[0], values[1], values[2], values[3]));
    }
  }

  // look_up: of 64 distances, their exponentials, as Widen gives them: a lane of 4 images has 4 registers, of which
  // register i holds those of image i side by side.
  template <typename LookUp>
  STEADFAST_VNNI STEADFAST_INLINE static void SoftmaxBy(const LookUp& look_up, const uint8_t* input, int64_t quads,
                                                        int32_t* numerators, const QuantizeConstants& constants,
                                                        uint8_t* output) {
    __m512i largest = Load(input);
    for (int64_t q = 1; q < quads; ++q) largest = _mm512_max_epu8(largest, Load(input + q * kSliceQuadBytes));
    largest = _mm512_max_epu8(largest, _mm512_rol_epi32(largest, 16));
    largest = _mm512_max_epu8(largest, _mm512_rol_epi32(largest, 8));
    __m512i sums[4];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    for (int64_t q = 0; q < quads; ++q) {
      __m512i looked_up[4];
      look_up(_mm512_sub_epi8(largest, Load(input + q * kSliceQuadBytes)), looked_up);
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
        sums[i] = _mm512_add_epi32(sums[i], looked_up[i]);
        _mm512_storeu_si512(numerators + q * kSliceQuadBytes + i * kSliceImages, looked_up[i]);
      }
    }
    __m512i of_images = _mm512_setzero_si512();
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
      const __m512i pairs = _mm512_add_epi32(sums[i], _mm512_shuffle_epi32(sums[i], _MM_PERM_CDAB));
      const __m512i all = _mm512_add_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
      of_images = _mm512_mask_mov_epi32(of_images, static_cast<__mmask16>(0x1111 << i), all);
    }
    const __m512d scale = _mm512_set1_pd(double{constants.scale}), one = _mm512_set1_pd(1);
    const auto inverse = [&](__m512d sum) STEADFAST_VNNI { return _mm512_div_pd(one, _mm512_mul_pd(sum, scale)); };
    __m512 inverses[4];
    Spread(Joined(inverse(Low(of_images)), inverse(High(of_images))), inverses);
    const Ending ending(constants.zero_point, constants.lowest, constants.highest, constants.zero_below);
    for (int64_t q = 0; q < quads; ++q) {
      __m512i values[4];
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; ++i) {
        const __m512 numerator = _mm512_cvtepi32_ps(Load(numerators + q * kSliceQuadBytes + i * kSliceImages));
        values[i] = Steps(_mm512_mul_ps(numerator, inverses[i]));
      }
      _mm512_storeu_si512(output + q * kSliceQuadBytes, ending.Codes(values[0], values[1], values[2], values[3]));
    }
  }

  STEADFAST_VNNI static void Softmax(const uint8_t* input, int64_t quads, const ExponentialTable& exponentials,
                                     int32_t* numerators, const QuantizeConstants& constants, uint8_t* output) {
    const auto look_up = [&](__m512i distances, __m512i* into) STEADFAST_VNNI {
      const __m512i zero = _mm512_setzero_si512();
      Widen(distances, zero, zero, into);
      for (int i = 0; i < 4; ++i) into[i] = _mm512_i32gather_epi32(into[i], exponentials.whole.data(), 4);
    };
    SoftmaxBy(look_up, input, quads, numerators, constants, output);
  }

  static constexpr TokenSliceKernels kKernels = {Softmax, Normalize, Product, Transpose, LookUpBody};
};

// Tables of 256 bytes in registers.
#define STEADFAST_VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")))
struct VbmiQuads {
  struct Table {
    __m512i parts[4];
    STEADFAST_VBMI STEADFAST_INLINE explicit Table(const uint8_t* bytes) {
      for (int i = 0; i < 4; ++i) parts[i] = _mm512_loadu_si512(bytes + 64 * i);
    }
    STEADFAST_VBMI STEADFAST_INLINE __m512i Of(__m512i codes) const {
      const __m512i low = _mm512_permutex2var_epi8(parts[0], codes, parts[1]);
      const __m512i high = _mm512_permutex2var_epi8(parts[2], codes, parts[3]);
      return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(codes), high);
    }
  };

  STEADFAST_VBMI static void Softmax(const uint8_t* input, int64_t quads, const ExponentialTable& exponentials,
                                     int32_t* numerators, const QuantizeConstants& constants, uint8_t* output) {
    const Table low(exponentials.bytes[0].data()), middle(exponentials.bytes[1].data()),
        high(exponentials.bytes[2].data());
    const auto look_up = [&](__m512i distances, __m512i* into) STEADFAST_VBMI {
      VnniQuads::Widen(low.Of(distances), middle.Of(distances), high.Of(distances), into);
    };
    VnniQuads::SoftmaxBy(look_up, input, quads, numerators, constants, output);
  }
  STEADFAST_VBMI static void LookUp(const uint8_t* table, const uint8_t* codes, uint8_t* to) {
    _mm512_storeu_si512(to, Table(table).Of(_mm512_loadu_si512(codes)));
  }

  static constexpr TokenSliceKernels kKernels = {Softmax, VnniQuads::Normalize, VnniQuads::Product, Transpose, LookUp};
};
#endif

}  // namespace

const TokenSliceKernels& TokenSliceKernelsOf(InstructionSet set, bool with_byte_tables) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAmx || set == InstructionSet::kAvx512Vnni)
    return with_byte_tables && __builtin_cpu_supports("avx512vbmi") ? VbmiQuads::kKernels : VnniQuads::kKernels;
  if (set == InstructionSet::kAvx512) return Avx512Quads::kKernels;
  if (set == InstructionSet::kAvx2 || set == InstructionSet::kAvxVnni) return Avx2Quads::kKernels;
#endif
  (void)set, (void)with_byte_tables;
  return PlainQuads::kKernels;
}

}  // namespace steadfast::engine
