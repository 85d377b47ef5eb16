#include <fmt/format.h>

#include <memory>

#include "steadfast/base/progress.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/model/inspect.h"
#include "steadfast/quantization/quantize_file.h"

namespace steadfast::cli {
namespace quantize_command {

struct Options {
  quantization::FileSettings file;
  std::string calibration = "minmax";
  bool per_tensor = false;
  std::filesystem::path json;
};

void Print(const quantization::FileSettings& settings, const quantization::Reached& reached) {
  const auto percent = [&](int64_t right) {
    return 100 * static_cast<double>(right) / static_cast<double>(reached.images);
  };
  fmt::print("{}: W{}A{}, {} bits of weight memory\n", settings.output.string(), settings.settings.weight_bits,
             settings.settings.activation_bits, model::MemoryBits(reached.model));
  fmt::print("accuracy on {} test images: float {:.2f} %, quantized {:.2f} %; quantized on all: {:.2f} %\n",
             reached.images, percent(reached.float_right), percent(reached.right_of_the_same), 100 * reached.accuracy);
  if (reached.padding_difference > 0.5)
    fmt::print(
        "(padding of the input is up to {:.1f} of 255 from what the network was trained with: one zero point "
        "serves all channels; it is in both accuracies)\n",
        reached.padding_difference);
}

void Run(Options& options, const Cancellation& cancellation) {
  quantization::FileSettings& file = options.file;
  CheckDistinct({{"--output", file.output}, {"the network " + file.network, file.network}, {"--json", options.json}});
  file.settings.calibration = network::ParseCalibration(options.calibration);
  file.settings.per_channel = !options.per_tensor;
  ProgressLine line;
  const quantization::Reached reached = quantization::QuantizeFile(
      file, [&](const std::string& step) { line.Update(step); }, cancellation);
  line.Finish();
  WriteJson(options.json, quantization::ToJson(file, reached));
  if (!IsStandardOutput(options.json)) Print(file, reached);
}

}  // namespace quantize_command

void AddQuantizeCommand(CLI::App& app, Chosen& chosen) {
  using namespace quantize_command;
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("quantize", "Quantize a trained float network without training it further, and write it");
  command
      ->add_option("network", options->file.network,
                   "A float ONNX file, as PyTorch exports it or steadfast train writes it")
      ->required()
      ->type_name("FLOAT.onnx");
  command->add_option("-o,--output", options->file.output, "The model file to write")->required()->type_name("FILE");
  command->add_option("--dataset", options->file.dataset, "Dataset by name (see: steadfast data)")->required();
  options->file.location.on_reading = data::ReadingLine();
  command->add_option("--data", options->file.location.folder, "Folder of datasets")->type_name("DIR");
  command
      ->add_option(
          "--mean", options->file.mean,
          "Of the network's input, (byte / 255 - mean) / std: one value or one a channel (default: what a file "
          "of steadfast train says, else 0)")
      ->delimiter(',')
      ->type_name("X,...");
  command
      ->add_option("--std", options->file.deviation,
                   "What divides the input after --mean is subtracted (default: what the file says, else 1)")
      ->delimiter(',')
      ->type_name("X,...");
  command->add_option("--weight-bits", options->file.settings.weight_bits, "Bits of a weight code, 2 to 8")
      ->capture_default_str();
  command
      ->add_option("--activation-bits", options->file.settings.activation_bits,
                   "Bits of an activation code, 2 to 8; means and what only residual additions take have 8")
      ->capture_default_str();
  command->add_flag("--per-tensor", options->per_tensor, "One scale for all weights of a layer, not one an output");
  command->add_flag("--signed", options->file.settings.signed_activations, "Store activation codes as int8, not uint8");
  command
      ->add_option("--calibration", options->calibration,
                   "What ranges follow from: minmax, percentile, or mse (the least mean squared error, of weights too)")
      ->capture_default_str();
  command->add_option("--percentile", options->file.settings.percentile, "Of percentile: the share of numbers within")
      ->capture_default_str();
  command->add_option("--calibration-images", options->file.calibration_images, "Training images to calibrate on")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--float-images", options->file.float_images,
                   "Test images on which the float network is run too, to compare")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  AddThreadsOption(*command, options->file.settings.threads);
  command->add_flag("--force", options->file.force, "Overwrite the output");
  AddJsonOption(*command, options->json, "Write what was reached");
  command->footer(
      "Example: steadfast quantize mynet.onnx --dataset cifar10 --mean 0.4914,0.4822,0.4465 --std 0.247,0.243,0.262 "
      "--weight-bits 8 --activation-bits 8 -o mynet-w8a8.onnx");
  command->callback([options, &chosen] {
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
