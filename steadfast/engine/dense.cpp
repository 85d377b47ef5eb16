#include "steadfast/engine/dense.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <variant>

#include "steadfast/engine/dense_kernels.h"

namespace steadfast::engine {
namespace {

using model::Convolution;
using model::Flatten;
using model::Linear;
using model::MaxPool;
using model::Node;
using model::QuantizedModel;
using model::ValueShape;
using model::Window;

// How the 4 slots of a quad are filled: `channels` neighbouring channels times `columns` neighbouring pixels of a row.
struct QuadShape {
  int channels;
  int columns;
};
constexpr QuadShape kQuadShapes[] = {{4, 1}, {2, 2}, {1, 4}};

int64_t CeilDivide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Weights whose levels exceed int8 are split into this many int8 terms (|level| <= 255 = 127 + 127 + 1).
int TermsOf(const model::CodeFormat& format) {
  return model::LargestStoredLevel(format) <= 127 ? 1 : 3;
}

int8_t TermOf(int level, int term, int terms) {
  if (terms == 1) return static_cast<int8_t>(level);
  for (int t = 0; t < term; ++t) level -= std::clamp(level, -127, 127);
  return static_cast<int8_t>(std::clamp(level, -127, 127));
}

// Where one of the 4 weights of a tap comes from: index into an output's weights, or -1 for a zero.
struct Tap {
  int32_t offset;  // of its quad, relative to the position's first quad
  std::array<int32_t, 4> sources;
  int term;
};

// A weighted node (with the max-pool behind it, where fused).
struct WeightedStep {
  int weight_index = 0;
  int input = 0, output = 0;
  ValueShape in, out;  // out: of the convolution itself
  Window window;
  int groups = 1;
  int64_t products = 0;  // per output
  QuadShape quad{4, 1};
  int64_t planes_per_group = 0;
  int64_t padded_h = 1, padded_w = 1;
  uint8_t padding_code = 0;
  int zero_point = 0;
  int terms = 1;
  model::CodeFormat format;
  std::vector<Tap> taps;             // of one group
  std::vector<int32_t> offsets;      // of the taps
  std::vector<uint32_t> weights;     // [group][output block][tap][output in block]
  std::vector<int32_t> corrections;  // [out]: -zero_point * sum of levels
  model::Requantization requantization;
  bool real = false;
  int pool_h = 1, pool_w = 1;  // fused pooling window (= stride)

  int64_t outputs_per_group() const { return out.channels / groups; }
  int64_t planes() const { return planes_per_group * groups; }
};

struct PoolStep {
  int input, output;
  ValueShape in, out;
  Window window;
};

struct CopyStep {  // flatten: the rows are the same
  int input, output;
};

using Step = std::variant<WeightedStep, PoolStep, CopyStep>;

// The quad shape with the fewest taps.
QuadShape ChooseQuad(int64_t group_inputs, const Window& window) {
  QuadShape best = kQuadShapes[0];
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const QuadShape& quad : kQuadShapes) {
    const int64_t taps =
        CeilDivide(group_inputs, quad.channels) * window.kernel_h * CeilDivide(window.kernel_w, quad.columns);
    if (taps < fewest) {
      fewest = taps;
      best = quad;
    }
  }
  return best;
}

void BuildTaps(WeightedStep& step, int64_t group_inputs) {
  const Window& window = step.window;
  for (int term = 0; term < step.terms; ++term) {
    for (int64_t plane = 0; plane < step.planes_per_group; ++plane) {
      for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
        for (int64_t kx = 0; kx < window.kernel_w; kx += step.quad.columns) {
          Tap tap{};
          const int64_t row = plane * step.padded_h + ky * window.dilation_h;
          tap.offset = static_cast<int32_t>((row * step.padded_w + kx * window.dilation_w) * kQuadBytes);
          tap.term = term;
          for (int slot = 0; slot < 4; ++slot) {
            const int64_t channel = plane * step.quad.channels + slot / step.quad.columns;
            const int64_t column = kx + slot % step.quad.columns;
            const bool inside = channel < group_inputs && column < window.kernel_w;
            tap.sources[static_cast<size_t>(slot)] =
                inside ? static_cast<int32_t>((channel * window.kernel_h + ky) * window.kernel_w + column) : -1;
          }
          step.taps.push_back(tap);
          step.offsets.push_back(tap.offset);
        }
      }
    }
  }
}

