#include "steadfast/train/trainer.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <sstream>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/train/optimizer_step.h"

namespace steadfast::train {
namespace {

using recipe::Recipe;
using torch::Tensor;

constexpr int64_t kEvaluationBatch = 500;
constexpr int kCheckpointVersion = 1;
constexpr size_t kStatisticsBatches = 200;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Cross-entropy plus the recipe's sparsity penalty, both per image.
Tensor LossOf(const Recipe& recipe, Network& network, const Batch& batch, bool first_pass) {
  Pass pass{.training = true,
            .updates_statistics = first_pass || recipe.normalization_statistics_in_both_passes,
            .penalties = {}};
  const Tensor logits = network.Forward(pass, batch.images);
  Tensor loss = torch::cross_entropy_loss(logits, batch.labels.to(logits.device()), {}, torch::Reduction::Mean, -100,
                                          recipe.label_smoothing);
  const auto images = static_cast<double>(batch.labels.size(0));
  for (const ActivationPenaltySums& sums : pass.penalties) {
    if (recipe.sparsity == recipe::Sparsity::kL1) {
      loss = loss + sums.sum * (recipe.sparsity_strength / images);
    } else if (recipe.sparsity == recipe::Sparsity::kHoyerSquare) {
      // An all-zero layer has nothing to sparsify: the floor keeps 0/0 away.
      loss = loss + sums.sum.square() / sums.squares.clamp_min(1e-12) * (recipe.sparsity_strength / images);
    }
  }
  return loss;
}

nlohmann::json MetricsJson(const std::vector<EpochMetrics>& epochs) {
  nlohmann::json json = nlohmann::json::array();
  for (const auto& epoch : epochs) json.push_back(ToJson(epoch));
  return json;
}

EpochMetrics MetricsFromJson(const nlohmann::json& json) {
  return {json.at("epoch"),         json.at("loss"),   json.at("validation_loss"), json.at("validation_accuracy"),
          json.at("learning_rate"), json.at("seconds")};
}

class Training {
 public:
  Training(const Recipe& recipe, const TrainingData& data, const TrainingOptions& options)
      : recipe_(recipe), data_(data), options_(options) {
    recipe::Validate(recipe);
    UseThreads(recipe.threads);
    network_ = MakeNetwork(recipe, {data.images.shape, data.images.classes}, data.scale);
    if (recipe.sparsity != recipe::Sparsity::kNone && Relus().empty())
      throw UsageError("sparsity: " + recipe.network +
                       " has no ReLU whose zeros could be more; train it without (a built-in vit can have some: "
                       "vit:activation=relu)");
    optimizer_ = MakeOptimizer(recipe, *network_);
    const auto images = static_cast<int64_t>(data.split.training.size());
    steps_per_epoch_ = (images + recipe.batch_size - 1) / recipe.batch_size;
    // Normalization has no statistics of one image: such a batch at the end is left out.
    if (!network_->buffers.empty()) {
      if (recipe.batch_size < 2)
        throw UsageError("batch_size: networks with normalization need at least 2 images a batch");
      if (images < 2) throw UsageError("train_images: networks with normalization need at least 2 images");
      if (images % recipe.batch_size == 1) steps_per_epoch_ = images / recipe.batch_size;
    }
  }

  TrainedNetwork Run() {
    LoadCheckpoint();
    if (epochs_.empty()) ReportStart();
    for (const auto& epoch : epochs_) Report(epoch);
    start_ = std::chrono::steady_clock::now();
    first_epoch_ = static_cast<int>(epochs_.size());
    for (int epoch = first_epoch_; epoch < recipe_.epochs; ++epoch) {
      epochs_.push_back(RunEpoch(epoch));
      SaveCheckpoint();
      Report(epochs_.back());
    }
    if (recipe_.best_epoch && !best_.empty())
      Restore(best_);
    else if (!average_.empty())
      Restore(average_);
    if (recipe_.reestimate_normalization) ReestimateNormalization();
    if (recipe_.sparsity == recipe::Sparsity::kFatRelu) SearchThresholds();
    const double accuracy = ValidationAccuracy().accuracy;
    return {std::move(network_), std::move(epochs_), accuracy};
  }

 private:
  void Report(const EpochMetrics& metrics) const {
    if (options_.on_epoch) options_.on_epoch(metrics);
  }

  // What a network that is trained already does before quantizers are put in.
  void ReportStart() {
    const bool is_trained = std::all_of(network_->graph().parameters.begin(), network_->graph().parameters.end(),
                                        [](const auto& parameter) { return !parameter.values.empty(); });
    if (!is_trained || !options_.on_start) return;
    Recipe floats = recipe_;
    floats.quantizer = recipe::Quantizer::kFloat;
    const auto as_it_came = MakeNetwork(floats, {data_.images.shape, data_.images.classes}, data_.scale);
    const EvaluationResult result = Evaluate(*as_it_came, data_.images, data_.split.validation, data_.scale);
    options_.on_start({result.loss, result.accuracy, as_it_came->padding_difference});
  }

