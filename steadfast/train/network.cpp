#include "steadfast/train/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/network/find.h"
#include "steadfast/network/input_folding.h"

namespace steadfast::train {
namespace {

using network::OutputRange;
using torch::Tensor;

// What a step without weights makes of its inputs.
struct StepRunner {
  const std::vector<Tensor>& inputs;

  Tensor operator()(const network::Convolution&) const { return {}; }
  Tensor operator()(const network::Linear&) const { return {}; }
  Tensor operator()(const network::BatchNormalization&) const { return {}; }
  Tensor operator()(const network::Clip& op) const { return torch::clamp(inputs[0], op.lowest, op.highest); }
  Tensor operator()(const network::Function& op) const {
    const Tensor& x = inputs[0];
    if (op.name == "LeakyRelu") return torch::leaky_relu(x, op.alpha);
    if (op.name == "HardSigmoid") return torch::clamp(x * op.alpha + op.beta, 0, 1);
    if (op.name == "HardSwish") return x * torch::clamp(x / 6 + 0.5, 0, 1);
    if (op.name == "Sigmoid") return torch::sigmoid(x);
    if (op.name == "Silu") return torch::silu(x);
    if (op.name == "Tanh") return torch::tanh(x);
    if (op.name == "Gelu") return torch::gelu(x);
    if (op.name == "GeluTanh") return torch::gelu(x, "tanh");
    throw InputError(fmt::format("function '{}' is not known", op.name));
  }
  // Padding that differs between sides is put around first.
  static Tensor Padded(const Tensor& x, const network::Window& w, double value) {
    if (!w.has_padding()) return x;
    return torch::constant_pad_nd(x, {w.pad_left, w.pad_right, w.pad_top, w.pad_bottom}, value);
  }
  Tensor operator()(const network::MaxPool& op) const {
    const network::Window& w = op.window;
    return torch::max_pool2d(Padded(inputs[0], w, -std::numeric_limits<float>::infinity()), {w.kernel_h, w.kernel_w},
                             {w.stride_h, w.stride_w}, 0, {w.dilation_h, w.dilation_w});
  }
  Tensor operator()(const network::AveragePool& op) const {
    const network::Window& w = op.window;
    return torch::avg_pool2d(Padded(inputs[0], w, 0), {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w});
  }
  Tensor operator()(const network::Add&) const { return inputs[0] + inputs[1]; }
  // An embedding is the same for all images, and has a batch of 1.
  Tensor operator()(const network::Concatenate&) const {
    int64_t images = 1;
    for (const Tensor& part : inputs) images = std::max(images, part.size(0));
    std::vector<Tensor> parts;
    for (const Tensor& part : inputs) {
      std::vector<int64_t> sizes(static_cast<size_t>(part.dim()), -1);
      sizes[0] = images;
      parts.push_back(part.expand(sizes));
    }
    return torch::cat(parts, 1);
  }
  Tensor operator()(const network::Rearrange& op) const {
    const Tensor moved = inputs[0].flatten(1).index_select(1, torch::tensor(op.from).to(inputs[0].device()));
    if (op.shape.flat) return moved;
    return moved.reshape({moved.size(0), op.shape.channels, op.shape.height, op.shape.width});
  }
  Tensor operator()(const network::Flatten&) const { return inputs[0].flatten(1); }
  Tensor operator()(const network::Multiply&) const { return inputs[0] * inputs[1]; }
  Tensor operator()(const network::Product& op) const {
    const auto matrices = [&](const Tensor& x) {
      return x.flatten(2).reshape({x.size(0), op.groups, -1, x.size(2) * x.size(3)});
    };
    const Tensor a = matrices(inputs[0]), b = matrices(inputs[1]);
    const Tensor product = torch::matmul(op.transposed_left ? a.transpose(2, 3) : a, b) * op.factor;
    return product.reshape({b.size(0), -1, inputs[1].size(2), inputs[1].size(3)});
  }
  Tensor operator()(const network::Softmax& op) const {
    const Tensor& x = inputs[0];
    if (op.groups == 1) return torch::softmax(x, 1);
    return torch::softmax(x.reshape({x.size(0), op.groups, x.size(1) / op.groups, x.size(2), x.size(3)}), 2)
        .reshape(x.sizes());
  }
  Tensor operator()(const network::LayerNormalization& op) const {
    const Tensor& x = inputs[0];
    if (x.dim() == 2) return torch::layer_norm(x, {x.size(1)}, {}, {}, op.epsilon);
    return torch::layer_norm(x.permute({0, 2, 3, 1}), {x.size(1)}, {}, {}, op.epsilon).permute({0, 3, 1, 2});
  }
  Tensor operator()(const network::Positions& op) const {
    const int64_t positions = op.height * op.width;
    return torch::eye(positions, inputs[0].options()).reshape({1, positions, op.height, op.width});
  }
};

// Throws UsageError where this LibTorch, or this machine, has no such device.
torch::Device DeviceOf(const recipe::Recipe& recipe) {
  if (recipe.device == "cpu") return torch::kCPU;
  if (!torch::cuda::is_available())
    throw UsageError(
        "device: cuda: this LibTorch finds no GPU (a LibTorch with CUDA: -DCMAKE_PREFIX_PATH=ITS_FOLDER when "
        "building); "
        "train with --device cpu");
  return torch::kCUDA;
}

}  // namespace

Network::Network(network::FloatGraph graph, const recipe::Recipe& recipe)
    : device(DeviceOf(recipe)), graph_(std::move(graph)) {
  const std::vector<network::FusedStep> fused = network::Fuse(graph_);
  std::vector<std::string> named;
  for (const auto& [layer, bits] : recipe.layer_bits) named.push_back(layer);
  network::CheckLayers(graph_, named);
  // Initial values are drawn on the CPU, the same for every device.
  const LayerSettings settings{&recipe, at::detail::createCPUGenerator(recipe.seed), device, &parameters, &buffers};
  std::vector<size_t> last_use(graph_.values.size(), 0);
  for (const network::FusedStep& step : fused) {
    for (const int input : step.inputs) last_use[static_cast<size_t>(input)] = steps_.size();
    Step made{step, nullptr, nullptr, {}};
    if (network::WeightOf(graph_.nodes[static_cast<size_t>(step.node)]) >= 0 || step.normalization)
      made.layer = std::make_unique<WeightedLayer>(graph_, step, settings);
    if (step.range == OutputRange::kPositive || step.range == OutputRange::kSigned)
      made.activation = std::make_unique<ActivationQuantizer>(graph_, step, settings);
    steps_.push_back(std::move(made));
  }
  channels_last_ = !graph_.values[0].shape.flat &&
                   std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [](const network::FloatNode& node) {
                     return std::holds_alternative<network::LayerNormalization>(node.operation);
                   });
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const int input : steps_[s].fused.inputs) {
      if (last_use[static_cast<size_t>(input)] == s) steps_[s].dead.push_back(input);
    }
  }
  if (recipe.normalization_statistics_in_both_passes && buffers.empty()) {
    throw UsageError(fmt::format("normalization_statistics_in_both_passes: {} has no normalization", graph_.name));
  }
}

