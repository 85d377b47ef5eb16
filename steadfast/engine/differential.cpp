#include "steadfast/engine/differential.h"

#include <fmt/format.h>

#include <algorithm>
#include <any>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"
#include "steadfast/base/parallel.h"
#include "steadfast/engine/plan.h"
#include "steadfast/engine/score_rows.h"
#include "steadfast/engine/sliced.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {

using model::QuantizedModel;

struct DifferentialPlan::Steps {
  struct ValueInfo {
    int64_t channels, rows_of_channel;
    bool coded;
    int codes;  // 2^bits
    int64_t elements() const { return channels * rows_of_channel; }
  };

  std::vector<Step> steps;
  std::vector<ValueInfo> values;
  std::vector<std::vector<int>> uses;                  // [value]: steps that read it
  std::vector<uint8_t> is_cut;                         // [step]: behind it, only its output is still needed
  std::vector<double> nanoseconds;                     // [step]: of a whole block, measured
  std::vector<double> suffix;                          // [step]: of this and all later ones, by rows
  std::vector<double> together;                        // [step]: of all behind it, for a gathered block
  std::vector<uint8_t> goes_by_slices;                 // [step]: whether those are faster by slices
  std::vector<double> rest;                            // [step]: of all behind it, if every code differs
  double dense_nanoseconds;                            // of a block on the faster path
  std::unique_ptr<const SlicedPath> sliced;            // or null
  std::vector<model::Requantization> requantizations;  // [step]; empty of those without weights
  InstructionSet set;
  int64_t classes;
  int output;
  int64_t input_elements;
};

namespace {

using Steps = DifferentialPlan::Steps;
using ValueInfo = Steps::ValueInfo;

// Whether, after step s, only its (coded) output is still needed.
bool IsCut(const Steps& plan, size_t s) {
  for (size_t v = 0; v < plan.values.size(); ++v) {
    if (static_cast<int>(v) == plan.steps[s].output) continue;
    bool computed = v == 0;
    for (size_t t = 0; t <= s; ++t) computed |= plan.steps[t].output == static_cast<int>(v);
    const bool needed =
        std::any_of(plan.uses[v].begin(), plan.uses[v].end(), [&](int use) { return use > static_cast<int>(s); });
    if (computed && needed) return false;
  }
  return plan.values[static_cast<size_t>(plan.steps[s].output)].coded;
}

// -1: none, since it is the input.
int StepThatMakes(const Steps& plan, int value) {
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    if (plan.steps[s].output == value) return static_cast<int>(s);
  }
  if (value != 0) throw Error(fmt::format("no step makes value {}", value));
  return -1;
}

// Runs a block through the steps from `first` on; rows[value] must hold what they read.
template <typename RowsOf>
void RunSteps(const Steps& plan, size_t first, Workspace& workspace, const RowsOf& rows_of, float* logits,
              std::vector<Buffer<int32_t>>* sums, std::vector<double>* nanoseconds = nullptr) {
  std::vector<const uint8_t*> inputs;
  for (size_t s = first; s < plan.steps.size(); ++s) {
    const Step& step = plan.steps[s];
    inputs.clear();
    for (int input : step.inputs) inputs.push_back(rows_of(input));
    const auto start = std::chrono::steady_clock::now();
    step.operation->RunBlock(inputs, workspace,
                             {const_cast<uint8_t*>(rows_of(step.output)), logits,
                              sums == nullptr || (*sums)[s].empty() ? nullptr : (*sums)[s].data()});
    if (nanoseconds == nullptr) continue;
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    (*nanoseconds)[s] = std::min((*nanoseconds)[s], elapsed.count());
  }
}

// Nanoseconds of gathering a block's images behind a step.
double GatheringCost(const Steps& plan, size_t s, const KernelCosts& costs) {
  const ValueInfo& value = plan.values[static_cast<size_t>(plan.steps[s].output)];
  return static_cast<double>(value.elements()) * costs.compress;
}

