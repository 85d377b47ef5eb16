#include "steadfast/engine/image_changes.h"

#include <algorithm>

#include "steadfast/engine/dense.h"

namespace steadfast::engine {

ImageChanges::ImageChanges(const model::QuantizedModel& model, InstructionSet set)
    : model_(model),
      set_(set),
      steps_(MakeSteps(model, /*fuse=*/true, set)),
      requantizations_(RequantizationsOf(steps_, model)),
      workspace_(set),
      changes_(steps_.size()) {
  for (const model::Value& value : model.values)
    rows_.emplace_back(value.coding ? static_cast<size_t>(value.shape.elements() * kRowBytes) : 0);
}

void ImageChanges::Gather(std::span<const model::ModelChange> changes) {
  for (OfStep& of_step : changes_) {
    of_step.weights.clear();
    of_step.constants.clear();
  }
  with_own_codings_.clear();
  for (size_t image = 0; image < changes.size(); ++image) {
    if (changes[image].empty()) continue;
    if (ChangesCodings(model_, changes[image])) {
      with_own_codings_.push_back(static_cast<int64_t>(image));
      continue;
    }
    const StepChanges of_image = ChangesOfSteps(steps_, requantizations_, model_, changes[image]);
    for (size_t s = 0; s < steps_.size(); ++s) {
      for (const WeightDelta& delta : of_image.weights[s])
        changes_[s].weights.push_back({delta, static_cast<int32_t>(image)});
      for (const ChangedConstants& constants : of_image.constants[s])
        changes_[s].constants.push_back({constants, static_cast<int32_t>(image)});
    }
  }
  for (OfStep& of_step : changes_) {
    std::stable_sort(of_step.weights.begin(), of_step.weights.end(),
                     [](const auto& a, const auto& b) { return a.delta.output < b.delta.output; });
    std::stable_sort(of_step.constants.begin(), of_step.constants.end(),
                     [](const auto& a, const auto& b) { return a.constants.output < b.constants.output; });
  }
}

void ImageChanges::RunBlock(const PreparedImages& images, int64_t block, const model::ImageFaults& faults,
                            std::span<float> logits) {
  Gather(faults.changes);
  const BlockFaults of_block{&faults.values, block};
  const std::span<const uint8_t> input = images.block(block);
  std::copy(input.begin(), input.end(), rows_[0].begin());
  if (const auto* of_input = of_block.Of(0)) ApplyToRows(*of_input, block, rows_[0].data());
  std::vector<const uint8_t*> inputs;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    inputs.clear();
    for (int i : step.inputs) inputs.push_back(rows_[static_cast<size_t>(i)].data());
    BlockOutput output{rows_[static_cast<size_t>(step.output)].data(), logits.data(), nullptr, images.images_in(block)};
    const OfStep& changes = changes_[s];
    if (changes.weights.empty() && changes.constants.empty()) {
      step.operation->RunBlock(inputs, workspace_, output);
    } else {
      sums_.resize(std::max(sums_.size(), static_cast<size_t>(step.sums_kept() * kBlockImages)));
      output.sums = sums_.data();
      step.weighted()->RunBlockOfChangedImages(inputs, workspace_, output, changes.weights, changes.constants);
    }
    if (const auto* of_value = of_block.Of(step.output)) ApplyToRows(*of_value, block, output.rows);
  }
  std::vector<float> own(with_own_codings_.empty() ? 0 : logits.size());
  for (const int64_t image : with_own_codings_) {
    const model::ModelChange& change = faults.changes[static_cast<size_t>(image)];
    Apply(change, model_);
    DenseEngine engine(model_, set_);
    Undo(change, model_);
    engine.SetValueFaults(std::shared_ptr<const model::ValueFaults>(std::shared_ptr<void>(), &faults.values));
    engine.RunBlock(images, block, own);
    for (size_t at = static_cast<size_t>(image); at < logits.size(); at += kBlockImages) logits[at] = own[at];
  }
}

}  // namespace steadfast::engine
