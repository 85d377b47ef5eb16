/* Steadfast: quantized networks on small machines, in C99 without heap, operating system or libm.
 *
 * Values are codes of one byte, [channels][height][width]; level = code - zero point. All operators give the codes that
 * Steadfast's engine gives, bit for bit. That takes IEEE 754 arithmetic in which every operation is rounded to its
 * type: no contraction (-ffp-contract=off), no -ffast-math.
 */
#ifndef STEADFAST_DEVICE_H
#define STEADFAST_DEVICE_H

#include <float.h>
#include <stdint.h>

#if FLT_EVAL_METHOD != 0
#error "floats must be evaluated as floats: -msse2 -mfpmath=sse on x86 of 32 bits"
#endif
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || DBL_MANT_DIG != 53
#error "float and double must be IEEE 754's of 32 and 64 bits"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes results"
#endif

/* What the stored bits are declared as. Define it as nothing to have them in memory that can be written. */
#ifndef STEADFAST_MEMORY
#define STEADFAST_MEMORY const
#endif

typedef struct {
  int32_t channels, height, width;
} steadfast_shape;

typedef struct {
  int16_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
} steadfast_window;

/* ---- what is stored ---- */

enum { STEADFAST_CODES, STEADFAST_INT32, STEADFAST_FLOAT32, STEADFAST_FLOAT16, STEADFAST_BFLOAT16 };

/* An array of elements as memory holds it: in words of 32 bits, each with as many whole elements as fit, the first in
 * the lowest bits. */
typedef struct steadfast_parameter {
  STEADFAST_MEMORY uint32_t* words;
  uint8_t kind, bits, is_signed; /* codes: in two's complement if they are signed */
  int16_t multiplier, offset;    /* of codes: level = multiplier * code + offset */
  int32_t elements;
  const struct steadfast_parameter* scale; /* of int32 constants; else 0 */
} steadfast_parameter;

uint32_t steadfast_bits(const steadfast_parameter* parameter, int32_t element);
int32_t steadfast_level(const steadfast_parameter* parameter, int32_t element);
int32_t steadfast_integer(const steadfast_parameter* parameter, int32_t element);
float steadfast_real(const steadfast_parameter* parameter, int32_t element);

/* ---- from sums to codes ---- */

/* A factor as TFLite has it: multiplier * 2^(shift - 31). */
typedef struct {
  int32_t multiplier, shift;
} steadfast_fixed;

steadfast_fixed steadfast_fixed_of(double factor);
int32_t steadfast_rounded_once(int32_t number, steadfast_fixed scale);
int32_t steadfast_rounded_twice(int32_t number, steadfast_fixed scale);

/* Codes of a result, and what clips them. */
typedef struct {
  float scale;
  int16_t zero_point, lowest, highest; /* codes */
  int16_t zero_below;                  /* codes below become the lowest; 0: none */
  int16_t stored_offset;               /* what the file adds to codes */
} steadfast_range;

/* One step behind a weighted sum, by stored constants: one an output, or one for all. */
enum { STEADFAST_MULTIPLY, STEADFAST_ADD, STEADFAST_NORMALIZE };
typedef struct {
  uint8_t kind;
  const steadfast_parameter* first;                  /* the factor, the term, or gamma */
  const steadfast_parameter *beta, *mean, *variance; /* of a normalization */
  double epsilon;
} steadfast_step;

/* How an output's factor is made: in double with the steps folded (ONNX); in float; as a fixed-point number that rounds
 * once or twice, its product in double, or of fully connected layers in float. */
enum {
  STEADFAST_FOLDED,
  STEADFAST_FLOAT,
  STEADFAST_ONCE,
  STEADFAST_ONCE_FLOAT,
  STEADFAST_TWICE,
  STEADFAST_TWICE_FLOAT
};
typedef struct {
  float scale, offset, divisor; /* real = sum * scale / divisor + offset, in steps of the output */
  int32_t addend;               /* added to the sum before all else */
  steadfast_fixed fixed;
  uint8_t rule;
} steadfast_factor;

uint8_t steadfast_requantize(int32_t sum, const steadfast_factor* factor, const steadfast_range* range);
float steadfast_real_of(int32_t sum, const steadfast_factor* factor);
/* Of a real number that was divided by the scale; with the zero point added behind the rounding, or before it. */
uint8_t steadfast_code_of(float steps, const steadfast_range* range);
uint8_t steadfast_code_with_zero(float steps, const steadfast_range* range);
uint8_t steadfast_clipped(int64_t code, const steadfast_range* range);

/* Correctly rounded. */
double steadfast_root(double x);

/* ---- operators ---- */

/* A convolution, or a fully connected layer: one of 1 x 1 on an input of 1 x 1. Element (o, c, y, x) of the weights is
 * o * output_stride + c * channel_stride + y * row_stride + x * column_stride. */
