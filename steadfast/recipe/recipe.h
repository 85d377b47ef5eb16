// A recipe: everything that decides what a training run produces, as plain data.
//
// The command line, study files and the training program all speak of training through this struct; its JSON form
// travels in model files and its hash names a training step. Knows nothing of LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast::recipe {

enum class Quantizer {
  kFloat,   // no quantization: the float32 baseline
  kLsq,     // learned step sizes, Esser et al., ICLR 2020
  kLiq,     // weight-normalized, of SAQ's code (Liu, Cai, Zhuang, arXiv 2111.12273)
  kDoReFa,  // Zhou et al., arXiv 1606.06160
};

enum class Sparsity {
  kNone,
  kL1,           // strength: lambda; Georgiadis, CVPR 2019
  kHoyerSquare,  // strength: lambda; Kurtz et al., ICML 2020
  kFatRelu,  // strength: points of validation accuracy to spend; Kurtz et al., thresholds searched over codes (ours)
};

enum class Sharpness {
  kNone,
  kSam,   // Foret et al., ICLR 2021
  kAsam,  // Kwon et al., ICML 2021
  kSaq,   // Liu, Cai, Zhuang, arXiv 2111.12273
};

enum class Optimizer { kSgd, kAdam };
enum class Schedule { kConstant, kCosine, kStep };

// Which parameters SAQ perturbs besides the quantized weights (methods: weight clips are left out by default).
struct PerturbedGroups {
  bool biases = true;
  bool normalization = true;
  bool activation_steps = true;
  bool weight_steps = false;
  bool operator==(const PerturbedGroups&) const = default;
};

struct LayerBits {
  int weight_bits;
  int activation_bits;
  bool operator==(const LayerBits&) const = default;
};

struct Recipe {
  std::string name;                     // such as "as-saq"; a label, not part of the hash
  std::string network = "lenet5";       // a built-in one, or an ONNX file to start from
  std::string network_sha256;           // of such a file; empty: not said
  std::string start;                    // HashOf the recipe that made the file; empty: not said
  std::vector<double> mean, deviation;  // its input: (byte / 255 - mean) / std, one value or one a channel; empty: 0, 1
  std::string dataset = "fashion-mnist";

  Quantizer quantizer = Quantizer::kLsq;
  int weight_bits = 4;
  int activation_bits = 4;
  bool narrow = false;                          // weights without the code -2^(b-1)
  std::map<std::string, LayerBits> layer_bits;  // exceptions, by layer name or pattern ("stage1.*"); names come first

  Sparsity sparsity = Sparsity::kNone;
  double sparsity_strength = 0.0;
  bool sparsity_after_quantizer = false;  // penalty on quantized instead of real activations

  Sharpness sharpness = Sharpness::kNone;
  double rho = 0.0;
  double asam_eta = 0.01;  // Kwon et al.
  PerturbedGroups perturbed;
  bool normalization_statistics_in_both_passes = false;  // SAM's own recommendation is the first pass only

  Optimizer optimizer = Optimizer::kAdam;
  double learning_rate = 1e-3;
  double momentum = 0.9;      // SGD
  bool nesterov = true;       // SGD
  double weight_decay = 0.0;  // on weights only: not on biases, normalization, or steps
  double step_weight_decay = 0.0;
  Schedule schedule = Schedule::kCosine;
  std::vector<int> step_epochs;  // kStep: learning rate times step_factor after each
  double step_factor = 0.1;

  double warm_up = 0;          // epochs in which the learning rate grows from 0, linearly
  double label_smoothing = 0;  // share of the target that all classes get (Szegedy et al., 2016)
  double gradient_clip = 0;    // largest norm of all gradients together; 0: none
  // Random changes of training images (He et al., 2016; DeVries and Taylor, 2017, for cutout); 0: none.
  int crop = 0;       // pixels of padding, out of which an image of the old size is cut
  bool flip = false;  // left and right, of every second image
  int cutout = 0;     // side of a square that is blanked

  double average = 0;                     // decay of a moving average of all parameters, which is what is kept; 0: none
  bool best_epoch = false;                // keep the epoch of the best validation accuracy, not the last
  bool reestimate_normalization = false;  // running statistics anew at the end, on training images

  int epochs = 6;
  int batch_size = 128;
  int64_t train_images = 0;  // 0: all that are not held out
  uint64_t seed = 0;
  int threads = 1;
  std::string device = "cpu";  // or "cuda", where LibTorch has it: numbers depend on it

  bool operator==(const Recipe&) const = default;
};

// Throws UsageError naming the key of a value that is impossible, or impossible together with another. Whether there is
// such a network, and whether it has the layers of layer_bits, is found when it is made.
void Validate(const Recipe& recipe);

nlohmann::json ToJson(const Recipe& recipe);
// With what ToJson leaves out where it has its default: all that a user may set.
nlohmann::json AllSettings(const Recipe& recipe);
// Unknown keys and wrong types are InputErrors that name the key. Missing keys keep their defaults.
Recipe FromJson(const nlohmann::json& json);

// SHA-256 of all that decides the result (not the name).
std::string HashOf(const Recipe& recipe);

// Whether a layer is meant by a key of layer_bits: its name, or a pattern with * and ?.
bool Matches(std::string_view pattern, std::string_view layer);
bool HasBitsOfItsOwn(const Recipe& recipe, const std::string& layer);  // by layer_bits
// The bits of a layer.
LayerBits BitsOf(const Recipe& recipe, const std::string& layer);

// "lsq", "l1", "saq", "adam", "cosine": the words of the command line and of study files.
std::string_view NameOf(Quantizer quantizer);
std::string_view NameOf(Sparsity sparsity);
std::string_view NameOf(Sharpness sharpness);
std::string_view NameOf(Optimizer optimizer);
std::string_view NameOf(Schedule schedule);

// "l1:1e-4", "hoyer:1e-6", "fatrelu:0.5", "none"; "sam:0.05", "asam:0.5", "saq:0.1", "none"; "cosine", "constant",
// "step:80,120". Throw UsageError that says what is expected.
void ParseSparsity(std::string_view text, Recipe& recipe);
void ParseSharpness(std::string_view text, Recipe& recipe);
void ParseSchedule(std::string_view text, Recipe& recipe);
void ParseQuantizer(std::string_view text, Recipe& recipe);
void ParseOptimizer(std::string_view text, Recipe& recipe);
// "crop:4,flip,cutout:8", any of the three, or "none".
void ParseAugmentation(std::string_view text, Recipe& recipe);
// "conv1=8/4": weight and activation bits of one layer.
void ParseLayerBits(std::string_view text, Recipe& recipe);
// "biases,normalization,activation-steps,weight-steps" or "none".
void ParsePerturbed(std::string_view text, Recipe& recipe);

std::string SparsityText(const Recipe& recipe);   // "l1:1e-4"
std::string SharpnessText(const Recipe& recipe);  // "saq:0.1"
std::string ScheduleText(const Recipe& recipe);
std::string PerturbedText(const Recipe& recipe);
std::string AugmentationText(const Recipe& recipe);

// A one-line description: "lenet5 W4A4 lsq, l1:1e-4, adam 0.001 cosine, saq:0.1, 6 epochs, seed 0".
std::string Describe(const Recipe& recipe);

}  // namespace steadfast::recipe
