/* A function of each code, and codes that are moved. */
#include "steadfast_device.h"

void steadfast_table(const uint8_t *table, int32_t elements, const uint8_t *input, uint8_t *codes) {
  int32_t i;
  for (i = 0; i < elements; ++i) codes[i] = table == 0 ? input[i] : table[input[i]];
}

void steadfast_rearrange(const int32_t *from, int32_t elements, const uint8_t *input, uint8_t *codes) {
  int32_t i;
  for (i = 0; i < elements; ++i) codes[i] = input[from[i]];
}

void steadfast_take_input(const steadfast_shape *shape, int channels_last, int offset, const uint8_t *input,
                          uint8_t *codes) {
  const int32_t positions = shape->height * shape->width;
  int32_t c, p;
  for (c = 0; c < shape->channels; ++c) {
    for (p = 0; p < positions; ++p) {
      const int32_t from = channels_last ? p * shape->channels + c : c * positions + p;
      *codes++ = (uint8_t)(input[from] - offset);
    }
  }
}
