#include "steadfast/analysis/sharpness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/memory/fault_sampler.h"

namespace steadfast::analysis {
namespace {

using nlohmann::json;
using recipe::SharpnessSettings;
using torch::Tensor;

// Streams of one seed: what is drawn for one purpose is not drawn for another.
constexpr uint64_t kAscentStream = 1, kAverageStream = 2, kSpectrumStream = 3, kDensityStream = 4, kTraceStream = 5,
                   kLayerStream = 6, kSurfaceStream = 7, kFaultStream = 8;
uint64_t StreamOf(uint64_t seed, uint64_t stream) {
  return seed * 16 + stream;
}

// A step of ascent, in units of the radius: the published attacks' rule of 2.5 radii over all steps (Madry et al., ICLR
// 2018).
constexpr double kStepOfRadius = 2.5;
// eta of the adaptive form, in units of the root mean square of the tensor's weights: ASAM's 0.01, made independent of
// scale (ours).
constexpr double kEta = 0.01;
// How far lines go: filter-normalized directions in units of the filters' norms, eigenvectors of ||Q(w)||.
constexpr double kFilterExtent = 0.5, kEigenvectorExtent = 0.1;
constexpr double kSameMargin = 1e-4;  // of the largest logit

// T of the adaptive form, |Q(w)| + eta; ones where not adaptive.
Tensor ScalesOf(const WeightLoss& loss, bool adaptive) {
  if (!adaptive) return torch::ones_like(loss.weights());
  Tensor scales = loss.weights().abs();
  for (const auto& part : loss.network().parts()) {
    Tensor of_part = scales.narrow(0, part.offset, part.count);
    of_part += kEta * of_part.square().mean().sqrt();
  }
  return scales;
}

Tensor OnSphere(const Tensor& u, double radius) {
  return u * (radius / (u.norm().item<double>() + 1e-30));
}

// A network on the chosen images, as the engine runs it.
struct EngineView {
  engine::EvaluationSet set;
  engine::Golden golden;
};

EngineView ViewOf(const model::QuantizedModel& model, const SharpnessInput& input, const std::vector<int64_t>& chosen,
                  const Cancellation* cancellation) {
  std::vector<uint8_t> bytes;
  std::vector<uint16_t> labels;
  const int64_t pixels = input.images.shape.pixels();
  for (int64_t index : chosen) {
    bytes.insert(bytes.end(), input.images.images.begin() + index * pixels,
                 input.images.images.begin() + (index + 1) * pixels);
    labels.push_back(input.images.labels[static_cast<size_t>(index)]);
  }
  EngineView view{engine::MakeEvaluationSet(model, bytes, labels), {}};
  view.golden = engine::RunGolden(model, view.set, 1, cancellation);
  return view;
}

// Throws unless LibTorch computes the network that the engine runs: every prediction is the same, and every margin (a
// code that differed anywhere would move a margin by more than the rounding of sums allows for).
void HoldToEngine(const std::string& name, const WeightLoss& loss, const Tensor& labels, const EngineView& view) {
  const Tensor logits = loss.Logits().to(torch::kDouble).contiguous();
  const int64_t classes = logits.size(1);
  for (int64_t i = 0; i < logits.size(0); ++i) {
    const double* values = logits.data_ptr<double>() + i * classes;
    const int64_t label = labels[i].item<int64_t>();
    double best_other = -INFINITY, largest = 1;
    for (int64_t c = 0; c < classes; ++c) {
      if (c != label) best_other = std::max(best_other, values[c]);
      largest = std::max(largest, std::abs(values[c]));
    }
    const auto place = static_cast<size_t>(i);
    const int64_t prediction = std::max_element(values, values + classes) - values;
    const double margin = values[label] - best_other,
                 engines = static_cast<double>(view.golden.margins[place]) * kScoreUnit;
    if (prediction == view.golden.predictions[place] && std::abs(margin - engines) <= kSameMargin * largest) continue;
    throw Error(fmt::format(
        "{}: LibTorch and the engine disagree on training image {} (class {} and margin {:.6f} there, {} and {:.6f} "
        "here), so what would be measured is another network; please report it, with the model file. steadfast inject "
        "and sweep need no LibTorch and are not affected",
        name, i, prediction, margin, view.golden.predictions[place], engines));
  }
}

// The engine's view of sharpness: mean loss increase under random flips.
Estimate FaultSharpness(const model::QuantizedModel& model, const EngineView& view, double rate,
                        const SharpnessSettings& settings, const Cancellation* cancellation) {
  engine::Evaluator evaluator(model, view.set);
  const memory::MemoryImage image(model, {});
  const PhiloxKey key = KeyOfSeed(StreamOf(settings.seed, kFaultStream));
  std::vector<double> increases;
  for (int64_t trial = 0; trial < settings.fault_trials; ++trial) {
    const auto faults =
        memory::SampleFaults(key, static_cast<uint64_t>(trial), image.sampled_arrays(), rate, memory::CellFault{});
    const engine::Scores scores = evaluator.Evaluate(memory::EffectOf(faults, image), view.golden, cancellation);
    increases.push_back(static_cast<double>(scores.loss_sum - view.golden.scores.loss_sum) * kScoreUnit /
                        static_cast<double>(scores.images));
  }
  return MeanOf(increases);
}

class Meter {
 public:
  Meter(const SharpnessInput& input, const SharpnessSettings& settings,
        const std::function<void(double, const std::string&)>& on_progress, const Cancellation* cancellation)
      : input_(input),
        settings_(settings),
        on_progress_(on_progress),
        cancellation_(cancellation),
        chosen_(First(settings.images)),
        images_(ImageTensor(input.images, chosen_)),
        labels_(LabelTensor(input.images, chosen_)),
        loss_(input.model, images_, labels_, torch::kFloat, cancellation),
        hessian_([this](const Tensor& v) {
          Spend(kCostOfHessian, what_);
          return loss_.HessianTimes(v);
        }) {
    total_ = TotalCost();
  }