// Times each step on a block of zero codes, and what follows each cut.
void MeasureSteps(Steps& plan) {
  Workspace workspace(plan.set);
  std::vector<Buffer<uint8_t>> rows;
  for (const ValueInfo& value : plan.values)
    rows.emplace_back(value.coded ? static_cast<size_t>(value.elements() * kRowBytes) : 0, 0);
  std::vector<float> logits(static_cast<size_t>(plan.classes * kBlockImages));
  plan.nanoseconds.assign(plan.steps.size(), 1e300);
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    RunSteps(
        plan, 0, workspace, [&](int value) { return rows[static_cast<size_t>(value)].data(); }, logits.data(), nullptr,
        &plan.nanoseconds);
  }
  const size_t count = plan.steps.size();
  plan.suffix.assign(count + 1, 0.0);
  for (size_t s = count; s-- > 0;) plan.suffix[s] = plan.suffix[s + 1] + plan.nanoseconds[s];
  SlicedMemory memory;
  const auto by_slices = [&](size_t first, int value) {
    double least = 1e300;
    for (int round = 0; round < kRounds && plan.sliced != nullptr; ++round) {
      const auto start = std::chrono::steady_clock::now();
      plan.sliced->RunFrom(plan.steps, first, value, rows[static_cast<size_t>(value)].data(), kBlockImages, workspace,
                           memory, logits.data());
      const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
      least = std::min(least, elapsed.count());
    }
    return least;
  };
  plan.dense_nanoseconds = std::min(plan.suffix[0], by_slices(0, 0));
  plan.together.assign(count, 0.0);
  plan.goes_by_slices.assign(count, 0);
  plan.rest.assign(count, 0.0);
  for (size_t s = count - 1; s-- > 0;) {
    plan.rest[s] = plan.nanoseconds[s + 1] + plan.rest[s + 1];
    if (plan.is_cut[s] == 0) continue;
    const double sliced = by_slices(s + 1, plan.steps[s].output);
    plan.goes_by_slices[s] = sliced < plan.suffix[s + 1] ? 1 : 0;
    plan.together[s] = std::min(sliced, plan.suffix[s + 1]);
    plan.rest[s] = std::min(plan.rest[s], GatheringCost(plan, s, *workspace.costs) + plan.together[s]);
  }
}

}  // namespace

DifferentialPlan::DifferentialPlan(const QuantizedModel& model, InstructionSet set)
    : steps_(std::make_unique<Steps>()) {
  Steps& plan = *steps_;
  plan.steps = MakeSteps(model, /*fuse=*/true, set);
  plan.set = set;
  plan.classes = model.classes();
  plan.output = model.output;
  plan.input_elements = model.values[0].shape.elements();
  for (const model::Value& value : model.values) {
    const int codes = value.coding ? value.coding->highest_code() + 1 : 0;
    plan.values.push_back(
        {value.shape.channels, value.shape.height * value.shape.width, value.coding.has_value(), codes});
  }
  plan.uses.resize(model.values.size());
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    for (int input : plan.steps[s].inputs) plan.uses[static_cast<size_t>(input)].push_back(static_cast<int>(s));
  }
  for (size_t s = 0; s < plan.steps.size(); ++s)
    plan.is_cut.push_back(s + 1 < plan.steps.size() && IsCut(plan, s) ? 1 : 0);
  for (const Step& step : plan.steps) {
    if (step.weighted() != nullptr) step.weighted()->PrepareDifferential();
  }
  plan.requantizations = RequantizationsOf(plan.steps, model);
  plan.sliced = SlicedPath::Make(model, plan.steps, set);
  MeasureSteps(plan);
}

DifferentialPlan::~DifferentialPlan() = default;
DifferentialPlan::DifferentialPlan(DifferentialPlan&&) noexcept = default;

double DifferentialPlan::nanoseconds_per_block() const {
  return steps_->dense_nanoseconds;
}

double DifferentialPlan::nanoseconds_behind(int value) const {
  const int step = StepThatMakes(*steps_, value);
  return step < 0 ? steps_->suffix[0] : steps_->rest[static_cast<size_t>(step)];
}

int64_t DifferentialPlan::bytes_per_block() const {
  int64_t bytes = steps_->input_elements * kRowBytes;
  for (const Step& step : steps_->steps) {
    const ValueInfo& value = steps_->values[static_cast<size_t>(step.output)];
    bytes += value.elements() * kRowBytes * (value.coded ? 1 : static_cast<int64_t>(sizeof(float)));
    bytes += step.sums_kept() * kBlockImages * static_cast<int64_t>(sizeof(int32_t));
  }
  return bytes;
}