Tensor Network::Run(const Step& step, const Pass& pass, const std::vector<Tensor>& values) const {
  std::vector<Tensor> inputs;
  for (const int input : step.fused.inputs) inputs.push_back(values[static_cast<size_t>(input)]);
  if (step.layer != nullptr) return (*step.layer)(pass, inputs[0]);
  return std::visit(StepRunner{inputs}, graph_.nodes[static_cast<size_t>(step.fused.node)].operation);
}

Tensor Network::Forward(Pass& pass, const Tensor& input) {
  std::vector<Tensor> values(graph_.values.size());
  values[0] = (graph_.values[0].shape.flat ? input.flatten(1) : input).to(device);
  if (channels_last_) values[0] = values[0].contiguous(torch::MemoryFormat::ChannelsLast);
  for (const Step& step : steps_) {
    Tensor result = Run(step, pass, values);
    if (step.activation != nullptr) result = (*step.activation)(pass, result);
    for (const int value : step.dead) values[static_cast<size_t>(value)] = Tensor();
    values[static_cast<size_t>(step.fused.output)] = std::move(result);
  }
  return values[static_cast<size_t>(graph_.output)];
}

std::vector<WeightedLayer*> Network::layers() {
  std::vector<WeightedLayer*> layers;
  for (const Step& step : steps_) {
    if (step.layer != nullptr && step.layer->has_weight()) layers.push_back(step.layer.get());
  }
  return layers;
}

