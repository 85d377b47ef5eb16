#include "steadfast/engine/dense.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "steadfast/engine/apply_value_faults.h"
#include "steadfast/engine/image_changes.h"
#include "steadfast/engine/plan.h"
#include "steadfast/engine/sliced.h"

namespace steadfast::engine {

using model::QuantizedModel;

struct DenseEngine::Plan {
  std::vector<std::optional<model::ActivationCoding>> codings;  // [value]
  std::vector<Step> steps;
  InstructionSet instruction_set;
  Workspace workspace;
  std::vector<Buffer<uint8_t>> rows;  // rows[value][element * 64 + image]; empty where never stored
  int64_t classes;
  std::vector<uint8_t> sparse;               // [step]
  std::shared_ptr<const SlicedPath> sliced;  // where it is taken
  SlicedMemory memory;
  double nanoseconds = 0;         // of a block
  std::vector<size_t> row_bytes;  // [value]
  int64_t input_elements;
  std::vector<uint8_t> faulty_images;

  Plan(const QuantizedModel& model, InstructionSet set, bool fuse)
      : steps(MakeSteps(model, fuse, set)),
        instruction_set(set),
        workspace(set),
        classes(model.classes()),
        input_elements(model.values[0].shape.elements()) {
    sparse.assign(steps.size(), 0);
    for (const model::Value& value : model.values) codings.push_back(value.coding);
    rows.resize(model.values.size());
    row_bytes.assign(model.values.size(), 0);
    for (const Step& step : steps) {
      const model::Value& value = model.values[static_cast<size_t>(step.output)];
      if (value.coding)
        row_bytes[static_cast<size_t>(step.output)] = static_cast<size_t>(value.shape.elements() * kRowBytes);
    }
    if (fuse) sliced = SlicedPath::Make(model, steps, set);
  }

  // The same network, with memory of its own.
  Plan(const Plan& other)
      : codings(other.codings),
        steps(other.steps),
        instruction_set(other.instruction_set),
        workspace(other.instruction_set),
        rows(other.rows.size()),
        classes(other.classes),
        sparse(other.sparse),
        sliced(other.sliced),
        nanoseconds(other.nanoseconds),
        row_bytes(other.row_bytes),
        input_elements(other.input_elements) {}

  bool HasCodingsOf(const QuantizedModel& model) const {
    return std::equal(codings.begin(), codings.end(), model.values.begin(), model.values.end(),
                      [](const auto& coding, const model::Value& value) { return coding == value.coding; });
  }

  // Operators that another engine has too must not be changed.
  void OwnOperators() {
    for (Step& step : steps) {
      if (step.weighted() != nullptr && step.operation.use_count() > 1) step.operation = step.weighted()->Clone();
    }
  }

  void PrepareRows() {
    for (size_t v = 0; v < rows.size(); ++v) rows[v].resize(row_bytes[v]);
    for (const Step& step : steps) {
      if (step.weighted() != nullptr) step.weighted()->RunSlicesAlone(false);
    }
  }

  void RunStep(size_t s, bool sparsely, const uint8_t* images, int64_t count, float* logits,
               const BlockFaults& faults = {}) {
    const Step& step = steps[s];
    inputs.clear();
    for (int input : step.inputs) inputs.push_back(input == 0 ? images : rows[static_cast<size_t>(input)].data());
    const BlockOutput output{rows[static_cast<size_t>(step.output)].data(), logits, nullptr, count};
    if (sparsely)
      step.weighted()->RunBlockSparsely(inputs, workspace, output);
    else
      step.operation->RunBlock(inputs, workspace, output);
    if (const auto* of_value = faults.Of(step.output)) ApplyToRows(*of_value, faults.block, output.rows);
  }

  void Run(const uint8_t* images, int64_t count, float* logits, const BlockFaults& faults = {}) {
    if (const auto* of_input = faults.Of(0)) {
      const auto bytes = static_cast<size_t>(input_elements * kRowBytes);
      faulty_images.assign(images, images + bytes);
      ApplyToRows(*of_input, faults.block, faulty_images.data());
      images = faulty_images.data();
    }
    if (sliced != nullptr) return sliced->Run(steps, images, count, workspace, memory, logits, faults);
    PrepareRows();
    for (size_t s = 0; s < steps.size(); ++s) RunStep(s, sparse[s] != 0, images, count, logits, faults);
  }