namespace {

void FindSlack(const Steps& plan, GoldenBlock& golden) {
  const size_t last = plan.steps.size() - 1;
  if (plan.steps[last].output != plan.output || plan.steps[last].weighted() == nullptr) return;
  const Kernels& kernels = KernelsOf(plan.set);
  const BlockScores scores(kernels, golden.logits.data(), static_cast<int>(plan.classes), golden.labels.data(), false);
  for (int64_t image = 0; image < golden.images; ++image) {
    const auto i = static_cast<size_t>(image);
    golden.slack[i] =
        plan.steps[last].weighted()->SlackOf(golden.sums[last].data(), kernels.lane_of_image[i], scores.predictions[i]);
  }
}

}  // namespace

GoldenBlock RunGoldenBlock(const DifferentialPlan& plan, const EvaluationSet& set, int64_t block) {
  const Steps& steps = plan.steps();
  GoldenBlock golden;
  static std::atomic<int64_t> runs = 0;
  golden.number = block;
  golden.run = ++runs;
  golden.images = set.images.images_in(block);
  golden.rows.resize(steps.values.size());
  const auto images = set.images.block(block);
  golden.rows[0].assign(images.begin(), images.end());
  golden.sums.resize(steps.steps.size());
  for (size_t s = 0; s < steps.steps.size(); ++s) {
    const Step& step = steps.steps[s];
    const ValueInfo& value = steps.values[static_cast<size_t>(step.output)];
    if (value.coded)
      golden.rows[static_cast<size_t>(step.output)].resize(static_cast<size_t>(value.elements() * kRowBytes));
    golden.sums[s].resize(static_cast<size_t>(step.sums_kept() * kBlockImages));
  }
  golden.logits.resize(static_cast<size_t>(steps.classes * kBlockImages));
  Workspace workspace(steps.set);
  RunSteps(
      steps, 0, workspace, [&](int value) { return golden.rows[static_cast<size_t>(value)].data(); },
      golden.logits.data(), &golden.sums);
  const auto first = set.labels.begin() + block * kBlockImages;
  std::copy(first, first + golden.images, golden.labels.begin());
  FindSlack(steps, golden);
  return golden;
}

std::vector<GoldenBlock> RunGoldenBlocks(const DifferentialPlan& plan, const EvaluationSet& set, int64_t first,
                                         int64_t count, int threads, const Cancellation* cancellation) {
  std::vector<GoldenBlock> blocks(static_cast<size_t>(count));
  ParallelFor(
      threads, count,
      [&](int, int64_t block) { blocks[static_cast<size_t>(block)] = RunGoldenBlock(plan, set, first + block); },
      cancellation);
  return blocks;
}

std::vector<GoldenBlock> RunGoldenBlocks(const DifferentialPlan& plan, const EvaluationSet& set, int threads,
                                         const Cancellation* cancellation) {
  return RunGoldenBlocks(plan, set, 0, set.images.blocks(), threads, cancellation);
}

struct StepDeltas::Lists {
  std::vector<std::vector<WeightDelta>> of_step;                 // ascending by output
  std::vector<std::vector<ChangedConstants>> constants_of_step;  // the same
  int first = 0, last = -1;                                      // steps with any

  bool Has(size_t step) const { return !of_step[step].empty() || !constants_of_step[step].empty(); }
};

StepDeltas::StepDeltas(const DifferentialPlan& plan, const QuantizedModel& model, const model::ModelChange& change)
    : lists_(std::make_unique<Lists>()) {
  const Steps& steps = plan.steps();
  StepChanges changes = ChangesOfSteps(steps.steps, steps.requantizations, model, change);
  lists_->of_step = std::move(changes.weights);
  lists_->constants_of_step = std::move(changes.constants);
  lists_->first = static_cast<int>(steps.steps.size());
  for (int s = 0; s < static_cast<int>(steps.steps.size()); ++s) {
    if (!lists_->Has(static_cast<size_t>(s))) continue;
    lists_->first = std::min(lists_->first, s);
    lists_->last = s;
  }
}

