#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/progress.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/find.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/recipe/recipe.h"
#include "steadfast/study/train_program.h"

namespace steadfast::cli {
namespace train_command {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
  study::TrainRequest request;
  std::string quantizer = "lsq", sparsity = "none", sharpness = "none", optimizer = "adam", schedule = "cosine",
              perturb, augmentation = "none";
  std::vector<std::string> layer_bits;
  bool force = false, events = false;
  std::filesystem::path json;
};

void CompleteRecipe(Options& options) {
  recipe::Recipe& recipe = options.request.recipe;
  recipe::ParseQuantizer(options.quantizer, recipe);
  recipe::ParseSparsity(options.sparsity, recipe);
  recipe::ParseSharpness(options.sharpness, recipe);
  recipe::ParseOptimizer(options.optimizer, recipe);
  recipe::ParseSchedule(options.schedule, recipe);
  if (!options.perturb.empty()) recipe::ParsePerturbed(options.perturb, recipe);
  for (const auto& layer : options.layer_bits) recipe::ParseLayerBits(layer, recipe);
  recipe::ParseAugmentation(options.augmentation, recipe);
  recipe::Validate(recipe);
  std::vector<std::string> layers;
  for (const auto& [layer, bits] : recipe.layer_bits) layers.push_back(layer);
  network::CheckNetwork(recipe.network, layers);
  const bool is_built_in = network::IsBuiltIn(recipe.network);
  if (is_built_in && !(recipe.mean.empty() && recipe.deviation.empty()))
    throw UsageError("--mean, --std: say what a network from a file was trained on; a built-in one follows the images");
  if (!is_built_in) recipe.network_sha256 = network::HashOfFile(recipe.network);
}

// What a model file, quantized or not, says of the recipe that made it.
std::string RecipeHashOf(const fs::path& path) {
  const auto metadata = network::MetadataOf(path);
  const auto hash = metadata.find("steadfast.recipe_sha256");
  return hash == metadata.end() ? "" : hash->second;
}

// True where the output already is what this command would make. Another model there is never overwritten unasked.
bool IsAlreadyThere(const Options& options) {
  const fs::path& output = options.request.output;
  if (options.force || !fs::exists(output)) return false;
  try {
    if (RecipeHashOf(output) == recipe::HashOf(options.request.recipe)) return true;
  } catch (const InputError&) {
    // Some other file: refused below.
  }
  throw UsageError(
      fmt::format("{} is there and was not made with these settings; name another file, or overwrite it with --force",
                  output.string()));
}

// accuracy: what the last finished epoch reached on the validation images, as text.
void ShowEvent(const json& event, ProgressLine& line, std::string& accuracy) {
  const std::string kind = event.value("event", "");
  if (kind == "stage") {
    const bool is_news = event.value("is_much", false) && event.value("read", int64_t{0}) == 0;
    is_news ? line.Print(event.value("text", "")) : line.Update(event.value("text", ""));
  }
  if (kind == "start") {
    line.Print(fmt::format("as it came, without quantization: validation accuracy {:.2f} %",
                           100 * event.value("validation_accuracy", 0.0)));
    const double difference = event.value("padding_difference", 0.0);
    if (difference > 0.5)
      line.Print(
          fmt::format("(its padding is now up to {:.1f} of 255 from what it was trained with: one zero point "
                      "serves all channels)",
                      difference));
  }
  if (kind == "progress") {
    line.Update(fmt::format("epoch {}/{}  loss {:.4f}{}  {:.0f} images/s  {} left", event.value("epoch", 0),
                            event.value("epochs", 0), event.value("loss", 0.0), accuracy,
                            event.value("images_per_second", 0.0), FormatDuration(event.value("seconds_left", 0.0))));
  }
  if (kind == "epoch") {
    accuracy = fmt::format("  validation accuracy {:.2f} %", 100 * event.value("validation_accuracy", 0.0));
    line.Print(fmt::format("epoch {}  loss {:.4f}  validation accuracy {:.2f} %  {:.1f} s", event.value("epoch", 0),
                           event.value("loss", 0.0), 100 * event.value("validation_accuracy", 0.0),
                           event.value("seconds", 0.0)));
  }
}

void PrintDone(const Options& options, const json& done) {
  if (done.value("is_float", false)) {
    fmt::print("{}: test accuracy {:.2f} %; a float network, to start from: steadfast train {} …, steadfast quantize\n",
               options.request.output.string(), 100 * done.value("test_accuracy", 0.0),
               options.request.output.string());
    return;
  }
  fmt::print(
      "{}: test accuracy {:.2f} % (the training graph: {:.2f} %, {} predictions differ), zero activations {:.1f} %\n",
      options.request.output.string(), 100 * done.value("test_accuracy", 0.0),
      100 * done.value("training_graph_test_accuracy", 0.0), done.value("differing_predictions", 0),
      100 * done.value("zero_share", 0.0));
}

// What a model that is there already reached when it was trained, as far as its file says.
json WhatIsThere(const fs::path& output) {
  json reached = {{"event", "done"}, {"model", output.string()}, {"already_trained", true}};
  const auto metadata = network::MetadataOf(output);
  const auto found = metadata.find("steadfast.accuracy");
  const json accuracy = found == metadata.end() ? json() : json::parse(found->second, nullptr, false);
  if (!accuracy.is_object()) return reached;
  const auto copy = [&](const char* from, const char* to) {
    if (accuracy.contains(from)) reached[to] = accuracy[from];
  };
  copy("test", "test_accuracy");
  copy("validation", "validation_accuracy");
  copy("at_chance", "at_chance");
  return reached;
}

void ThrowIfAtChance(const json& reached) {
  if (!reached.value("at_chance", false)) return;
  const std::string majority = reached.contains("majority_share")
                                   ? fmt::format(", and always answering the most frequent class gets {:.2f} %",
                                                 100 * reached.value("majority_share", 0.0))
                                   : ", no more than always answering the most frequent class would be";
  throw Error(
      fmt::format("{}: training ended at chance level: {:.2f} % of the test images are right{}; the model is written, "
                  "and of no use "
                  "as it is (try another --learning-rate, --optimizer or more --epochs)",
                  reached.value("model", ""), 100 * reached.value("test_accuracy", 0.0), majority));
}

void Run(Options& options, const Cancellation& cancellation) {
  CompleteRecipe(options);
  const std::string& network = options.request.recipe.network;
  CheckDistinct({{"--output", options.request.output},
                 {"the network " + network, network::IsBuiltIn(network) ? fs::path() : fs::path(network)},
                 {"--json", IsStandardOutput(options.json) ? fs::path() : options.json}});
  if (IsAlreadyThere(options)) {
    fmt::print(stderr, "{} is already trained with these settings (--force trains it again)\n",
               options.request.output.string());
    const json reached = WhatIsThere(options.request.output);
    WriteJson(options.json, reached);
    ThrowIfAtChance(reached);
    return;
  }
  // What is there stays until the new one takes its place.
  if (options.force) fs::remove(options.request.output.string() + ".checkpoint");
  ProgressLine line;
  if (!options.events) line.Print(recipe::Describe(options.request.recipe));
  std::string accuracy;
  const json done = study::RunTrainProgram(
      study::ArgumentsOf(options.request),
      [&](const json& event) {
        if (options.events) {
          fmt::print("{}\n", event.dump());
          std::fflush(stdout);
        } else {
          ShowEvent(event, line, accuracy);
        }
      },
      &cancellation);
  line.Finish();
  WriteJson(options.json, done);
  if (!options.events && !IsStandardOutput(options.json)) PrintDone(options, done);
  ThrowIfAtChance(done);
}

}  // namespace train_command

