#include "steadfast/engine/dense.h"

#include "steadfast/engine/plan.h"

namespace steadfast::engine {

using model::QuantizedModel;

struct DenseEngine::Plan {
  std::vector<Step> steps;
  InstructionSet instruction_set;
  Workspace workspace;
  std::vector<Buffer<uint8_t>> rows;  // rows[value][element * 64 + image]; empty where never stored
  int64_t classes;

  Plan(const QuantizedModel& model, InstructionSet set, bool fuse)
      : steps(MakeSteps(model, fuse, set)), instruction_set(set), workspace(set), classes(model.classes()) {
    rows.resize(model.values.size());
    for (const Step& step : steps) {
      const model::Value& value = model.values[static_cast<size_t>(step.output)];
      if (value.coding)
        rows[static_cast<size_t>(step.output)].resize(static_cast<size_t>(value.shape.elements() * kRowBytes));
    }
  }

  void Run(const uint8_t* images, float* logits) {
    std::vector<const uint8_t*> inputs;
    for (const Step& step : steps) {
      inputs.clear();
      for (int input : step.inputs) inputs.push_back(input == 0 ? images : rows[static_cast<size_t>(input)].data());
      step.operation->RunBlock(inputs, workspace, {rows[static_cast<size_t>(step.output)].data(), logits, nullptr});
    }
  }
};

DenseEngine::DenseEngine(const QuantizedModel& model, InstructionSet set)
    : plan_(std::make_unique<Plan>(model, set, /*fuse=*/true)) {}
DenseEngine::~DenseEngine() = default;
DenseEngine::DenseEngine(DenseEngine&&) noexcept = default;
DenseEngine& DenseEngine::operator=(DenseEngine&&) noexcept = default;

void DenseEngine::SetWeights(const QuantizedModel& model) {
  for (Step& step : plan_->steps) {
    if (step.weight >= 0) step.operation->SetWeights(model.weights[static_cast<size_t>(step.weight)]);
  }
}

void DenseEngine::KeepAllValues(const QuantizedModel& model) {
  plan_ = std::make_unique<Plan>(model, plan_->instruction_set, /*fuse=*/false);
}

std::span<const uint8_t> DenseEngine::CodesOf(int value) const {
  return plan_->rows[static_cast<size_t>(value)];
}

void DenseEngine::RunBlock(const PreparedImages& images, int64_t block, std::span<float> logits) {
  plan_->Run(images.block(block).data(), logits.data());
}

std::vector<float> DenseEngine::Run(const PreparedImages& images) {
  const int64_t classes = plan_->classes;
  std::vector<float> logits(static_cast<size_t>(images.images() * classes));
  std::vector<float> rows(static_cast<size_t>(classes * kBlockImages));
  for (int64_t b = 0; b < images.blocks(); ++b) {
    RunBlock(images, b, rows);
    for (int64_t i = 0; i < images.images_in(b); ++i) {
      for (int64_t c = 0; c < classes; ++c)
        logits[static_cast<size_t>((b * kBlockImages + i) * classes + c)] =
            rows[static_cast<size_t>(c * kBlockImages + i)];
    }
  }
  return logits;
}

}  // namespace steadfast::engine