double StepDeltas::expected_nanoseconds(const DifferentialPlan& plan) const {
  const Steps& steps = plan.steps();
  const KernelCosts& costs = CostsOf(steps.set);
  double expected = 0.0;
  for (size_t s = static_cast<size_t>(lists_->first); static_cast<int>(s) <= lists_->last; ++s) {
    const auto& deltas = lists_->of_step[s];
    int64_t outputs = 0;
    for (size_t i = 0; i < deltas.size(); ++i) outputs += i == 0 || deltas[i].output != deltas[i - 1].output;
    const ValueInfo& value = steps.values[static_cast<size_t>(steps.steps[s].output)];
    const double share = static_cast<double>(outputs) / static_cast<double>(value.channels);
    const auto positions = static_cast<double>(steps.steps[s].sums_kept()) / static_cast<double>(value.channels);
    const double rows = (static_cast<double>(deltas.size()) * costs.row +
                         static_cast<double>(lists_->constants_of_step[s].size()) * costs.code_row) *
                        positions;
    // The first changed step computes some outputs; all later ones may have to compute everything.
    expected += static_cast<int>(s) == lists_->first ? std::min(rows, share * steps.nanoseconds[s])
                                                     : steps.nanoseconds[s] + rows;
  }
  if (lists_->last >= 0) expected += steps.rest[static_cast<size_t>(lists_->last)];
  return expected;
}

int StepDeltas::first_step() const {
  return lists_->first;
}

StepDeltas::~StepDeltas() = default;
StepDeltas::StepDeltas(StepDeltas&&) noexcept = default;

struct DifferentialEngine::Impl {
  const Steps& plan;
  ResultSink& sink;
  const ResultDetail detail;
  Workspace workspace;
  std::vector<std::unique_ptr<ChangedValue>> values;
  std::vector<std::any> states;  // [step]
  std::vector<float> reals;      // [classes][64]
  std::vector<ChangedValue*> inputs;

  // Images gathered behind a step, to go on together.
  struct Gathered {
    Buffer<uint8_t> rows;  // [element][64]
    std::vector<LaneTag> tags;
    std::vector<uint16_t> labels;
  };
  std::vector<Gathered> gathered;            // [step]
  std::vector<Buffer<uint8_t>> suffix_rows;  // [value]
  SlicedMemory memory;

  Impl(const DifferentialPlan& p, ResultSink& s, ResultDetail d)
      : plan(p.steps()), sink(s), detail(d), workspace(plan.set) {
    for (const ValueInfo& value : plan.values)
      values.push_back(value.coded ? std::make_unique<ChangedValue>(value.channels, value.rows_of_channel) : nullptr);
    states.resize(plan.steps.size());
    gathered.resize(plan.steps.size());
    suffix_rows.resize(plan.values.size());
    reals.resize(static_cast<size_t>(plan.classes * kBlockImages));
  }

  void Reset(const GoldenBlock& golden) {
    for (size_t v = 0; v < values.size(); ++v) {
      if (values[v] != nullptr) values[v]->Reset(golden.rows[v].data());
    }
  }

  // Runs steps from `first` on; `deltas` may be null.
  void Propagate(const GoldenBlock& golden, const StepDeltas::Lists* deltas, size_t first, int32_t change) {
    const uint64_t valid = LanesOf(golden.images);
    uint64_t real_lanes = 0;
    for (size_t s = first; s < plan.steps.size(); ++s) {
      const Step& step = plan.steps[s];
      inputs.clear();
      bool changed = false;
      for (int input : step.inputs) {
        inputs.push_back(values[static_cast<size_t>(input)].get());
        changed |= !inputs.back()->channels().empty();
      }
      std::span<const WeightDelta> weights;
      std::span<const ChangedConstants> constants;
      if (deltas != nullptr) {
        weights = deltas->of_step[s];
        constants = deltas->constants_of_step[s];
      }
      const bool is_changed_itself = !weights.empty() || !constants.empty();
      if (!changed && !is_changed_itself) continue;
      ChangedValue* output = values[static_cast<size_t>(step.output)].get();
      BlockChange block{inputs, weights, constants, golden.run, golden.sums[s].data(), valid, output, nullptr, nullptr};
      if (output == nullptr && detail == ResultDetail::kDecisions && !is_changed_itself && inputs.size() == 1 &&
          MayDiffer(golden, *inputs[0]) == 0) {
        return;
      }
      if (output == nullptr) {
        std::copy(golden.logits.begin(), golden.logits.end(), reals.begin());
        block.reals = reals.data();
        block.real_lanes = &real_lanes;
      }
      step.operation->RunChanged(block, workspace, states[s]);
      if (output == nullptr || plan.is_cut[s] == 0 || output->channels().empty()) continue;
      const bool rest_is_golden = deltas == nullptr || deltas->last <= static_cast<int>(s);
      if (!rest_is_golden) continue;
      uint64_t lanes = output->lanes();
      if (detail == ResultDetail::kDecisions && IsInputOfTheLastStep(s)) lanes = MayDiffer(golden, *output);
      if (lanes == 0) return;
      if (GatheringIsCheaper(s, *output, lanes)) {
        Gather(s, *output, lanes, golden, change);
        return;
      }
    }
    if (real_lanes != 0) Score(golden, real_lanes, change);
  }