std::vector<ActivationQuantizer*> Network::activations() {
  std::vector<ActivationQuantizer*> activations;
  for (const Step& step : steps_) {
    if (step.activation != nullptr) activations.push_back(step.activation.get());
  }
  return activations;
}

model::QuantizedModel Network::Export(const std::string& name, data::InputScale scale) const {
  const torch::NoGradGuard no_gradients;
  model::QuantizedModel model;
  model.name = name;
  model.values.push_back({"input", graph_.values[0].shape,
                          model::ActivationCoding{.bits = 8, .scale = scale.scale, .zero_point = scale.zero_point}});
  network::StepExporter exporter(graph_, model);
  for (const Step& step : steps_) {
    std::optional<model::ActivationCoding> coding;
    if (step.activation != nullptr) coding = step.activation->coding();
    if (step.layer == nullptr) {
      exporter.Add(step.fused, coding);
      continue;
    }
    const network::StepConstants constants = step.layer->constants();
    exporter.Add(step.fused, coding, &constants);
  }
  model::Validate(model);
  return model;
}

network::FloatGraph Network::ToGraph() const {
  network::FloatGraph graph = graph_;
  for (const Step& step : steps_) {
    if (step.layer != nullptr) step.layer->Store(graph, step.fused);
  }
  return graph;
}

namespace {

network::FoundNetwork Find(const recipe::Recipe& recipe, const NetworkShape& shape) {
  const model::ValueShape input{shape.input.channels, shape.input.height, shape.input.width};
  network::FoundNetwork found = network::FindNetwork(recipe.network, recipe.network_sha256, input, shape.classes);
  const auto made_by = found.graph.metadata.find("steadfast.recipe_sha256");
  if (!recipe.start.empty() && (made_by == found.graph.metadata.end() || made_by->second != recipe.start))
    throw InputError(fmt::format("{}: was not made by the recipe that this one starts from", recipe.network));
  return found;
}

network::InputNormalization NormalizationFor(const recipe::Recipe& recipe, const network::FloatGraph& graph) {
  network::InputNormalization normalization = network::NormalizationOf(graph);
  if (!recipe.mean.empty()) normalization.mean = recipe.mean;
  if (!recipe.deviation.empty()) normalization.deviation = recipe.deviation;
  return normalization;
}

}  // namespace

data::InputScale ScaleFor(const recipe::Recipe& recipe, const NetworkShape& shape, data::InputScale of_images) {
  const network::FoundNetwork found = Find(recipe, shape);
  if (!found.is_file) return of_images;
  const network::ByteScale scale = network::ByteScaleOf(found.graph, NormalizationFor(recipe, found.graph));
  return {scale.scale, scale.zero_point};
}

std::unique_ptr<Network> MakeNetwork(const recipe::Recipe& recipe, const NetworkShape& shape, data::InputScale scale) {
  network::FoundNetwork found = Find(recipe, shape);
  double padding_difference = 0;
  if (found.is_file)
    padding_difference =
        network::FoldInput(found.graph, NormalizationFor(recipe, found.graph), {scale.scale, scale.zero_point});
  auto made = std::make_unique<Network>(std::move(found.graph), recipe);
  made->padding_difference = padding_difference;
  return made;
}

}  // namespace steadfast::train