  // Drops the path of slices, or what rows need, whichever is slower.
  void ChooseSlices(const PreparedImages& images, float* logits) {
    const std::shared_ptr<const SlicedPath> by_slices = std::move(sliced);
    const auto time = [&] {
      double least = 1e300;
      for (int round = 0; round < 3; ++round) {
        const auto start = std::chrono::steady_clock::now();
        for (int64_t b = 0; b < images.blocks(); ++b) Run(images.block(b).data(), images.images_in(b), logits);
        const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
        least = std::min(least, elapsed.count());
      }
      return least / static_cast<double>(images.blocks());
    };
    nanoseconds = time();
    if (by_slices == nullptr) return;
    sliced = by_slices;
    const double sliced_nanoseconds = time();
    if (sliced_nanoseconds > nanoseconds) {
      sliced = nullptr;
      return;
    }
    nanoseconds = sliced_nanoseconds;
    for (auto& of_value : rows) of_value = {};
    if (!sliced->HasRowSteps()) {
      for (const Step& step : steps) {
        if (step.weighted() != nullptr && step.operation.use_count() == 1) step.weighted()->RunSlicesAlone(true);
      }
    }
  }

  // Nanoseconds an image of the sparse path where every input has level 0.
  double TimeOnNothing(size_t s, size_t image_bytes, float* logits) {
    const Step& step = steps[s];
    const size_t bytes = step.inputs[0] == 0 ? image_bytes : rows[static_cast<size_t>(step.inputs[0])].size();
    const Buffer<uint8_t> nothing(bytes, static_cast<uint8_t>(step.weighted()->ZeroPoint()));
    const uint8_t* input = nothing.data();
    double least = 1e300;
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      step.weighted()->RunBlockSparsely({&input, 1}, workspace,
                                        {rows[static_cast<size_t>(step.output)].data(), logits, nullptr});
      const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
      least = std::min(least, elapsed.count());
    }
    return least / static_cast<double>(kBlockImages);
  }

 private:
  std::vector<const uint8_t*> inputs;
};

struct DenseEngine::FaultyImages {
  model::ImageFaultSource source;
  QuantizedModel model;
  std::unique_ptr<ImageChanges> changes;  // where an image needs it
};

DenseEngine::DenseEngine(const QuantizedModel& model, InstructionSet set)
    : plan_(std::make_unique<Plan>(model, set, /*fuse=*/true)) {}
DenseEngine::DenseEngine(const DenseEngine& other)
    : value_faults_(other.value_faults_),
      plan_(std::make_unique<Plan>(*other.plan_)),
      rebuilt_(other.rebuilt_ == nullptr ? nullptr : std::make_unique<Plan>(*other.rebuilt_)) {}
DenseEngine::~DenseEngine() = default;
DenseEngine::DenseEngine(DenseEngine&&) noexcept = default;
DenseEngine& DenseEngine::operator=(DenseEngine&&) noexcept = default;

void DenseEngine::SetParameters(const QuantizedModel& model) {
  rebuilt_ = nullptr;
  faulty_images_ = nullptr;
  if (!plan_->HasCodingsOf(model)) {
    rebuilt_ = std::make_unique<Plan>(model, plan_->instruction_set, /*fuse=*/true);
    return;
  }
  for (Step& step : plan_->steps) {
    if (step.weighted() == nullptr) continue;
    const model::Node& node = model.nodes[static_cast<size_t>(step.node)];
    if (step.operation.use_count() > 1) {  // another engine has it too
      if (step.weighted()->HasParameters(model, node)) continue;
      step.operation = step.weighted()->Clone();
    }
    step.weighted()->SetParameters(model, node);
  }
}

void DenseEngine::SetValueFaults(std::shared_ptr<const model::ValueFaults> faults) {
  value_faults_ = std::move(faults);
}

void DenseEngine::SetImageFaults(model::ImageFaultSource source, const QuantizedModel& model) {
  faulty_images_ = nullptr;
  if (source) faulty_images_ = std::make_unique<FaultyImages>(FaultyImages{std::move(source), model, nullptr});
}