  // The images whose decision may change when the last layer sums these codes.
  uint64_t MayDiffer(const GoldenBlock& golden, const ChangedValue& value) const {
    int32_t distances[kBlockImages] = {};
    for (int32_t channel : value.channels()) {
      for (int64_t row = 0; row < value.rows_of_channel(); ++row) {
        workspace.kernels->add_distances(value.channel(channel) + row * kRowBytes,
                                         value.golden(channel) + row * kRowBytes, distances);
      }
    }
    uint64_t lanes = 0;
    for (size_t i = 0; i < kBlockImages; ++i) lanes |= uint64_t{distances[i] > golden.slack[i]} << i;
    return lanes & value.lanes();
  }
  // Whether the step behind this value is the last one, on which the slack is known.
  bool IsInputOfTheLastStep(size_t s) const { return s + 2 == plan.steps.size(); }

  // Compares going on with all 64 lanes against gathering the lanes that differ and going on with 64 of those.
  bool GatheringIsCheaper(size_t s, const ChangedValue& value, uint64_t lanes) const {
    const double share = std::popcount(lanes) / static_cast<double>(kBlockImages);
    const double gather = GatheringCost(plan, s, *workspace.costs) + share * plan.together[s];
    double next = plan.nanoseconds[s + 1] * plan.steps[s + 1].operation->ChangedShare(value, *workspace.costs);
    double after = plan.rest[s + 1];
    // A flatten costs next to nothing; look behind it.
    if (s + 2 < plan.steps.size() && plan.nanoseconds[s + 1] < plan.nanoseconds[s + 2] &&
        plan.steps[s + 1].sums_kept() == 0) {
      next += plan.nanoseconds[s + 2] * next / std::max(plan.nanoseconds[s + 1], 1.0);
      after = plan.rest[s + 2];
    }
    return gather < next + after;
  }

  void Gather(size_t s, const ChangedValue& value, uint64_t lanes, const GoldenBlock& golden, int32_t change) {
    Gathered& to = gathered[s];
    const int64_t rows = value.channel_count() * value.rows_of_channel();
    to.rows.resize(static_cast<size_t>(rows * kRowBytes));
    while (lanes != 0) {
      const auto room = static_cast<int>(kBlockImages - static_cast<int64_t>(to.tags.size()));
      uint64_t now = lanes;
      for (int excess = std::popcount(lanes) - room; excess > 0; --excess)
        now &= ~(uint64_t{1} << (63 - std::countl_zero(now)));
      const auto filled = static_cast<int64_t>(to.tags.size());
      uint8_t* row_to = to.rows.data() + filled;
      for (int64_t c = 0; c < value.channel_count(); ++c) {
        const uint8_t* row = value.channel(c);
        for (int64_t r = 0; r < value.rows_of_channel(); ++r, row += kRowBytes, row_to += kRowBytes)
          workspace.kernels->compress_row(row, now, row_to);
      }
      for (uint64_t rest = now; rest != 0; rest &= rest - 1) {
        const int lane = std::countr_zero(rest);
        to.tags.push_back({change, static_cast<int32_t>(golden.number * kBlockImages + lane)});
        to.labels.push_back(golden.labels[static_cast<size_t>(lane)]);
      }
      lanes &= ~now;
      if (static_cast<int64_t>(to.tags.size()) == kBlockImages) RunGathered(s);
    }
  }