WeightedStep MakeWeightedStep(const QuantizedModel& model, const Node& node) {
  const model::Value& input = model.values[static_cast<size_t>(node.input)];
  const model::Value& output = model.values[static_cast<size_t>(node.output)];
  WeightedStep step;
  step.weight_index = *model::WeightOf(node);
  step.input = node.input;
  step.output = node.output;
  step.out = output.shape;
  step.in = input.shape;
  if (const auto* convolution = std::get_if<Convolution>(&node.operation)) {
    step.window = convolution->window;
    step.groups = convolution->groups;
  } else {
    step.in = {input.shape.elements(), 1, 1};
  }
  const model::WeightTensor& weight = model.weights[static_cast<size_t>(step.weight_index)];
  const int64_t group_inputs = weight.shape[1];
  step.products = model::ProductsPerOutput(model, node);
  step.format = weight.format;
  step.terms = TermsOf(weight.format);
  step.quad = ChooseQuad(group_inputs, step.window);
  step.planes_per_group = CeilDivide(group_inputs, step.quad.channels);
  step.padded_h = step.in.height + 2 * int64_t{step.window.pad_h};
  step.padded_w = step.in.width + 2 * int64_t{step.window.pad_w};
  step.zero_point = input.coding->zero_point;
  step.padding_code = static_cast<uint8_t>(step.zero_point);  // level 0
  step.requantization = model::RequantizationOf(model, node);
  step.real = step.requantization.real;
  BuildTaps(step, group_inputs);
  return step;
}

void PackWeights(WeightedStep& step, const model::WeightTensor& weight) {
  step.weights.clear();
  step.corrections.assign(static_cast<size_t>(step.out.channels), 0);
  const int64_t per_group = step.outputs_per_group();
  const auto level = [&](int64_t output, int32_t source) {
    return source < 0 ? 0 : step.format.level(weight.codes[static_cast<size_t>(output * step.products + source)]);
  };
  for (int64_t group = 0; group < step.groups; ++group) {
    for (int64_t first = 0; first < per_group; first += kOutputsPerCall) {
      const int64_t count = std::min<int64_t>(kOutputsPerCall, per_group - first);
      for (const Tap& tap : step.taps) {
        for (int64_t o = 0; o < count; ++o) {
          uint32_t packed = 0;
          for (int slot = 0; slot < 4; ++slot) {
            const int term = TermOf(level(group * per_group + first + o, tap.sources[static_cast<size_t>(slot)]),
                                    tap.term, step.terms);
            packed |= uint32_t{static_cast<uint8_t>(term)} << (8 * slot);
          }
          step.weights.push_back(packed);
        }
      }
    }
  }
  if (step.zero_point == 0) return;
  for (int64_t output = 0; output < step.out.channels; ++output) {
    int64_t sum = 0;
    for (int64_t i = 0; i < step.products; ++i) sum += level(output, static_cast<int32_t>(i));
    step.corrections[static_cast<size_t>(output)] = static_cast<int32_t>(-step.zero_point * sum);
  }
}

// Whether max-pooling can be taken on the sums: windows that tile, and requantization that grows with the sum.
bool CanFuse(const WeightedStep& step, const MaxPool& pool) {
  const Window& window = pool.window;
  const bool tiles = window.stride_h == window.kernel_h && window.stride_w == window.kernel_w && window.pad_h == 0 &&
                     window.pad_w == 0 && window.dilation_h == 1 && window.dilation_w == 1;
  const auto& scales = step.requantization.scale;
  const bool grows = std::all_of(scales.begin(), scales.end(), [](float scale) { return scale >= 0; });
  // Maxima are taken before the zero point is corrected: sums of plain codes must not wrap either.
  const bool fits = step.products * 255 * model::LargestStoredLevel(step.format) < int64_t{1} << 31;
  return tiles && !step.real && grows && fits;
}

