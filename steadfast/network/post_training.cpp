#include "steadfast/network/post_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/base/machine.h"
#include "steadfast/network/fusion.h"
#include "steadfast/network/quantized_step.h"

namespace steadfast::network {
namespace {

using model::ActivationCoding;

constexpr int kBins = 2048;
constexpr int kCandidates = 100;  // ranges that are tried for the least error
constexpr float kSmallestScale = 1e-12f;

struct Range {
  float low = std::numeric_limits<float>::infinity(), high = -std::numeric_limits<float>::infinity();
  void Take(float value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void Take(const Range& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};

// How often numbers fall into kBins parts of a range.
struct Histogram {
  Range range;
  std::array<int64_t, kBins> counts = {};
  int BinOf(float value) const {
    const double share = (double{value} - range.low) / (double{range.high} - range.low);
    return std::clamp(static_cast<int>(share * kBins), 0, kBins - 1);
  }
  double Middle(int bin) const { return range.low + (double{range.high} - range.low) * (bin + 0.5) / kBins; }
};

// The scale and zero point of codes 0 to 2^bits - 1 for a range, which is made to hold 0.
ActivationCoding CodingOf(Range range, int bits) {
  ActivationCoding coding{.bits = bits};
  range.low = std::min(range.low, 0.0f);
  range.high = std::max(range.high, 0.0f);
  coding.scale = std::max((range.high - range.low) / static_cast<float>(coding.highest_code()), kSmallestScale);
  coding.zero_point = std::clamp(static_cast<int>(std::nearbyint(-range.low / coding.scale)), 0, coding.highest_code());
  return coding;
}

double ErrorOf(const Histogram& histogram, const ActivationCoding& coding) {
  double error = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    const int64_t count = histogram.counts[static_cast<size_t>(bin)];
    if (count == 0) continue;
    const double value = histogram.Middle(bin);
    const double code = std::clamp(std::nearbyint(value / coding.scale) + coding.zero_point, 0.0,
                                   static_cast<double>(coding.highest_code()));
    const double difference = (code - coding.zero_point) * coding.scale - value;
    error += static_cast<double>(count) * difference * difference;
  }
  return error;
}

// Of a positive range, its top is lowered; of another, both ends.
ActivationCoding BestCoding(const Histogram& histogram, int bits) {
  ActivationCoding best;
  double least = std::numeric_limits<double>::infinity();
  for (int candidate = 1; candidate <= kCandidates; ++candidate) {
    const float share = static_cast<float>(candidate) / kCandidates;
    const ActivationCoding coding = CodingOf({histogram.range.low * share, histogram.range.high * share}, bits);
    const double error = ErrorOf(histogram, coding);
    if (error > least) continue;
    least = error;
    best = coding;
  }
  return best;
}

Range RangeWithin(const Histogram& histogram, double percentile) {
  int64_t total = 0;
  for (const int64_t count : histogram.counts) total += count;
  const double outside = static_cast<double>(total) * (1 - percentile / 100);
  const bool one_sided = histogram.range.low >= 0;
  const double of_each_end = one_sided ? outside : outside / 2;
  int first = 0, last = kBins - 1;
  int64_t below = 0, above = 0;
  while (!one_sided && first < last &&
         static_cast<double>(below += histogram.counts[static_cast<size_t>(first)]) <= of_each_end)
    ++first;
  while (last > first && static_cast<double>(above += histogram.counts[static_cast<size_t>(last)]) <= of_each_end)
    --last;
  const double width = (double{histogram.range.high} - histogram.range.low) / kBins;
  return {static_cast<float>(histogram.range.low + first * width),
          static_cast<float>(histogram.range.low + (last + 1) * width)};
}

class Quantizing {
 public:
  Quantizing(const FloatGraph& graph, std::span<const uint8_t> images, ByteScale scale,
             const PostTrainingSettings& settings, const Cancellation* cancellation)
      : graph_(graph),
        images_(images),
        scale_(scale),
        settings_(settings),
        cancellation_(cancellation),
        steps_(Fuse(graph)) {
    const auto check = [](const char* what, int bits) {
      if (bits < 2 || bits > 8) throw UsageError(fmt::format("{}: {}, expected 2 to 8", what, bits));
    };
    check("weight bits", settings.weight_bits);
    check("activation bits", settings.activation_bits);
    if (!(settings.percentile > 50 && settings.percentile <= 100))
      throw UsageError(fmt::format("percentile: {}, expected above 50 and to 100", settings.percentile));
    if (images.empty()) throw InputError("no images to calibrate on");
    if (settings_.threads <= 0) settings_.threads = AvailableCores();
  }