typedef struct {
  steadfast_shape in, out;
  steadfast_window window;
  int32_t groups;
  const steadfast_parameter *weight, *weight_scale;
  int32_t output_stride, channel_stride, row_stride, column_stride;
  uint8_t rule;
  const steadfast_parameter* addend; /* int32, 0: none */
  const steadfast_step* steps;
  int32_t step_count;
  float input_scale;
  int16_t input_zero;
  steadfast_range range; /* scale 1 where the output is real */
} steadfast_weighted;
/* Gives codes, or real numbers where `reals` is not 0. levels: room for the products of one output. */
void steadfast_weighted_sum(const steadfast_weighted* layer, const uint8_t* input, uint8_t* codes, float* reals,
                            int16_t* levels);

/* Of real numbers, with the zero point added behind the rounding or before it; of levels by factors a and b as XNNPACK
 * has it; or in fixed point. */
enum { STEADFAST_ADD_REAL, STEADFAST_ADD_REAL_ZERO, STEADFAST_ADD_INTEGER, STEADFAST_ADD_FIXED };
typedef struct {
  uint8_t rule;
  int32_t elements;
  float scale_a, scale_b;
  int16_t zero_a, zero_b;
  int32_t a, b, shift;
  steadfast_fixed of_a, of_b, of_sum;
  steadfast_range range;
} steadfast_addition;
void steadfast_add(const steadfast_addition* add, const uint8_t* a, const uint8_t* b, uint8_t* codes);

/* second_elements: of the first, so many share an element of the second. */
enum { STEADFAST_MULTIPLY_REAL, STEADFAST_MULTIPLY_REAL_ZERO, STEADFAST_MULTIPLY_LEVELS, STEADFAST_MULTIPLY_FIXED };
typedef struct {
  uint8_t rule;
  int32_t elements, sharing;
  float scale_a, scale_b, factor;
  int16_t zero_a, zero_b;
  steadfast_fixed fixed;
  steadfast_range range;
} steadfast_multiplication;
void steadfast_multiply(const steadfast_multiplication* multiply, const uint8_t* a, const uint8_t* b, uint8_t* codes);

void steadfast_max_pool(const steadfast_shape* in, const steadfast_shape* out, const steadfast_window* window,
                        const uint8_t* input, uint8_t* codes);

/* A mean over a window: a sum of levels, requantized; of real numbers; of codes, half rounded away from zero; or over
 * all positions as TFLite has it: in float, or in fixed point. */
enum { STEADFAST_MEAN_LEVELS, STEADFAST_MEAN_REAL, STEADFAST_MEAN_CODES, STEADFAST_MEAN_FLOAT, STEADFAST_MEAN_FIXED };
typedef struct {
  uint8_t rule;
  steadfast_shape in, out;
  steadfast_window window;
  int32_t count; /* what a sum of real numbers is divided by */
  float scale;   /* of the input */
  int16_t input_zero, input_offset;
  steadfast_factor factor; /* of levels; of the mean in float: scale and offset */
  steadfast_fixed fixed;
  int32_t less, bias; /* of the mean in fixed point */
  steadfast_range range;
} steadfast_mean;
void steadfast_average_pool(const steadfast_mean* mean, const uint8_t* input, uint8_t* codes);

/* A function of each code. table 0: the codes themselves. */
void steadfast_table(const uint8_t* table, int32_t elements, const uint8_t* input, uint8_t* codes);

/* Element i is element from[i] of the input. */
void steadfast_rearrange(const int32_t* from, int32_t elements, const uint8_t* input, uint8_t* codes);

/* Products of matrices, group by group. */
typedef struct {
  int32_t groups, rows, inner, columns;
  uint8_t transposed_left;
  int16_t zero_a, zero_b;
  steadfast_factor factor;
  steadfast_range range;
} steadfast_product;
void steadfast_multiply_matrices(const steadfast_product* product, const uint8_t* a, const uint8_t* b, uint8_t* codes);

/* Of integer exponentials (of distances to the largest code, or where `falls` to the smallest), or of float ones as
 * ONNX Runtime or TFLite has them. */
enum { STEADFAST_SOFTMAX, STEADFAST_SOFTMAX_ORT, STEADFAST_SOFTMAX_TFLITE };
typedef struct {
  uint8_t rule, falls;
  int32_t groups, terms, positions;
  const int32_t* integers; /* [256] */
  const float* floats;     /* [256] */
  steadfast_range range;
} steadfast_softmax;
void steadfast_apply_softmax(const steadfast_softmax* softmax, const uint8_t* input, uint8_t* codes);

typedef struct {
  int32_t channels, positions;
  int16_t input_zero;
  double epsilon; /* times the square of channels / scale */
  steadfast_range range;
} steadfast_normalization;
void steadfast_normalize(const steadfast_normalization* normalization, const uint8_t* input, uint8_t* codes);

/* An input as a file has it, as codes in the order of channels. */
void steadfast_take_input(const steadfast_shape* shape, int channels_last, int offset, const uint8_t* input,
                          uint8_t* codes);

#endif