  void RunGathered(size_t s) {
    Gathered& from = gathered[s];
    if (from.tags.empty()) return;
    if (plan.goes_by_slices[s] != 0)
      plan.sliced->RunFrom(plan.steps, s + 1, plan.steps[s].output, from.rows.data(),
                           static_cast<int64_t>(from.tags.size()), workspace, memory, reals.data());
    else
      RunGatheredByRows(s, from.rows.data());
    from.labels.resize(kBlockImages);
    const BlockScores scores(*workspace.kernels, reals.data(), static_cast<int>(plan.classes), from.labels.data(),
                             detail == ResultDetail::kLosses);
    const size_t count = from.tags.size();
    sink.Take(from.tags, std::span(scores.predictions).first(count),
              std::span(scores.margins).first(detail == ResultDetail::kDecisions ? 0 : count),
              std::span(scores.losses).first(detail == ResultDetail::kLosses ? count : 0));
    from.tags.clear();
    from.labels.clear();
  }

  void RunGatheredByRows(size_t s, const uint8_t* rows) {
    for (size_t t = s + 1; t < plan.steps.size(); ++t) {
      const auto output = static_cast<size_t>(plan.steps[t].output);
      if (plan.values[output].coded)
        suffix_rows[output].resize(static_cast<size_t>(plan.values[output].elements() * kRowBytes));
    }
    RunSteps(
        plan, s + 1, workspace,
        [&](int value) {
          return value == plan.steps[s].output ? rows : suffix_rows[static_cast<size_t>(value)].data();
        },
        reals.data(), nullptr);
  }

  void Score(const GoldenBlock& golden, uint64_t lanes, int32_t change) {
    const BlockScores scores(*workspace.kernels, reals.data(), static_cast<int>(plan.classes), golden.labels.data(),
                             detail == ResultDetail::kLosses);
    LaneTag tags[kBlockImages];
    uint16_t predictions[kBlockImages];
    int64_t margins[kBlockImages], losses[kBlockImages];
    size_t count = 0;
    for (; lanes != 0; lanes &= lanes - 1, ++count) {
      const auto lane = static_cast<size_t>(std::countr_zero(lanes));
      tags[count] = {change, static_cast<int32_t>(golden.number * kBlockImages + static_cast<int64_t>(lane))};
      predictions[count] = scores.predictions[lane];
      margins[count] = scores.margins[lane];
      if (detail == ResultDetail::kLosses) losses[count] = scores.losses[lane];
    }
    sink.Take(std::span(tags).first(count), std::span(predictions).first(count),
              std::span(margins).first(detail == ResultDetail::kDecisions ? 0 : count),
              std::span(losses).first(detail == ResultDetail::kLosses ? count : 0));
  }
};

DifferentialEngine::DifferentialEngine(const DifferentialPlan& plan, ResultSink& sink, ResultDetail detail)
    : impl_(std::make_unique<Impl>(plan, sink, detail)) {}
DifferentialEngine::~DifferentialEngine() = default;

void DifferentialEngine::Evaluate(const GoldenBlock& golden, const StepDeltas& deltas, int32_t change) {
  impl_->Reset(golden);
  impl_->Propagate(golden, &deltas.lists(), static_cast<size_t>(deltas.lists().first), change);
}

namespace {

// The step that owns a weight parameter alone.
int StepOfWeight(const Steps& plan, int weight) {
  int found = -1;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    if (plan.steps[s].weight != weight) continue;
    if (found >= 0) throw Error(fmt::format("several layers use the weight parameter {}", weight));
    found = static_cast<int>(s);
  }
  if (found < 0) throw Error(fmt::format("no layer uses the weight parameter {}", weight));
  return found;
}

}  // namespace

void DifferentialEngine::EvaluateForced(const GoldenBlock& golden, int weight, int64_t channel, uint8_t code,
                                        int32_t change) {
  impl_->Reset(golden);
  const auto step = static_cast<size_t>(StepOfWeight(impl_->plan, weight));
  ChangedValue& value = *impl_->values[static_cast<size_t>(impl_->plan.steps[step].output)];
  std::memset(value.Begin(channel), code, static_cast<size_t>(value.rows_of_channel() * kRowBytes));
  value.Finish(channel, LanesOf(golden.images), *impl_->workspace.kernels);
  if (!value.channels().empty()) impl_->Propagate(golden, nullptr, step + 1, change);
}