  SharpnessResult Measure() {
    for (const LineTo& line : input_.lines) CheckLine(input_.model, line);
    const EngineView view = ViewOf(input_.model, input_, chosen_, cancellation_);
    HoldToEngine(input_.model.name, loss_, labels_, view);
    for (const LineTo& line : input_.lines) {
      HoldToEngine(line.label, WeightLoss(line.model, images_, labels_, torch::kFloat, cancellation_), labels_,
                   ViewOf(line.model, input_, chosen_, cancellation_));
    }
    const auto slope = loss_.SlopeAt();
    const auto clean = loss_.At();
    clean_loss_ = clean.loss;
    result_.images = loss_.images();
    result_.loss = clean.loss;
    result_.accuracy = clean.accuracy;
    result_.weight_norm = loss_.weight_norm();
    Add("weight-norm", result_.weight_norm);
    Add("gradient-norm", slope.gradient.norm().item<double>());
    Balls("", settings_.radii, 1.0, false);
    Balls("-relative", settings_.relative_radii, result_.weight_norm, false);
    Balls("-adaptive", settings_.adaptive_radii, 1.0, true);
    for (double radius : settings_.random_relative_radii) AddAverage("-relative", radius, result_.weight_norm, false);
    Faults();
    const Tensor vectors = Spectrum();
    Layers();
    Surfaces(vectors);
    return std::move(result_);
  }

 private:
  // In units of one forward pass over the images.
  static constexpr double kCostOfSlope = 3, kCostOfHessian = 8, kCostOfTrial = 0.15;

  std::vector<int64_t> First(int64_t count) const {
    const auto& all = input_.training;
    return {all.begin(), all.begin() + std::min(count, static_cast<int64_t>(all.size()))};
  }

  double TotalCost() const {
    const auto& s = settings_;
    const auto balls = static_cast<double>(s.radii.size() + s.relative_radii.size() + s.adaptive_radii.size());
    const auto layers = static_cast<double>(model::WeightsOf(input_.model).size());
    const auto count = [](int64_t n) { return static_cast<double>(n); };
    double cost = balls * (count(s.ascent_steps * s.restarts) * kCostOfSlope + count(s.draws));
    cost += static_cast<double>(s.random_relative_radii.size()) * count(s.draws);
    cost += kCostOfHessian * ((s.eigenvalues > 0 ? count(s.lanczos_steps) : 0) + count(s.layer_steps) * layers +
                              count(s.density_probes * s.density_steps) + count(s.trace_probes));
    cost += CostOfFaults() * static_cast<double>(s.fault_rates.size());
    const double lines = 1 + std::min(2.0, count(s.eigenvalues)) + static_cast<double>(input_.lines.size());
    const double planes = 1 + (s.eigenvalues > 1 ? 1 : 0);
    return cost + count(s.surface_points) * lines + count(s.plane_points * s.plane_points) * planes + 1;
  }
  double CostOfFaults() const {
    return kCostOfTrial * static_cast<double>(settings_.fault_trials) *
           static_cast<double>(First(settings_.fault_images).size()) / static_cast<double>(chosen_.size());
  }
  void Spend(double cost, const std::string& what) {
    spent_ += cost;
    if (on_progress_) on_progress_(std::min(spent_ / total_, 0.999), what);
  }

  void Add(const std::string& name, double value, double error = 0, double parameter = 0,
           const std::string& layer = "") {
    result_.measures.push_back({name, layer, parameter, value, error});
  }