  EvaluationResult ValidationAccuracy() {
    return Evaluate(*network_, data_.images, data_.split.validation, data_.scale);
  }

  EpochMetrics RunEpoch(int epoch) {
    const auto epoch_start = std::chrono::steady_clock::now();
    const std::vector<int64_t>& training = data_.split.training;
    const auto order =
        data::Permutation(static_cast<int64_t>(training.size()), recipe_.seed, static_cast<uint32_t>(epoch) + 2);
    double loss_sum = 0.0, rate = 0.0;
    auto last_report = epoch_start;
    for (int64_t step = 0; step < steps_per_epoch_; ++step) {
      if (options_.cancellation != nullptr) options_.cancellation->ThrowIfRequested();
      const int64_t first = step * recipe_.batch_size;
      const int64_t count = std::min<int64_t>(recipe_.batch_size, static_cast<int64_t>(training.size()) - first);
      std::vector<int64_t> indices;
      for (int64_t i = 0; i < count; ++i)
        indices.push_back(training[static_cast<size_t>(order[static_cast<size_t>(first + i)])]);
      const Augmentation augmentation{recipe_.crop, recipe_.flip, recipe_.cutout, recipe_.seed,
                                      static_cast<uint32_t>(epoch)};
      const Batch batch = MakeBatch(data_.images, indices, data_.scale, &augmentation);
      rate =
          LearningRateAt(recipe_, epoch * steps_per_epoch_ + step, recipe_.epochs * steps_per_epoch_, steps_per_epoch_);
      SetLearningRate(*optimizer_, rate);
      const double loss = OptimizerStep(recipe_, *network_, *optimizer_,
                                        [&](bool first_pass) { return LossOf(recipe_, *network_, batch, first_pass); });
      if (recipe_.average > 0) TakeAverage(epoch * steps_per_epoch_ + step);
      if (!std::isfinite(loss)) {
        throw InputError(fmt::format("training diverged in epoch {}: the loss is {}; try a lower learning rate{}",
                                     epoch + 1, loss, recipe_.sharpness == recipe::Sharpness::kNone ? "" : " or rho"));
      }
      loss_sum += loss;
      if (options_.on_progress && SecondsSince(last_report) > 0.25) {
        last_report = std::chrono::steady_clock::now();
        ReportProgress(epoch, step + 1, loss_sum / static_cast<double>(step + 1));
      }
    }
    const EvaluationResult validation = ValidateEpoch();
    return {epoch + 1,
            loss_sum / static_cast<double>(steps_per_epoch_),
            validation.loss,
            validation.accuracy,
            rate,
            SecondsSince(epoch_start)};
  }

  // All that a network keeps: parameters, then running statistics.
  std::vector<Tensor> Live() const {
    std::vector<Tensor> live;
    for (const Parameter& parameter : network_->parameters) live.push_back(parameter.tensor);
    for (const Buffer& buffer : network_->buffers) live.push_back(buffer.tensor);
    return live;
  }
  std::vector<Tensor> Copy() const {
    std::vector<Tensor> copies;
    for (const Tensor& tensor : Live()) copies.push_back(tensor.detach().clone());
    return copies;
  }
  void Restore(const std::vector<Tensor>& values) const {
    const torch::NoGradGuard no_gradients;
    const std::vector<Tensor> live = Live();
    for (size_t i = 0; i < live.size(); ++i) Tensor(live[i]).copy_(values[i]);
  }

  // A moving average whose first steps count more (as TensorFlow's ExponentialMovingAverage with num_updates).
  void TakeAverage(int64_t step) {
    if (average_.empty()) {
      average_ = Copy();
      return;
    }
    const torch::NoGradGuard no_gradients;
    const double decay = std::min(recipe_.average, static_cast<double>(step + 1) / static_cast<double>(step + 10));
    const std::vector<Tensor> live = Live();
    for (size_t i = 0; i < live.size(); ++i) average_[i].mul_(decay).add_(live[i].detach(), 1 - decay);
  }

  // What would be kept if training ended here.
  EvaluationResult ValidateEpoch() {
    const std::vector<Tensor> current = average_.empty() ? std::vector<Tensor>() : Copy();
    if (!average_.empty()) Restore(average_);
    const EvaluationResult validation = ValidationAccuracy();
    if (recipe_.best_epoch && validation.accuracy > best_accuracy_) {
      best_accuracy_ = validation.accuracy;
      best_ = Copy();
    }
    if (!average_.empty()) Restore(current);
    return validation;
  }