int CountUses(const QuantizedModel& model, int value) {
  return static_cast<int>(
      std::count_if(model.nodes.begin(), model.nodes.end(), [&](const Node& node) { return node.input == value; }));
}

}  // namespace

PreparedImages::PreparedImages(std::span<const uint8_t> images, int64_t elements)
    : images_(static_cast<int64_t>(images.size()) / elements), elements_(elements) {
  bytes_.resize(static_cast<size_t>(blocks() * elements * kBlockImages));
  for (int64_t b = 0; b < blocks(); ++b) {
    uint8_t* block = bytes_.data() + b * elements * kBlockImages;
    for (int64_t i = 0; i < images_in(b); ++i) {
      const uint8_t* image = images.data() + (b * kBlockImages + i) * elements;
      for (int64_t e = 0; e < elements; ++e) block[e * kBlockImages + i] = image[e];
    }
  }
}

struct DenseEngine::Plan {
  InstructionSet instruction_set;
  const DenseKernels* kernels;
  std::vector<Step> steps;
  std::vector<std::vector<uint8_t>> rows;  // rows[value][element * 64 + image]; empty where never stored
  std::vector<uint8_t> quads;
  std::vector<int32_t> sums, pooled;
  int64_t classes;
  std::vector<std::vector<uint8_t>> constant_rows;

  Plan(const QuantizedModel& model, InstructionSet set, bool fuse)
      : instruction_set(set), kernels(&KernelsOf(set)), classes(model.classes()) {
    rows.resize(model.values.size());
    for (size_t n = 0; n < model.nodes.size(); ++n) {
      const Node& node = model.nodes[n];
      if (model::WeightOf(node)) {
        WeightedStep step = MakeWeightedStep(model, node);
        if (fuse && n + 1 < model.nodes.size()) {
          const Node& next = model.nodes[n + 1];
          const auto* pool = std::get_if<MaxPool>(&next.operation);
          if (pool != nullptr && next.input == node.output && CountUses(model, node.output) == 1 &&
              CanFuse(step, *pool)) {
            step.pool_h = pool->window.kernel_h;
            step.pool_w = pool->window.kernel_w;
            step.output = next.output;
            ++n;
          }
        }
        steps.push_back(std::move(step));
      } else if (const auto* pool = std::get_if<MaxPool>(&node.operation)) {
        steps.push_back(PoolStep{node.input, node.output, model.values[static_cast<size_t>(node.input)].shape,
                                 model.values[static_cast<size_t>(node.output)].shape, pool->window});
      } else {
        steps.push_back(CopyStep{node.input, node.output});
      }
    }
    Allocate(model);
  }

  void Allocate(const QuantizedModel& model) {
    size_t quad_bytes = 0, sum_count = 0;
    for (const Step& step : steps) {
      const int output = std::visit([](const auto& s) { return s.output; }, step);
      const model::Value& value = model.values[static_cast<size_t>(output)];
      if (value.coding)
        rows[static_cast<size_t>(output)].resize(static_cast<size_t>(value.shape.elements() * kRowBytes));
      if (const auto* weighted = std::get_if<WeightedStep>(&step)) {
        quad_bytes = std::max(
            quad_bytes, static_cast<size_t>(weighted->planes() * weighted->padded_h * weighted->padded_w * kQuadBytes));
        sum_count = std::max(
            sum_count, static_cast<size_t>(weighted->real ? weighted->out.elements() : kOutputsPerCall) * kBlockImages);
      }
    }
    // A quad at the right edge reads up to 3 columns further.
    quads.resize(quad_bytes + 4 * kQuadBytes);
    sums.resize(sum_count);
    pooled.resize(kOutputsPerCall * kBlockImages);
  }

  void Pack(const QuantizedModel& model) {
    for (Step& step : steps) {
      if (auto* weighted = std::get_if<WeightedStep>(&step))
        PackWeights(*weighted, model.weights[static_cast<size_t>(weighted->weight_index)]);
    }
  }