  model::QuantizedModel Run() {
    Observe();
    model::QuantizedModel model;
    model.name = graph_.name;
    const ValueShape& shape = graph_.values[0].shape;
    model.values.push_back(
        {"input", shape, ActivationCoding{.bits = 8, .scale = scale_.scale, .zero_point = scale_.zero_point}});
    StepExporter exporter(graph_, model);
    for (const FusedStep& step : steps_) {
      const FloatNode& node = graph_.nodes[static_cast<size_t>(step.node)];
      const int weight = WeightOf(node);
      std::optional<ActivationCoding> coding;
      if (HasCodes(step)) coding = CodingOfStep(step);
      if (weight < 0 && !step.normalization) {
        exporter.Add(step, coding);
        continue;
      }
      const StepConstants constants = ConstantsOf(step, node);
      exporter.Add(step, coding, &constants);
    }
    model::Validate(model);
    return model;
  }

 private:
  static bool HasCodes(const FusedStep& step) {
    return step.range == OutputRange::kPositive || step.range == OutputRange::kSigned;
  }

  // The ranges of all outputs, then, where they are asked for, how numbers lie in them.
  void Observe() {
    const auto workers = static_cast<size_t>(settings_.threads);
    std::vector<std::vector<Range>> ranges(workers, std::vector<Range>(graph_.values.size()));
    RunFloat(
        graph_, images_, scale_, settings_.threads,
        [&](int worker, int64_t, const FloatValues& values) {
          for (const FusedStep& step : steps_) {
            const auto v = static_cast<size_t>(step.output);
            if (!HasCodes(step)) continue;
            for (const float value : values[v]) ranges[static_cast<size_t>(worker)][v].Take(value);
          }
        },
        cancellation_);
    histograms_.resize(graph_.values.size());
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      for (const auto& of_worker : ranges) histograms_[v].range.Take(of_worker[v]);
    }
    for (const FusedStep& step : steps_) {
      const Range& range = histograms_[static_cast<size_t>(step.output)].range;
      if (HasCodes(step) && !(std::isfinite(range.low) && std::isfinite(range.high)))
        throw InputError(
            fmt::format("{}: '{}' becomes infinite or not a number on the calibration images", graph_.name, step.name));
    }
    if (settings_.calibration == Calibration::kMinMax) return;
    std::vector<std::vector<Histogram>> of_workers(workers, histograms_);
    RunFloat(
        graph_, images_, scale_, settings_.threads,
        [&](int worker, int64_t, const FloatValues& values) {
          for (const FusedStep& step : steps_) {
            const auto v = static_cast<size_t>(step.output);
            Histogram& histogram = of_workers[static_cast<size_t>(worker)][v];
            if (!HasCodes(step) || !(histogram.range.low < histogram.range.high)) continue;
            for (const float value : values[v]) ++histogram.counts[static_cast<size_t>(histogram.BinOf(value))];
          }
        },
        cancellation_);
    for (size_t v = 0; v < histograms_.size(); ++v) {
      for (const auto& of_worker : of_workers) {
        for (size_t bin = 0; bin < kBins; ++bin) histograms_[v].counts[bin] += of_worker[v].counts[bin];
      }
    }
  }

  ActivationCoding CodingOfStep(const FusedStep& step) const {
    const Histogram& histogram = histograms_[static_cast<size_t>(step.output)];
    const int bits = step.needs_precision ? 8 : settings_.activation_bits;
    ActivationCoding coding;
    switch (settings_.calibration) {
      case Calibration::kMinMax:
        coding = CodingOf(histogram.range, bits);
        break;
      case Calibration::kPercentile:
        coding = CodingOf(RangeWithin(histogram, settings_.percentile), bits);
        break;
      case Calibration::kMse:
        coding = BestCoding(histogram, bits);
        break;
    }
    coding.is_signed = settings_.signed_activations;
    return coding;
  }