  void Balls(const std::string& kind, const std::vector<double>& radii, double unit, bool adaptive) {
    for (double radius : radii) {
      const auto& s = settings_;
      Spend(static_cast<double>(s.ascent_steps * s.restarts) * kCostOfSlope, "gradient ascent");
      Add("sam" + kind,
          AscendSharpness(loss_, clean_loss_, radius * unit, adaptive, static_cast<int>(s.ascent_steps),
                          static_cast<int>(s.restarts), StreamOf(s.seed, kAscentStream)),
          0, radius);
      AddAverage(kind, radius, unit, adaptive);
    }
  }
  void AddAverage(const std::string& kind, double radius, double unit, bool adaptive) {
    Spend(static_cast<double>(settings_.draws), "random perturbations");
    const Estimate average =
        AverageSharpness(loss_, clean_loss_, radius * unit, adaptive, static_cast<int>(settings_.draws),
                         StreamOf(settings_.seed, kAverageStream));
    Add("gaussian" + kind, average.value, average.standard_error, radius);
  }

  // On the first `fault_images` images; the engine computes the loss on both sides of each difference.
  void Faults() {
    if (settings_.fault_rates.empty()) return;
    const EngineView view = ViewOf(input_.model, input_, First(settings_.fault_images), cancellation_);
    for (double rate : settings_.fault_rates) {
      Spend(CostOfFaults(), "bit flips");
      const Estimate increase = FaultSharpness(input_.model, view, rate, settings_, cancellation_);
      Add("fault-flip", increase.value, increase.standard_error, rate);
    }
  }

  // Gives the eigenvectors of the largest eigenvalues.
  Tensor Spectrum() {
    const auto& s = settings_;
    const int64_t n = loss_.weights().numel();
    const double square = result_.weight_norm * result_.weight_norm;
    Tensor vectors;
    if (s.eigenvalues > 0) {
      what_ = "largest eigenvalues";
      const Eigenvalues found =
          LargestEigenvalues(hessian_, n, static_cast<int>(s.eigenvalues), static_cast<int>(s.lanczos_steps),
                             StreamOf(s.seed, kSpectrumStream));
      for (size_t i = 0; i < found.largest.size(); ++i)
        Add("hessian-eigenvalue", found.largest[i], found.residuals[i], static_cast<double>(i + 1));
      Add("hessian-eigenvalue-relative", found.largest[0] * square, found.residuals[0] * square, 1);
      Add("hessian-smallest-eigenvalue", found.smallest, found.smallest_residual);
      vectors = found.vectors;
    }
    if (s.density_probes > 0) {
      what_ = "spectral density";
      result_.density = SpectralDensity(hessian_, n, static_cast<int>(s.density_probes),
                                        static_cast<int>(s.density_steps), StreamOf(s.seed, kDensityStream));
    }
    if (s.trace_probes > 0) {
      what_ = "trace";
      std::vector<std::pair<int64_t, int64_t>> blocks;
      for (const auto& part : loss_.network().parts()) blocks.emplace_back(part.offset, part.count);
      const Traces traces =
          HutchinsonTraces(hessian_, n, blocks, static_cast<int>(s.trace_probes), StreamOf(s.seed, kTraceStream));
      Add("hessian-trace", traces.whole.value, traces.whole.standard_error);
      Add("hessian-trace-relative", traces.whole.value * square / static_cast<double>(n),
          traces.whole.standard_error * square / static_cast<double>(n));
      for (size_t b = 0; b < blocks.size(); ++b)
        Add("hessian-trace", traces.blocks[b].value, traces.blocks[b].standard_error, 0,
            loss_.network().parts()[b].name);
    }
    return vectors;
  }

  // The largest eigenvalue of each layer's diagonal block.
  void Layers() {
    if (settings_.layer_steps == 0) return;
    for (const auto& part : loss_.network().parts()) {
      what_ = "layer " + part.name;
      const Operator block = [&](const Tensor& v) {
        Tensor whole = torch::zeros_like(loss_.weights());
        whole.narrow(0, part.offset, part.count).copy_(v);
        return hessian_(whole).narrow(0, part.offset, part.count);
      };
      const Eigenvalues found = LargestEigenvalues(block, part.count, 1, static_cast<int>(settings_.layer_steps),
                                                   StreamOf(settings_.seed, kLayerStream));
      Add("hessian-eigenvalue", found.largest[0], found.residuals[0], 1, part.name);
    }
  }