void DifferentialEngine::EvaluateFaultyValue(const GoldenBlock& golden, int value,
                                             const model::ValueFaults::InEveryImage& fault, int32_t change) {
  impl_->Reset(golden);
  ChangedValue& changed = *impl_->values[static_cast<size_t>(value)];
  const int64_t channel = fault.element / changed.rows_of_channel();
  const auto bytes = static_cast<size_t>(changed.rows_of_channel() * kRowBytes);
  std::memcpy(changed.Begin(channel), changed.golden(channel), bytes);
  uint8_t* row = changed.Begin(channel) + fault.element % changed.rows_of_channel() * kRowBytes;
  uint64_t lanes = 0;
  for (size_t i = 0; i < kBlockImages; ++i) {
    const uint8_t code = fault.masks.Of(row[i]);
    lanes |= uint64_t{code != row[i]} << i;
    row[i] = code;
  }
  changed.FinishCompared(channel, lanes & LanesOf(golden.images));
  if (changed.channels().empty()) return;
  const int step = StepThatMakes(impl_->plan, value);
  if (step >= 0 && impl_->plan.is_cut[static_cast<size_t>(step)] != 0 &&
      impl_->GatheringIsCheaper(static_cast<size_t>(step), changed, changed.lanes()))
    return impl_->Gather(static_cast<size_t>(step), changed, changed.lanes(), golden, change);
  impl_->Propagate(golden, nullptr, static_cast<size_t>(step + 1), change);
}

void DifferentialEngine::Discard() {
  for (auto& gathered : impl_->gathered) {
    gathered.tags.clear();
    gathered.labels.clear();
  }
}

void DifferentialEngine::Flush() {
  for (size_t s = 0; s < impl_->gathered.size(); ++s) impl_->RunGathered(s);
}

struct NeuronLookUp::Impl {
  const Kernels& kernels;
  const uint8_t* rows;  // of the inputs
  int32_t zero_point;
  LookUp look_up{};
};

NeuronLookUp::NeuronLookUp(const DifferentialPlan& plan, const GoldenBlock& golden, int weight, int64_t neuron) {
  if (CodesOf(plan, weight) == 0) throw Error(fmt::format("weight parameter {} has no neurons to look up", weight));
  const auto s = static_cast<size_t>(StepOfWeight(plan.steps(), weight));
  const Step& step = plan.steps().steps[s];
  impl_ =
      std::make_unique<Impl>(Impl{KernelsOf(plan.steps().set), golden.rows[static_cast<size_t>(step.inputs[0])].data(),
                                  step.weighted()->ZeroPoint()});
  step.weighted()->LookUpOf(neuron, golden.sums[s].data(), impl_->look_up);
}
NeuronLookUp::~NeuronLookUp() = default;
NeuronLookUp::NeuronLookUp(NeuronLookUp&&) noexcept = default;

int64_t NeuronLookUp::Sum(const Change& change, const int64_t* table) const {
  LookUp look_up = impl_->look_up;
  look_up.table = table;
  look_up.correction -= impl_->zero_point * change.level_delta;
  return impl_->kernels.look_up(look_up, impl_->rows + change.input * kRowBytes, change.level_delta);
}

std::array<uint8_t, kBlockImages> NeuronLookUp::PlacesOf(const DifferentialPlan& plan) {
  return KernelsOf(plan.steps().set).lane_of_image;
}

int NeuronLookUp::CodesOf(const DifferentialPlan& plan, int weight) {
  const Steps& steps = plan.steps();
  const auto uses =
      std::count_if(steps.steps.begin(), steps.steps.end(), [&](const Step& s) { return s.weight == weight; });
  if (uses != 1) return 0;
  const Step& step = steps.steps[static_cast<size_t>(StepOfWeight(steps, weight))];
  const ValueInfo& output = steps.values[static_cast<size_t>(step.output)];
  LookUp look_up{};
  if (!output.coded || output.rows_of_channel != 1 || !step.weighted()->LookUpOf(0, nullptr, look_up)) return 0;
  return output.codes;
}

}  // namespace steadfast::engine
