#include "steadfast/engine/evaluator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "steadfast/base/machine.h"  // AvailableCores
#include "steadfast/base/parallel.h"
#include "steadfast/engine/score_rows.h"

namespace steadfast::engine {
namespace {

// The labels of a block, 0 where it has no image.
std::array<uint16_t, kBlockImages> LabelsOf(const EvaluationSet& set, int64_t block) {
  std::array<uint16_t, kBlockImages> labels = {};
  const auto first = set.labels.begin() + block * kBlockImages;
  std::copy(first, first + set.images.images_in(block), labels.begin());
  return labels;
}

// Costs within a factor of two, as shares of a dense run.
constexpr size_t kCostClasses = 8;
size_t CostClass(double share) {
  const int octaves = share >= 1.0 ? 0 : static_cast<int>(-std::log2(std::max(share, 1e-9)));
  return std::min(static_cast<size_t>(octaves), kCostClasses - 1);
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  changed += other.changed;
  broken += other.broken;
  repaired += other.repaired;
  margin_delta += other.margin_delta;
  loss_delta += other.loss_delta;
  return *this;
}

Scores ScoresOf(const Tally& tally, const Scores& golden) {
  Scores scores = golden;
  scores.correct += tally.repaired - tally.broken;
  scores.changed += tally.changed;
  scores.broken += tally.broken;
  scores.repaired += tally.repaired;
  scores.margin_sum += tally.margin_delta;
  scores.loss_sum += tally.loss_delta;
  return scores;
}

Tally TallyOf(uint16_t label, uint16_t golden_prediction, uint16_t prediction, int64_t margin_delta,
              int64_t loss_delta) {
  const bool was_correct = golden_prediction == label, is_correct = prediction == label;
  return {prediction != golden_prediction, was_correct && !is_correct, !was_correct && is_correct, margin_delta,
          loss_delta};
}

Golden RunGolden(const model::QuantizedModel& model, const EvaluationSet& set, int threads,
                 const Cancellation* cancellation) {
  const int64_t n = set.images.images(), classes = model.classes();
  Golden golden;
  golden.predictions.resize(static_cast<size_t>(n));
  golden.margins.resize(static_cast<size_t>(n));
  golden.losses.resize(static_cast<size_t>(n));
  const Kernels& kernels = KernelsOf(BestInstructionSet());
  constexpr int64_t kBlocksAtOnce = 8;
  const DenseEngine shared(model);
  std::vector<std::unique_ptr<DenseEngine>> engines(static_cast<size_t>(threads > 0 ? threads : AvailableCores()));
  ParallelFor(
      threads, (set.images.blocks() + kBlocksAtOnce - 1) / kBlocksAtOnce,
      [&](int worker, int64_t piece) {
        auto& of_worker = engines[static_cast<size_t>(worker)];
        if (of_worker == nullptr) of_worker = std::make_unique<DenseEngine>(shared);
        DenseEngine& engine = *of_worker;
        std::vector<float> logits(static_cast<size_t>(kBlockImages * classes));
        for (int64_t b = piece * kBlocksAtOnce; b < std::min((piece + 1) * kBlocksAtOnce, set.images.blocks()); ++b) {
          engine.RunBlock(set.images, b, logits);
          const BlockScores scores(kernels, logits.data(), static_cast<int>(classes), LabelsOf(set, b).data(), true);
          const int64_t first = b * kBlockImages, count = set.images.images_in(b);
          std::copy_n(scores.predictions.begin(), count, golden.predictions.begin() + first);
          std::copy_n(scores.margins.begin(), count, golden.margins.begin() + first);
          std::copy_n(scores.losses.begin(), count, golden.losses.begin() + first);
        }
      },
      cancellation);
  golden.scores.images = n;
  for (size_t i = 0; i < golden.predictions.size(); ++i) {
    golden.scores.correct += golden.predictions[i] == set.labels[i];
    golden.scores.margin_sum += golden.margins[i];
    golden.scores.loss_sum += golden.losses[i];
  }
  return golden;
}

std::shared_ptr<const GoldenRun> MakeGoldenRun(DifferentialPlan plan, const EvaluationSet& set, int threads,
                                               const Cancellation* cancellation) {
  auto run = std::make_shared<GoldenRun>(GoldenRun{std::move(plan), {}});
  run->blocks = RunGoldenBlocks(run->plan, set, threads, cancellation);
  return run;
}

ZeroShares MeasureZeroShares(const model::QuantizedModel& model, std::span<const uint8_t> images, int threads) {
  std::vector<int64_t> zeros(model.values.size(), 0), totals(model.values.size(), 0);
  const PreparedImages prepared(images, model.values[0].shape.elements());
  std::mutex mutex;
  constexpr int64_t kBlocksAtOnce = 16;
  ParallelFor(threads, (prepared.blocks() + kBlocksAtOnce - 1) / kBlocksAtOnce, [&](int, int64_t piece) {
    DenseEngine engine(model);
    engine.KeepAllValues(model);
    std::vector<float> logits(static_cast<size_t>(kBlockImages * model.classes()));
    for (int64_t b = piece * kBlocksAtOnce; b < std::min((piece + 1) * kBlocksAtOnce, prepared.blocks()); ++b) {
      engine.RunBlock(prepared, b, logits);
      const std::lock_guard lock(mutex);
      for (const auto& node : model.nodes) {
        const auto v = static_cast<size_t>(node.output);
        if (!model::WeightOf(node) || !model.values[v].coding) continue;
        const auto codes = engine.CodesOf(node.output);
        for (size_t row = 0; row < codes.size(); row += kBlockImages) {
          zeros[v] += std::count(codes.begin() + static_cast<int64_t>(row),
                                 codes.begin() + static_cast<int64_t>(row) + prepared.images_in(b),
                                 model.values[v].coding->zero_point);
          totals[v] += prepared.images_in(b);
        }
      }
    }
  });
  ZeroShares shares;
  int64_t all_zeros = 0, all = 0;
  for (size_t v = 0; v < zeros.size(); ++v) {
    shares.values.push_back(totals[v] == 0 ? -1.0 : static_cast<double>(zeros[v]) / static_cast<double>(totals[v]));
    all_zeros += zeros[v];
    all += totals[v];
  }
  shares.weighted = all == 0 ? 0.0 : static_cast<double>(all_zeros) / static_cast<double>(all);
  return shares;
}

Tally RunDensely(DenseEngine& engine, const EvaluationSet& set, const Golden& golden, int64_t first, int64_t end,
                 const Cancellation* cancellation) {
  const Kernels& kernels = KernelsOf(engine.instruction_set());
  const int64_t classes = engine.classes();
  std::vector<float> logits(static_cast<size_t>(kBlockImages * classes));
  Tally tally;
  for (int64_t b = first; b < end; ++b) {
    if (cancellation != nullptr) cancellation->ThrowIfRequested();
    engine.RunBlock(set.images, b, logits);
    const auto labels = LabelsOf(set, b);
    const BlockScores scores(kernels, logits.data(), static_cast<int>(classes), labels.data(), true);
    for (int64_t i = 0; i < set.images.images_in(b); ++i) {
      const auto lane = static_cast<size_t>(i), image = static_cast<size_t>(b * kBlockImages + i);
      tally += TallyOf(set.labels[image], golden.predictions[image], scores.predictions[lane],
                       scores.margins[lane] - golden.margins[image], scores.losses[lane] - golden.losses[image]);
    }
  }
  return tally;
}

// Adds up what a differential engine finds for one change.
struct Evaluator::Differential final : ResultSink {
  std::shared_ptr<const GoldenRun> run;
  const EvaluationSet& set;
  DifferentialEngine engine;
  const Golden* golden = nullptr;
  Tally tally;
  std::map<std::pair<int, size_t>, std::optional<double>> measured;  // costs as shares of a dense run, by first changed
                                                                     // step and CostClass

