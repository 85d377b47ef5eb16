#include "steadfast/engine/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "steadfast/base/error.h"
#include "steadfast/base/parallel.h"

namespace steadfast::engine {

EvaluationSet MakeEvaluationSet(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                std::span<const uint8_t> labels) {
  const int64_t elements = model.values[0].shape.elements();
  if (static_cast<int64_t>(images.size()) != static_cast<int64_t>(labels.size()) * elements || labels.empty()) {
    throw InputError(fmt::format("the network takes images of {} bytes, and {} bytes for {} images do not fit",
                                 elements, images.size(), labels.size()));
  }
  const int largest = *std::max_element(labels.begin(), labels.end());
  if (largest >= model.classes()) {
    throw InputError(fmt::format("the network knows {} classes, and the data has label {}", model.classes(), largest));
  }
  return {PreparedImages(images, elements), {labels.begin(), labels.end()}};
}

Golden RunGolden(const model::QuantizedModel& model, const EvaluationSet& set, int threads,
                 const Cancellation* cancellation) {
  const int64_t n = set.images.images(), classes = model.classes();
  Golden golden;
  golden.predictions.resize(static_cast<size_t>(n));
  constexpr int64_t kBlocksAtOnce = 8;
  const int64_t pieces = (set.images.blocks() + kBlocksAtOnce - 1) / kBlocksAtOnce;
  std::vector<Scores> scores(static_cast<size_t>(pieces));
  ParallelFor(
      threads, pieces,
      [&](int, int64_t piece) {
        DenseEngine engine(model);
        std::vector<float> logits(static_cast<size_t>(kBlockImages * classes));
        for (int64_t b = piece * kBlocksAtOnce; b < std::min((piece + 1) * kBlocksAtOnce, set.images.blocks()); ++b) {
          engine.RunBlock(set.images, b, logits);
          const auto first = static_cast<size_t>(b * kBlockImages),
                     count = static_cast<size_t>(set.images.images_in(b));
          scores[static_cast<size_t>(piece)] += ScoreOf(logits, classes, std::span(set.labels).subspan(first, count),
                                                        {}, std::span(golden.predictions).subspan(first, count));
        }
      },
      cancellation);
  for (const Scores& piece : scores) golden.scores += piece;
  return golden;
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

Evaluator::Evaluator(const model::QuantizedModel& model, const EvaluationSet& set)
    : model_(model), set_(&set), engine_(model), logits_(static_cast<size_t>(kBlockImages * model.classes())) {}

Scores Evaluator::Evaluate(const model::ModelChange& change, const Golden& golden, const Cancellation* cancellation) {
  Apply(change, model_);
  engine_.SetWeights(model_);
  Undo(change, model_);
  Scores scores;
  for (int64_t b = 0; b < set_->images.blocks(); ++b) {
    if (cancellation != nullptr) cancellation->ThrowIfRequested();
    engine_.RunBlock(set_->images, b, logits_);
    const auto first = static_cast<size_t>(b * kBlockImages), count = static_cast<size_t>(set_->images.images_in(b));
    scores += ScoreOf(logits_, model_.classes(), std::span(set_->labels).subspan(first, count),
                      std::span(golden.predictions).subspan(first, count));
  }
  return scores;
}

}  // namespace steadfast::engine