  StepConstants ConstantsOf(const FusedStep& step, const FloatNode& node) const {
    StepConstants constants;
    const auto values = [&](int parameter) {
      return parameter < 0 ? std::vector<float>{} : graph_.parameter(parameter).values;
    };
    if (step.normalization) {
      constants.gamma = values(step.normalization->gamma);
      constants.beta = values(step.normalization->beta);
      constants.mean = values(step.normalization->mean);
      constants.variance = values(step.normalization->variance);
    }
    if (WeightOf(node) < 0) return constants;
    constants.format = {.bits = settings_.weight_bits, .is_signed = true, .narrow = true, .levels = {}};
    const FloatParameter& weight = graph_.parameter(WeightOf(node));
    const int64_t outputs = weight.shape[0], products = weight.elements() / outputs;
    const int64_t together = settings_.per_channel ? products : weight.elements();
    for (int64_t first = 0; first < weight.elements(); first += together) {
      const auto part = std::span(weight.values).subspan(static_cast<size_t>(first), static_cast<size_t>(together));
      const float scale = ScaleOf(part, constants.format.highest_code());
      constants.scales.push_back(scale);
      for (const float w : part) constants.codes.push_back(CodeOf(w, scale, constants.format.highest_code()));
    }
    const auto* convolution = std::get_if<Convolution>(&node.operation);
    constants.bias = values(convolution != nullptr ? convolution->bias : std::get<Linear>(node.operation).bias);
    return constants;
  }

  static int16_t CodeOf(float weight, float scale, int highest) {
    return static_cast<int16_t>(
        std::clamp(std::nearbyint(weight / scale), -static_cast<float>(highest), static_cast<float>(highest)));
  }

  float ScaleOf(std::span<const float> weights, int highest) const {
    float largest = 0;
    for (const float w : weights) largest = std::max(largest, std::abs(w));
    const float of_all = std::max(largest / static_cast<float>(highest), kSmallestScale);
    if (settings_.calibration != Calibration::kMse) return of_all;
    float best = of_all;
    double least = std::numeric_limits<double>::infinity();
    for (int candidate = kCandidates; candidate > 0; --candidate) {
      const float scale = std::max(of_all * static_cast<float>(candidate) / kCandidates, kSmallestScale);
      double error = 0;
      for (const float w : weights) {
        const double difference = double{w} - double{scale} * CodeOf(w, scale, highest);
        error += difference * difference;
      }
      if (error >= least) continue;
      least = error;
      best = scale;
    }
    return best;
  }

  const FloatGraph& graph_;
  const std::span<const uint8_t> images_;
  const ByteScale scale_;
  PostTrainingSettings settings_;
  const Cancellation* cancellation_;
  const std::vector<FusedStep> steps_;
  std::vector<Histogram> histograms_;  // [value]
};

constexpr std::pair<std::string_view, Calibration> kCalibrations[] = {
    {"minmax", Calibration::kMinMax}, {"percentile", Calibration::kPercentile}, {"mse", Calibration::kMse}};

}  // namespace

Calibration ParseCalibration(std::string_view text) {
  for (const auto& [name, calibration] : kCalibrations) {
    if (name == text) return calibration;
  }
  throw UsageError(fmt::format("calibration: '{}', expected minmax, percentile or mse", text));
}

std::string_view NameOf(Calibration calibration) {
  for (const auto& [name, one] : kCalibrations) {
    if (one == calibration) return name;
  }
  return "";
}

model::QuantizedModel Quantize(const FloatGraph& graph, std::span<const uint8_t> images, ByteScale scale,
                               const PostTrainingSettings& settings, const Cancellation* cancellation) {
  return Quantizing(graph, images, scale, settings, cancellation).Run();
}

}  // namespace steadfast::network
