/* Layer normalization over channels, at each position. */
#include "steadfast_device.h"

void steadfast_normalize(const steadfast_normalization *normalization, const uint8_t *input, uint8_t *codes) {
  const int32_t channels = normalization->channels, positions = normalization->positions;
  int32_t p, c;
  for (p = 0; p < positions; ++p) {
    int64_t sum = 0, squares = 0, spread;
    float inverse;
    for (c = 0; c < channels; ++c) {
      const int64_t level = input[p + c * positions] - normalization->input_zero;
      sum += level;
      squares += level * level;
    }
    spread = channels * squares - sum * sum;
    inverse = (float)(1.0 / (steadfast_root((double)spread + normalization->epsilon) *
                             (double)normalization->range.scale));
    for (c = 0; c < channels; ++c) {
      const int64_t centered = channels * ((int64_t)input[p + c * positions] - normalization->input_zero) - sum;
      codes[p + c * positions] = steadfast_code_of((float)centered * inverse, &normalization->range);
    }
  }
}
