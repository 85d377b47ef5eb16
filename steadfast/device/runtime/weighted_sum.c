/* Convolutions and fully connected layers. What becomes of a sum is made from what memory holds each time, so that a
 * fault in any stored bit has the effect it has in Steadfast's engine. */
#include "steadfast_device.h"

static double constant(const steadfast_parameter *parameter, int32_t output) {
  const int32_t i = parameter->elements == 1 ? 0 : output;
  if (parameter->scale == 0) return (double)steadfast_real(parameter, i);
  {
    const float scale = steadfast_real(parameter->scale, parameter->scale->elements == 1 ? 0 : output);
    const float number = (float)steadfast_integer(parameter, i);
    return (double)(number * scale);
  }
}

static void fold(const steadfast_weighted *layer, int32_t output, float weight_scale, steadfast_factor *factor) {
  double multiplier = 1, bias = 0;
  float rounded_multiplier, rounded_bias;
  int32_t i;
  for (i = 0; i < layer->step_count; ++i) {
    const steadfast_step *step = &layer->steps[i];
    const double first = constant(step->first, output);
    if (step->kind == STEADFAST_NORMALIZE) {
      const double gain = first / steadfast_root(constant(step->variance, output) + step->epsilon);
      multiplier *= gain;
      bias = (bias - constant(step->mean, output)) * gain + constant(step->beta, output);
    } else if (step->kind == STEADFAST_ADD) {
      bias += first;
    } else {
      multiplier *= first;
      bias *= first;
    }
  }
  rounded_multiplier = (float)multiplier;
  rounded_bias = (float)bias;
  factor->scale = (float)((double)layer->input_scale * (double)(weight_scale / (float)layer->weight->multiplier) *
                          (double)rounded_multiplier / (double)layer->range.scale);
  factor->offset = (float)((double)rounded_bias / (double)layer->range.scale);
}

static void make_factor(const steadfast_weighted *layer, int32_t output, steadfast_factor *factor) {
  const float weight_scale = steadfast_real(layer->weight_scale, layer->weight_scale->elements == 1 ? 0 : output);
  const float product = layer->input_scale * weight_scale;
  factor->rule = layer->rule;
  factor->offset = 0;
  factor->divisor = 1;
  factor->addend = layer->addend == 0 ? 0 : steadfast_integer(layer->addend, layer->addend->elements == 1 ? 0 : output);
  switch (layer->rule) {
    case STEADFAST_FOLDED:
      fold(layer, output, weight_scale, factor);
      break;
    case STEADFAST_FLOAT:
      factor->scale = product / layer->range.scale;
      break;
    case STEADFAST_ONCE_FLOAT:
    case STEADFAST_TWICE_FLOAT:
      factor->fixed = steadfast_fixed_of((double)product / (double)layer->range.scale);
      break;
    default:
      factor->fixed = steadfast_fixed_of((double)layer->input_scale * (double)weight_scale / (double)layer->range.scale);
  }
}

/* The sum of an output at one place. */
static int32_t sum_at(const steadfast_weighted *layer, const uint8_t *input, const int16_t *levels, int32_t top,
                      int32_t left) {
  const steadfast_window *window = &layer->window;
  const int32_t inputs = layer->in.channels / layer->groups, zero = layer->input_zero;
  const int32_t height = layer->in.height, width = layer->in.width;
  int32_t c, ky, kx, sum = 0;
  for (c = 0; c < inputs; ++c) {
    const uint8_t *channel = input + c * height * width;
    for (ky = 0; ky < window->kernel_h; ++ky) {
      const int32_t y = top + ky * window->dilation_h;
      const uint8_t *row = channel + y * width;
      if (y < 0 || y >= height) {
        levels += window->kernel_w;
        continue;
      }
      for (kx = 0; kx < window->kernel_w; ++kx) {
        const int32_t x = left + kx * window->dilation_w, level = *levels++;
        if (x >= 0 && x < width) sum += (row[x] - zero) * level;
      }
    }
  }
  return sum;
}

static int32_t with_addend(int32_t sum, int32_t addend) {
  const uint32_t total = (uint32_t)sum + (uint32_t)addend;
  return total <= 0x7FFFFFFFu ? (int32_t)total : -(int32_t)(0xFFFFFFFFu - total) - 1;
}

void steadfast_weighted_sum(const steadfast_weighted *layer, const uint8_t *input, uint8_t *codes, float *reals,
                            int16_t *levels) {
  const steadfast_window *window = &layer->window;
  const int32_t inputs = layer->in.channels / layer->groups, outputs = layer->out.channels / layer->groups;
  int32_t o, c, ky, kx, oy, ox;
  for (o = 0; o < layer->out.channels; ++o) {
    const uint8_t *group = input + o / outputs * inputs * layer->in.height * layer->in.width;
    int16_t *level = levels;
    steadfast_factor factor;
    make_factor(layer, o, &factor);
    for (c = 0; c < inputs; ++c) {
      for (ky = 0; ky < window->kernel_h; ++ky) {
        for (kx = 0; kx < window->kernel_w; ++kx) {
          const int32_t element = o * layer->output_stride + c * layer->channel_stride + ky * layer->row_stride +
                                  kx * layer->column_stride;
          *level++ = (int16_t)steadfast_level(layer->weight, element);
        }
      }
    }
    for (oy = 0; oy < layer->out.height; ++oy) {
      for (ox = 0; ox < layer->out.width; ++ox) {
        const int32_t sum = with_addend(sum_at(layer, group, levels, oy * window->stride_h - window->pad_top,
                                               ox * window->stride_w - window->pad_left),
                                        factor.addend);
        if (reals != 0)
          *reals++ = steadfast_real_of(sum, &factor);
        else
          *codes++ = steadfast_requantize(sum, &factor, &layer->range);
      }
    }
  }
}