  const uint8_t* InputRows(int value, std::span<const uint8_t> images) const {
    return value == 0 ? images.data() : rows[static_cast<size_t>(value)].data();
  }

  // Lays the input out as quads, padding included.
  void Expand(const WeightedStep& step, const uint8_t* input) {
    uint8_t padding[kRowBytes];
    std::memset(padding, step.padding_code, sizeof padding);
    const int64_t group_inputs = step.in.channels / step.groups;
    uint8_t* quad = quads.data();
    for (int64_t plane = 0; plane < step.planes(); ++plane) {
      const int64_t group = plane / step.planes_per_group;
      const int64_t first_channel = plane % step.planes_per_group * step.quad.channels;
      for (int64_t py = 0; py < step.padded_h; ++py) {
        const int64_t y = py - step.window.pad_h;
        for (int64_t px = 0; px < step.padded_w; ++px, quad += kQuadBytes) {
          const uint8_t* sources[4];
          for (int slot = 0; slot < 4; ++slot) {
            const int64_t channel = first_channel + slot / step.quad.columns;
            const int64_t x = px - step.window.pad_w + slot % step.quad.columns * step.window.dilation_w;
            const bool inside = channel < group_inputs && y >= 0 && y < step.in.height && x >= 0 && x < step.in.width;
            sources[slot] =
                inside
                    ? input + (((group * group_inputs + channel) * step.in.height + y) * step.in.width + x) * kRowBytes
                    : padding;
          }
          kernels->make_quad(sources, quad);
        }
      }
    }
  }

  const uint8_t* QuadAt(const WeightedStep& step, int64_t group, int64_t oy, int64_t ox) const {
    const int64_t row = group * step.planes_per_group * step.padded_h + oy * step.window.stride_h;
    return quads.data() + (row * step.padded_w + ox * step.window.stride_w) * kQuadBytes;
  }

  void RunWeighted(const WeightedStep& step, const uint8_t* input, std::span<float> logits, int64_t images) {
    Expand(step, input);
    const int64_t out_h = step.out.height / step.pool_h, out_w = step.out.width / step.pool_w;
    uint8_t* output = step.real ? nullptr : rows[static_cast<size_t>(step.output)].data();
    const int64_t per_group = step.outputs_per_group();
    const int taps = static_cast<int>(step.taps.size());
    const uint32_t* weights = step.weights.data();
    for (int64_t group = 0; group < step.groups; ++group) {
      for (int64_t first = 0; first < per_group; first += kOutputsPerCall) {
        const int count = static_cast<int>(std::min<int64_t>(kOutputsPerCall, per_group - first));
        const int64_t channel = group * per_group + first;
        for (int64_t oy = 0; oy < out_h; ++oy) {
          for (int64_t ox = 0; ox < out_w; ++ox) {
            const int64_t position = oy * out_w + ox;
            const int32_t* result = PooledProducts(step, group, oy, ox, weights, taps, count);
            for (int o = 0; o < count; ++o) {
              const int64_t at = (channel + o) * out_h * out_w + position;
              if (step.real)
                StoreReals(step, channel + o, at, result + o * kBlockImages, logits, images);
              else
                Requantize(step, channel + o, result + o * kBlockImages, output + at * kRowBytes);
            }
          }
        }
        weights += int64_t{taps} * count;
      }
    }
  }

  const int32_t* PooledProducts(const WeightedStep& step, int64_t group, int64_t oy, int64_t ox,
                                const uint32_t* weights, int taps, int count) {
    int32_t* best = pooled.data();
    for (int py = 0; py < step.pool_h; ++py) {
      for (int px = 0; px < step.pool_w; ++px) {
        int32_t* into = py == 0 && px == 0 ? best : sums.data();
        kernels->products(QuadAt(step, group, oy * step.pool_h + py, ox * step.pool_w + px), step.offsets.data(), taps,
                          weights, count, into);
        if (into != best) kernels->maximum(into, best, count * static_cast<int>(kBlockImages));
      }
    }
    return best;
  }