  // The plain mean of the statistics of up to kStatisticsBatches batches, with the weights as they are now.
  void ReestimateNormalization() {
    if (network_->buffers.empty()) return;
    const torch::NoGradGuard no_gradients;
    const std::vector<int64_t>& training = data_.split.training;
    const auto batch = static_cast<size_t>(recipe_.batch_size);
    for (size_t first = 0, number = 0; first < training.size() && number < kStatisticsBatches;
         first += batch, ++number) {
      const size_t count = std::min(batch, training.size() - first);
      if (count < batch && number > 0) break;
      Pass pass{.training = true, .momentum = 1.0 / static_cast<double>(number + 1), .penalties = {}};
      network_->Forward(pass, MakeBatch(data_.images, std::span(training).subspan(first, count), data_.scale).images);
    }
  }

  void ReportProgress(int epoch, int64_t steps, double loss) const {
    const int64_t done = (epoch - first_epoch_) * steps_per_epoch_ + steps;
    const int64_t all = (recipe_.epochs - first_epoch_) * steps_per_epoch_;
    const double elapsed = SecondsSince(start_);
    options_.on_progress(
        {epoch + 1, recipe_.epochs,
         static_cast<double>(epoch * steps_per_epoch_ + steps) / static_cast<double>(recipe_.epochs * steps_per_epoch_),
         loss, static_cast<double>(done * recipe_.batch_size) / elapsed,
         elapsed * static_cast<double>(all - done) / static_cast<double>(done)});
  }

  std::vector<ActivationQuantizer*> Relus() {
    std::vector<ActivationQuantizer*> relus = network_->activations();
    std::erase_if(relus, [](const ActivationQuantizer* activation) { return !activation->is_relu(); });
    return relus;
  }

  // FATReLU (Kurtz et al., ICML 2020) over codes (ours): layer by layer from the input, the largest threshold whose
  // validation accuracy stays within the layer's share of the budget.
  void SearchThresholds() {
    const std::vector<ActivationQuantizer*> relus = Relus();
    const double clean = ValidationAccuracy().accuracy;
    for (size_t l = 0; l < relus.size(); ++l) {
      const double allowed =
          clean - recipe_.sparsity_strength / 100.0 * static_cast<double>(l + 1) / static_cast<double>(relus.size());
      ActivationQuantizer& activation = *relus[l];
      for (int threshold = 2; threshold <= activation.highest_code(); ++threshold) {
        if (options_.cancellation != nullptr) options_.cancellation->ThrowIfRequested();
        const int before = activation.zero_below;
        activation.zero_below = threshold;
        if (ValidationAccuracy().accuracy >= allowed) continue;
        activation.zero_below = before;
        break;
      }
    }
  }

  std::string Fingerprint() const { return recipe::HashOf(recipe_) + data_.hash; }

  void SaveCheckpoint() {
    if (options_.checkpoint.empty()) return;
    torch::serialize::OutputArchive archive;
    archive.write("version", c10::IValue(int64_t{kCheckpointVersion}));
    archive.write("fingerprint", c10::IValue(Fingerprint()));
    archive.write("recipe", c10::IValue(recipe::ToJson(recipe_).dump()));
    archive.write("epochs", c10::IValue(MetricsJson(epochs_).dump()));
    for (size_t i = 0; i < network_->parameters.size(); ++i) {
      archive.write(fmt::format("parameter{}", i), network_->parameters[i].tensor.detach());
    }
    for (size_t i = 0; i < network_->buffers.size(); ++i)
      archive.write(fmt::format("buffer{}", i), network_->buffers[i].tensor);
    for (size_t i = 0; i < average_.size(); ++i) archive.write(fmt::format("average{}", i), average_[i]);
    for (size_t i = 0; i < best_.size(); ++i) archive.write(fmt::format("best{}", i), best_[i]);
    torch::serialize::OutputArchive optimizer;
    optimizer_->save(optimizer);
    archive.write("optimizer", optimizer);
    std::ostringstream bytes;
    archive.save_to(bytes);
    WriteFileWhole(options_.checkpoint, bytes.str());
  }

