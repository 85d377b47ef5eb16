/* Products of matrices of codes. */
#include "steadfast_device.h"

void steadfast_multiply_matrices(const steadfast_product *product, const uint8_t *a, const uint8_t *b, uint8_t *codes) {
  int32_t g, m, n, k;
  for (g = 0; g < product->groups; ++g) {
    for (m = 0; m < product->rows; ++m) {
      for (n = 0; n < product->columns; ++n) {
        int32_t sum = 0;
        for (k = 0; k < product->inner; ++k) {
          const int32_t left = product->transposed_left ? k * product->rows + m : m * product->inner + k;
          sum += ((int32_t)a[left] - product->zero_a) * ((int32_t)b[k * product->columns + n] - product->zero_b);
        }
        *codes++ = steadfast_requantize(sum, &product->factor, &product->range);
      }
    }
    a += product->rows * product->inner;
    b += product->inner * product->columns;
  }
}