  void Requantize(const WeightedStep& step, int64_t channel, const int32_t* from, uint8_t* row) const {
    const auto c = static_cast<size_t>(channel);
    const model::Requantization& r = step.requantization;
    kernels->requantize(from, step.corrections[c], {r.scale[c], r.offset[c], r.lowest, r.highest, r.zero_below}, row);
  }

  void StoreReals(const WeightedStep& step, int64_t channel, int64_t index, const int32_t* from,
                  std::span<float> logits, int64_t images) const {
    const auto c = static_cast<size_t>(channel);
    for (int64_t i = 0; i < images; ++i) {
      const auto sum =
          static_cast<int32_t>(static_cast<uint32_t>(from[kernels->lane_of_image[static_cast<size_t>(i)]]) +
                               static_cast<uint32_t>(step.corrections[c]));
      const float product = static_cast<float>(sum) * step.requantization.scale[c];
      logits[static_cast<size_t>(i * classes + index)] = product + step.requantization.offset[c];
    }
  }

  void RunPool(const PoolStep& step, const uint8_t* input) {
    uint8_t* row = rows[static_cast<size_t>(step.output)].data();
    const Window& window = step.window;
    for (int64_t c = 0; c < step.out.channels; ++c) {
      for (int64_t oy = 0; oy < step.out.height; ++oy) {
        for (int64_t ox = 0; ox < step.out.width; ++ox, row += kRowBytes) {
          std::memset(row, 0, kRowBytes);
          for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
            const int64_t y = oy * window.stride_h - window.pad_h + ky * window.dilation_h;
            if (y < 0 || y >= step.in.height) continue;
            for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
              const int64_t x = ox * window.stride_w - window.pad_w + kx * window.dilation_w;
              if (x < 0 || x >= step.in.width) continue;
              kernels->maximum_rows(input + ((c * step.in.height + y) * step.in.width + x) * kRowBytes, row);
            }
          }
        }
      }
    }
  }

  void Run(std::span<const uint8_t> images, int64_t count, std::span<float> logits) {
    for (const Step& step : steps) {
      if (const auto* weighted = std::get_if<WeightedStep>(&step)) {
        RunWeighted(*weighted, InputRows(weighted->input, images), logits, count);
      } else if (const auto* pool = std::get_if<PoolStep>(&step)) {
        RunPool(*pool, InputRows(pool->input, images));
      } else {
        const CopyStep& copy = std::get<CopyStep>(step);
        std::vector<uint8_t>& to = rows[static_cast<size_t>(copy.output)];
        std::memcpy(to.data(), InputRows(copy.input, images), to.size());
      }
    }
  }
};

DenseEngine::DenseEngine(const QuantizedModel& model) : DenseEngine(model, SupportedInstructionSets().back()) {}
DenseEngine::DenseEngine(const QuantizedModel& model, InstructionSet set)
    : plan_(std::make_unique<Plan>(model, set, /*fuse=*/true)) {
  SetWeights(model);
}
DenseEngine::~DenseEngine() = default;
DenseEngine::DenseEngine(DenseEngine&&) noexcept = default;
DenseEngine& DenseEngine::operator=(DenseEngine&&) noexcept = default;

void DenseEngine::SetWeights(const QuantizedModel& model) {
  plan_->Pack(model);
}

void DenseEngine::KeepAllValues(const QuantizedModel& model) {
  plan_ = std::make_unique<Plan>(model, plan_->instruction_set, /*fuse=*/false);
  SetWeights(model);
}

std::span<const uint8_t> DenseEngine::CodesOf(int value) const {
  return plan_->rows[static_cast<size_t>(value)];
}

void DenseEngine::RunBlock(const PreparedImages& images, int64_t block, std::span<float> logits) {
  plan_->Run(images.block(block), images.images_in(block), logits);
}

std::vector<float> DenseEngine::Run(const PreparedImages& images) {
  std::vector<float> logits(static_cast<size_t>(images.images() * plan_->classes));
  for (int64_t b = 0; b < images.blocks(); ++b) {
    RunBlock(images, b, std::span(logits).subspan(static_cast<size_t>(b * kBlockImages * plan_->classes)));
  }
  return logits;
}

}  // namespace steadfast::engine