DenseEngine::Held DenseEngine::held() const {
  Held held{plan_->memory.bytes() + static_cast<int64_t>(plan_->workspace.quads.size()), 0};
  for (const auto& of_value : plan_->rows) held.values += static_cast<int64_t>(of_value.size());
  for (const Step& step : plan_->steps) {
    if (step.weighted() != nullptr) held.weights += step.weighted()->PackedBytes();
  }
  return held;
}

InstructionSet DenseEngine::instruction_set() const {
  return plan_->instruction_set;
}

int64_t DenseEngine::classes() const {
  return plan_->classes;
}

double DenseEngine::nanoseconds_per_block() const {
  return plan_->nanoseconds;
}

void DenseEngine::KeepAllValues(const QuantizedModel& model) {
  plan_ = std::make_unique<Plan>(model, plan_->instruction_set, /*fuse=*/false);
}

std::span<const uint8_t> DenseEngine::CodesOf(int value) const {
  return plan_->rows[static_cast<size_t>(value)];
}

std::vector<DenseEngine::StepTime> DenseEngine::ChoosePaths(const PreparedImages& images) {
  plan_->OwnOperators();
  for (const Step& step : plan_->steps) {
    if (plan_->sliced != nullptr && step.weighted() != nullptr) step.weighted()->ChooseTiles(plan_->workspace);
  }
  plan_->PrepareRows();
  std::vector<StepTime> times;
  std::vector<uint8_t> has_sparse;
  for (Step& step : plan_->steps) {
    if (step.weighted() != nullptr) step.weighted()->PrepareSparsePath();
    has_sparse.push_back(step.weighted() != nullptr ? 1 : 0);
    times.push_back({step.name, step.inputs[0], 0.0, has_sparse.back() != 0 ? 0.0 : -1.0, 0.0});
  }
  std::vector<float> logits(static_cast<size_t>(plan_->classes * kBlockImages));
  const auto run = [&](size_t s, bool sparsely, int64_t block) {
    const auto start = std::chrono::steady_clock::now();
    plan_->RunStep(s, sparsely, images.block(block).data(), images.images_in(block), logits.data());
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    return elapsed.count() / static_cast<double>(images.images());
  };
  for (size_t s = 0; s < times.size(); ++s) run(s, false, 0);  // warms up
  for (int64_t block = 0; block < images.blocks(); ++block) {
    for (size_t s = 0; s < times.size(); ++s) {
      if (has_sparse[s] != 0) times[s].sparse_ns += run(s, true, block);
      times[s].dense_ns += run(s, false, block);
    }
  }
  for (size_t s = 0; s < times.size(); ++s) {
    if (has_sparse[s] != 0) times[s].empty_ns = plan_->TimeOnNothing(s, images.block(0).size(), logits.data());
    plan_->sparse[s] = has_sparse[s] != 0 && times[s].sparse_ns < times[s].dense_ns ? 1 : 0;
    if (has_sparse[s] != 0 && plan_->sparse[s] == 0) plan_->steps[s].weighted()->DropSparsePath();
  }
  plan_->ChooseSlices(images, logits.data());
  return times;
}

void DenseEngine::UseSparsePaths() {
  plan_->OwnOperators();
  plan_->sliced = nullptr;
  plan_->PrepareRows();
  for (size_t s = 0; s < plan_->steps.size(); ++s) {
    WeightedOperator* weighted = plan_->steps[s].weighted();
    if (weighted != nullptr) weighted->PrepareSparsePath();
    plan_->sparse[s] = weighted != nullptr ? 1 : 0;
  }
}

void DenseEngine::RunBlock(const PreparedImages& images, int64_t block, std::span<float> logits) {
  if (faulty_images_ == nullptr)
    return current().Run(images.block(block).data(), images.images_in(block), logits.data(),
                         {value_faults_.get(), block});
  const model::ImageFaults faults = faulty_images_->source(block * kBlockImages, images.images_in(block));
  if (!faults.changes_parameters())
    return current().Run(images.block(block).data(), images.images_in(block), logits.data(), {&faults.values, block});
  if (faulty_images_->changes == nullptr)
    faulty_images_->changes = std::make_unique<ImageChanges>(faulty_images_->model, plan_->instruction_set);
  faulty_images_->changes->RunBlock(images, block, faults, logits);
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