void AddTrainCommand(CLI::App& app, Chosen& chosen) {
  using namespace train_command;
  auto options = std::make_shared<Options>();
  recipe::Recipe& recipe = options->request.recipe;
  CLI::App* command = app.add_subcommand("train", "Train a quantized network and write it as ONNX");
  command
      ->add_option("network", recipe.network,
                   "A built-in network (see: steadfast networks), or a float ONNX file to start from, as PyTorch "
                   "exports it")
      ->capture_default_str();
  command->add_option("--mean", recipe.mean, "Of a file's input, (byte / 255 - mean) / std: one value or one a channel")
      ->delimiter(',')
      ->type_name("X,...");
  command
      ->add_option("--std", recipe.deviation,
                   "Of a file's input: what divides it after --mean is subtracted, one value or one a channel")
      ->delimiter(',')
      ->type_name("X,...");
  command
      ->add_option("-o,--output", options->request.output,
                   "The model file to write; metrics go to FILE.metrics.jsonl, checkpoints to FILE.checkpoint")
      ->required()
      ->type_name("FILE");
  command->add_option("--dataset", recipe.dataset, "Dataset by name (see: steadfast data)")->capture_default_str();
  command->add_option("--data", options->request.data, "Folder of datasets")->type_name("DIR");
  command->add_option("--name", recipe.name, "A label for this recipe, kept in the model file");
  command
      ->add_option("--quantizer", options->quantizer,
                   "Of weights: lsq, liq (weight-normalized), dorefa, or float (a baseline without quantization); "
                   "activations have LSQ's learned step with each. float writes a float ONNX file")
      ->capture_default_str();
  command->add_option("--weight-bits", recipe.weight_bits, "Bits of a weight code, 1 to 8 (lsq: from 2)")
      ->capture_default_str();
  command->add_option("--activation-bits", recipe.activation_bits, "Bits of an activation code, 1 to 8")
      ->capture_default_str();
  command->add_option(
      "--layer-bits", options->layer_bits,
      "Exceptions: LAYER=WEIGHT_BITS/ACTIVATION_BITS, for example conv1=8/4, or by pattern: stage1.*=8/8");
  command->add_flag("--narrow", recipe.narrow, "Weights without the code -2^(bits-1), as sign-magnitude memory needs");
  command
      ->add_option("--sparsity", options->sparsity,
                   "Activation sparsity: none, l1:LAMBDA, hoyer:LAMBDA, fatrelu:POINTS")
      ->capture_default_str();
  command->add_flag("--sparsity-after-quantizer", recipe.sparsity_after_quantizer,
                    "Penalize quantized instead of real activations");
  command->add_option("--sharpness", options->sharpness, "Sharpness-aware training: none, sam:RHO, asam:RHO, saq:RHO")
      ->capture_default_str();
  command->add_option("--asam-eta", recipe.asam_eta, "ASAM's eta")->capture_default_str();
  command->add_option("--perturb", options->perturb,
                      "What SAQ perturbs beside quantized weights: biases,normalization,activation-steps,weight-steps "
                      "or none (default: the first three)");
  command->add_flag("--statistics-in-both-passes", recipe.normalization_statistics_in_both_passes,
                    "Update normalization statistics in both passes of sharpness-aware training, not only the first "
                    "(networks with normalization only)");
  command->add_option("--optimizer", options->optimizer, "adam or sgd")->capture_default_str();
  command->add_option("--learning-rate", recipe.learning_rate, "Learning rate")->capture_default_str();
  command->add_option("--momentum", recipe.momentum, "Momentum of sgd (Nesterov)")->capture_default_str();
  command->add_option("--weight-decay", recipe.weight_decay, "Weight decay, on weights alone")->capture_default_str();
  command->add_option("--step-weight-decay", recipe.step_weight_decay, "Weight decay on quantizer steps")
      ->capture_default_str();
  command->add_option("--schedule", options->schedule, "cosine, constant, or step:EPOCH,EPOCH,...")
      ->capture_default_str();
  command->add_option("--step-factor", recipe.step_factor, "What a step schedule multiplies the rate by")
      ->capture_default_str();
  command->add_option("--warm-up", recipe.warm_up, "Epochs in which the learning rate grows from 0")
      ->capture_default_str();
  command->add_option("--label-smoothing", recipe.label_smoothing, "Share of the target that all classes get")
      ->capture_default_str();
  command->add_option("--gradient-clip", recipe.gradient_clip, "Largest norm of all gradients together (0: none)")
      ->capture_default_str();
  command
      ->add_option("--augment", options->augmentation,
                   "Random changes of training images: crop:PIXELS (of padding), flip, cutout:PIXELS, comma-separated, "
                   "or none")
      ->capture_default_str();
  command->add_option("--average", recipe.average, "Keep a moving average of all parameters, with this decay (0: none)")
      ->capture_default_str();
  command->add_flag("--best-epoch", recipe.best_epoch, "Keep the epoch of the best validation accuracy, not the last");
  command->add_flag("--reestimate-normalization", recipe.reestimate_normalization,
                    "At the end, estimate the statistics of normalization anew on training images");
  command->add_option("--epochs", recipe.epochs, "Epochs")->capture_default_str();
  command->add_option("--batch-size", recipe.batch_size, "Images a batch")->capture_default_str();
  command
      ->add_option("--train-images", recipe.train_images, "Train on so many images only (0: all that are not held out)")
      ->capture_default_str();
  AddSeedOption(*command, recipe.seed, "Seed of initial weights and of the order of images");
  command->add_option("--device", recipe.device, "cpu, or cuda where LibTorch has it; the trained model depends on it")
      ->capture_default_str();
  command->add_option("--threads", recipe.threads, "Threads; the trained model depends on their number")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Train anew, whatever is there");
  command->add_flag("--events", options->events, "Print events as JSON lines instead of progress");
  AddJsonOption(*command, options->json, "Write what was reached");
  command->footer(
      "Interrupted or killed, the same command resumes at the last finished epoch and ends with the same model.\n"
      "Example: steadfast train lenet5 --dataset fashion-mnist --weight-bits 4 --activation-bits 4 --sparsity l1:1e-4 "
      "--optimizer adam --sharpness saq:0.1 --epochs 6 --seed 0 -o model.onnx\n"
      "         steadfast train mynet.onnx --dataset cifar10 --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26 --sharpness "
      "saq:0.2 -o hard.onnx");
  command->callback([options, &chosen] {
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