  Differential(std::shared_ptr<const GoldenRun> r, const EvaluationSet& s)
      : run(std::move(r)), set(s), engine(run->plan, *this, ResultDetail::kLosses) {}

  void Take(std::span<const LaneTag> tags, std::span<const uint16_t> predictions, std::span<const int64_t> margins,
            std::span<const int64_t> losses) override {
    for (size_t i = 0; i < tags.size(); ++i) {
      const auto image = static_cast<size_t>(tags[i].image);
      tally += TallyOf(set.labels[image], golden->predictions[image], predictions[i],
                       margins[i] - golden->margins[image], losses[i] - golden->losses[image]);
    }
  }
};

Evaluator::Evaluator(const model::QuantizedModel& model, const EvaluationSet& set, std::shared_ptr<const GoldenRun> run,
                     InstructionSet instruction_set)
    : model_(model), set_(&set), dense_(model, instruction_set) {
  dense_.ChoosePaths(set.images.first_blocks(1));
  if (run != nullptr) differential_ = std::make_unique<Differential>(std::move(run), set);
}
Evaluator::Evaluator(const Evaluator& other) : model_(other.model_), set_(other.set_), dense_(other.dense_) {
  if (other.differential_ == nullptr) return;
  differential_ = std::make_unique<Differential>(other.differential_->run, *set_);
  differential_->measured = other.differential_->measured;
}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Scores Evaluator::Evaluate(const model::ModelChange& change, const Golden& golden, const Cancellation* cancellation) {
  if (change.empty()) return golden.scores;
  if (differential_ == nullptr) return EvaluateDensely(change, golden, cancellation);
  return ScoresOf(EvaluateBlocks(change, golden, cancellation), golden.scores);
}

Scores Evaluator::Evaluate(const model::ModelChange& change, const model::ValueFaults& faults, const Golden& golden,
                           const Cancellation* cancellation) {
  if (faults.empty()) return Evaluate(change, golden, cancellation);
  // Not owned: they are there until this returns.
  dense_.SetValueFaults(std::shared_ptr<const model::ValueFaults>(std::shared_ptr<void>(), &faults));
  try {
    const Scores scores = EvaluateDensely(change, golden, cancellation);
    dense_.SetValueFaults(nullptr);
    return scores;
  } catch (...) {
    dense_.SetValueFaults(nullptr);
    throw;
  }
}

Scores Evaluator::Evaluate(const model::ModelChange& change, const model::ImageFaultSource& faults,
                           const Golden& golden, const Cancellation* cancellation) {
  Apply(change, model_);
  dense_.SetParameters(model_);
  dense_.SetImageFaults(faults, model_);
  Undo(change, model_);
  try {
    const Tally tally = RunDensely(dense_, *set_, golden, 0, set_->images.blocks(), cancellation);
    dense_.SetImageFaults({}, model_);
    return ScoresOf(tally, golden.scores);
  } catch (...) {
    dense_.SetImageFaults({}, model_);
    throw;
  }
}

Tally Evaluator::EvaluateBlocks(const model::ModelChange& change, const Golden& golden,
                                const Cancellation* cancellation) {
  const std::vector<GoldenBlock>& blocks = differential_->run->blocks;
  if (change.empty() || blocks.empty()) return {};
  if (ChangesCodings(model_, change)) {
    Tally tally;
    const int64_t number = blocks[0].number;
    AddDensely(change, golden, number, number + static_cast<int64_t>(blocks.size()), cancellation, tally);
    return tally;
  }
  // Expected costs are replaced by what earlier changes of about this size, in the same layer, did cost.
  const DifferentialPlan& plan = differential_->run->plan;
  const StepDeltas deltas(plan, model_, change);
  const double dense = dense_.nanoseconds_per_block(), expected = deltas.expected_nanoseconds(plan) / dense;
  std::optional<double>& measured = differential_->measured[{deltas.first_step(), CostClass(expected)}];
  Tally tally;
  int64_t first = 0;
  if (measured.value_or(expected) < 1.0) {
    const auto start = std::chrono::steady_clock::now();
    first = AddDifferentially(change, golden, dense, cancellation, tally);
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    constexpr double kMostShare = 2.0;  // beyond that, something else kept the machine busy
    const double share = elapsed.count() / dense / static_cast<double>(first);
    constexpr double kWeightOfTheLast = 0.3;
    measured = kWeightOfTheLast * std::min(share, kMostShare) + (1 - kWeightOfTheLast) * measured.value_or(expected);
  } else {
    // What made it slow may have passed: it is tried again after some time.
    constexpr double kForgetting = 0.02;
    measured = (1 - kForgetting) * measured.value_or(expected) + kForgetting * std::min(expected, 1.0);
  }
  const auto count = static_cast<int64_t>(blocks.size());
  if (first < count)
    AddDensely(change, golden, blocks[static_cast<size_t>(first)].number, blocks[0].number + count, cancellation,
               tally);
  return tally;
}

Scores Evaluator::EvaluateDifferentially(const model::ModelChange& change, const Golden& golden,
                                         const Cancellation* cancellation) {
  if (ChangesCodings(model_, change)) return EvaluateDensely(change, golden, cancellation);
  Tally tally;
  AddDifferentially(change, golden, std::numeric_limits<double>::infinity(), cancellation, tally);
  return ScoresOf(tally, golden.scores);
}

int64_t Evaluator::AddDifferentially(const model::ModelChange& change, const Golden& golden, double limit,
                                     const Cancellation* cancellation, Tally& tally) {
  const StepDeltas deltas(differential_->run->plan, model_, change);
  differential_->engine.Discard();  // of an evaluation that was cancelled
  differential_->golden = &golden;
  differential_->tally = {};
  const auto start = std::chrono::steady_clock::now();
  int64_t done = 0;
  for (const GoldenBlock& block : differential_->run->blocks) {
    if (cancellation != nullptr) cancellation->ThrowIfRequested();
    differential_->engine.Evaluate(block, deltas, 0);
    ++done;
    constexpr int64_t kFewBlocks = 4;  // the first ones prepare what later ones share
    if (done < kFewBlocks || !std::has_single_bit(static_cast<uint64_t>(done))) continue;
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    if (elapsed.count() > limit * static_cast<double>(done)) break;
  }
  differential_->engine.Flush();
  tally += differential_->tally;
  return done;
}

Scores Evaluator::EvaluateDensely(const model::ModelChange& change, const Golden& golden,
                                  const Cancellation* cancellation) {
  Tally tally;
  AddDensely(change, golden, 0, set_->images.blocks(), cancellation, tally);
  return ScoresOf(tally, golden.scores);
}

void Evaluator::AddDensely(const model::ModelChange& change, const Golden& golden, int64_t first, int64_t end,
                           const Cancellation* cancellation, Tally& tally) {
  Apply(change, model_);
  dense_.SetParameters(model_);
  Undo(change, model_);
  tally += RunDensely(dense_, *set_, golden, first, end, cancellation);
}

}  // namespace steadfast::engine