  void LoadCheckpoint() {
    if (options_.checkpoint.empty() || !std::filesystem::exists(options_.checkpoint)) return;
    const std::string name = options_.checkpoint.string();
    torch::serialize::InputArchive archive;
    try {
      archive.load_from(name);
      c10::IValue version, fingerprint, recipe_text, epochs;
      archive.read("version", version);
      archive.read("fingerprint", fingerprint);
      archive.read("recipe", recipe_text);
      archive.read("epochs", epochs);
      if (version.toInt() != kCheckpointVersion || fingerprint.toStringRef() != Fingerprint()) {
        throw InputError(
            fmt::format("{}: this checkpoint belongs to another training{}; delete it to start anew, or choose "
                        "another output file",
                        name, Difference(recipe_text.toStringRef())));
      }
      const torch::NoGradGuard no_gradients;
      for (size_t i = 0; i < network_->parameters.size(); ++i) {
        Tensor stored;
        archive.read(fmt::format("parameter{}", i), stored);
        network_->parameters[i].tensor.copy_(stored);
      }
      for (size_t i = 0; i < network_->buffers.size(); ++i) {
        Tensor stored;
        archive.read(fmt::format("buffer{}", i), stored);
        network_->buffers[i].tensor.copy_(stored);
      }
      const auto read_all = [&](const char* what, std::vector<Tensor>& into) {
        into.resize(network_->parameters.size() + network_->buffers.size());
        for (size_t i = 0; i < into.size(); ++i) archive.read(fmt::format("{}{}", what, i), into[i]);
      };
      if (recipe_.average > 0) read_all("average", average_);
      if (recipe_.best_epoch) read_all("best", best_);
      torch::serialize::InputArchive optimizer;
      archive.read("optimizer", optimizer);
      optimizer_->load(optimizer);
      for (const auto& epoch : nlohmann::json::parse(epochs.toStringRef())) epochs_.push_back(MetricsFromJson(epoch));
      for (const EpochMetrics& epoch : epochs_) best_accuracy_ = std::max(best_accuracy_, epoch.validation_accuracy);
    } catch (const c10::Error& error) {
      throw InputError(fmt::format("{}: is not a checkpoint Steadfast wrote ({}); delete it to start anew", name,
                                   error.what_without_backtrace()));
    }
    for (ActivationQuantizer* activation : network_->activations()) activation->initialized = true;
  }

  // The keys in which the checkpoint's recipe differs from ours.
  std::string Difference(const std::string& stored_text) const {
    const auto stored = nlohmann::json::parse(stored_text, nullptr, false);
    const auto ours = recipe::ToJson(recipe_);
    std::string text;
    for (const auto& [key, value] : ours.items()) {
      if (key == "name" || !stored.is_object()) continue;
      if (stored.value(key, nlohmann::json()) != value)
        text += fmt::format("; {}: {} there, {} here", key, stored.value(key, nlohmann::json()).dump(), value.dump());
    }
    return text.empty() ? " (other data)" : text;
  }

  const Recipe& recipe_;
  const TrainingData& data_;
  const TrainingOptions& options_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::vector<EpochMetrics> epochs_;
  std::vector<Tensor> average_, best_;  // as Live(), or empty
  double best_accuracy_ = -1;
  int64_t steps_per_epoch_ = 0;
  int first_epoch_ = 0;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

void UseThreads(int threads) {
  at::set_num_threads(threads);
  if (auto* set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
}

nlohmann::json ToJson(const EpochMetrics& metrics) {
  return {{"epoch", metrics.epoch},
          {"loss", metrics.loss},
          {"validation_loss", metrics.validation_loss},
          {"validation_accuracy", metrics.validation_accuracy},
          {"learning_rate", metrics.learning_rate},
          {"seconds", metrics.seconds}};
}

TrainedNetwork Train(const Recipe& recipe, const TrainingData& data, const TrainingOptions& options) {
  return Training(recipe, data, options).Run();
}

EvaluationResult Evaluate(Network& network, const data::ImageSet& set, std::span<const int64_t> indices,
                          data::InputScale scale) {
  const torch::NoGradGuard no_gradients;
  EvaluationResult result{0.0, 0.0, {}};
  int64_t correct = 0;
  for (size_t first = 0; first < indices.size(); first += kEvaluationBatch) {
    const auto piece = indices.subspan(first, std::min<size_t>(kEvaluationBatch, indices.size() - first));
    const Batch batch = MakeBatch(set, piece, scale);
    Pass pass;
    const Tensor logits = network.Forward(pass, batch.images);
    result.loss += torch::cross_entropy_loss(logits, batch.labels.to(logits.device())).item<double>() *
                   static_cast<double>(piece.size());
    const Tensor predictions = logits.argmax(1).to(torch::kCPU).contiguous();
    for (size_t i = 0; i < piece.size(); ++i) {
      result.predictions.push_back(predictions.data_ptr<int64_t>()[i]);
      correct += result.predictions.back() == set.labels[static_cast<size_t>(piece[i])];
    }
  }
  result.loss /= static_cast<double>(indices.size());
  result.accuracy = static_cast<double>(correct) / static_cast<double>(indices.size());
  return result;
}

}  // namespace steadfast::train