  void Surfaces(const Tensor& vectors) {
    const int lines = static_cast<int>(settings_.surface_points), side = static_cast<int>(settings_.plane_points);
    const uint64_t seed = StreamOf(settings_.seed, kSurfaceStream);
    const Tensor first = FilterNormalizedDirection(loss_.network(), seed, 0);
    const auto append = [&](std::vector<SurfacePoint> points) {
      result_.surfaces.insert(result_.surfaces.end(), points.begin(), points.end());
    };
    const auto along = [&](const std::string& name, const Tensor& direction, double extent) {
      if (lines == 0) return;
      Spend(lines, "loss along " + name);
      append(LossAlong(loss_, name, direction, extent, lines));
    };
    const auto plane = [&](const std::string& name, const Tensor& x, const Tensor& y, double extent) {
      if (side == 0) return;
      append(LossOnPlane(loss_, name, x, y, extent, side, [&](double) { Spend(side, "loss on " + name); }));
    };
    along("filter", first, kFilterExtent);
    plane("filter-plane", first, FilterNormalizedDirection(loss_.network(), seed, 1), kFilterExtent);
    if (vectors.defined()) {
      const Tensor scaled = (vectors * result_.weight_norm).to(torch::kFloat);
      for (int64_t i = 0; i < std::min<int64_t>(2, scaled.size(0)); ++i)
        along(fmt::format("eigenvector-{}", i + 1), scaled[i], kEigenvectorExtent);
      if (scaled.size(0) > 1) plane("eigenvector-plane", scaled[0], scaled[1], kEigenvectorExtent);
    }
    for (const LineTo& line : input_.lines) {
      if (lines == 0) break;
      Spend(lines, "the line to " + line.label);
      append(LossBetween(input_.model, line, images_, labels_, lines, cancellation_));
    }
  }

  const SharpnessInput& input_;
  const SharpnessSettings& settings_;
  const std::function<void(double, const std::string&)>& on_progress_;
  const Cancellation* cancellation_;
  std::vector<int64_t> chosen_;
  Tensor images_, labels_;
  WeightLoss loss_;
  Operator hessian_;
  std::string what_;
  double total_ = 1, spent_ = 0, clean_loss_ = 0;
  SharpnessResult result_{};
};

}  // namespace

double AscendSharpness(const WeightLoss& loss, double clean_loss, double radius, bool adaptive, int steps, int restarts,
                       uint64_t seed) {
  if (radius == 0) return 0;
  const Tensor scales = ScalesOf(loss, adaptive);
  double best = 0;
  for (int restart = 0; restart < restarts; ++restart) {
    // The first start is the network itself, whose first step is SAM's; the others are random points of the sphere.
    Tensor u =
        restart == 0
            ? torch::zeros_like(scales)
            : OnSphere(NormalVector(scales.numel(), seed, static_cast<uint64_t>(restart)).to(scales.dtype()), radius);
    for (int step = 0; step < steps; ++step) {
      const Tensor gradient = loss.SlopeAt(scales * u).gradient * scales;
      const double length = restart == 0 && step == 0 ? radius : kStepOfRadius * radius / steps;
      u = u + OnSphere(gradient, length);
      if (u.norm().item<double>() > radius) u = OnSphere(u, radius);
      best = std::max(best, loss.At(scales * u).loss - clean_loss);
    }
  }
  return best;
}

Estimate AverageSharpness(const WeightLoss& loss, double clean_loss, double radius, bool adaptive, int draws,
                          uint64_t seed) {
  const Tensor scales = ScalesOf(loss, adaptive);
  std::vector<double> increases;
  for (int draw = 0; draw < draws; ++draw) {
    const Tensor u = NormalVector(scales.numel(), seed, static_cast<uint64_t>(draw)).to(scales.dtype());
    increases.push_back(loss.At(scales * OnSphere(u, radius)).loss - clean_loss);
  }
  return MeanOf(increases);
}

SharpnessResult MeasureSharpness(const SharpnessInput& input, const SharpnessSettings& settings,
                                 const std::function<void(double, const std::string&)>& on_progress,
                                 const Cancellation* cancellation) {
  return Meter(input, settings, on_progress, cancellation).Measure();
}

json ToJson(const SharpnessResult& result) {
  json measures = json::array(), density = json::array(), surfaces = json::array();
  for (const Measure& m : result.measures) measures.push_back({m.name, m.layer, m.parameter, m.value, m.error});
  for (const SpectralNode& node : result.density) density.push_back({node.probe, node.value, node.weight});
  for (const SurfacePoint& p : result.surfaces) surfaces.push_back({p.surface, p.x, p.y, p.loss, p.accuracy});
  return {{"images", result.images},     {"loss", result.loss},
          {"accuracy", result.accuracy}, {"weight_norm", result.weight_norm},
          {"measures", measures},        {"density", density},
          {"surfaces", surfaces}};
}

}  // namespace steadfast::analysis
