#include "steadfast/train/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "steadfast/base/error.h"

namespace steadfast::train {
namespace {

using Maker = std::unique_ptr<Network> (*)(const LayerSettings&, const NetworkShape&);

const std::map<std::string, Maker>& Registry() {
  static const std::map<std::string, Maker> registry = {{"lenet5", MakeLeNet5}};
  return registry;
}

}  // namespace

std::unique_ptr<Network> MakeNetwork(const recipe::Recipe& recipe, const NetworkShape& shape) {
  const auto maker = Registry().find(recipe.network);
  if (maker == Registry().end()) {
    throw UsageError(
        fmt::format("unknown network '{}'; known are {}", recipe.network, fmt::join(recipe::NetworkNames(), ", ")));
  }
  std::vector<Parameter> parameters;
  const LayerSettings settings{&recipe, at::detail::createCPUGenerator(recipe.seed), &parameters};
  auto network = maker->second(settings, shape);
  network->parameters = std::move(parameters);
  const bool normalizes = std::any_of(network->parameters.begin(), network->parameters.end(),
                                      [](const Parameter& p) { return p.group == ParameterGroup::kNormalization; });
  if (recipe.normalization_statistics_in_both_passes && !normalizes) {
    throw UsageError(fmt::format("normalization_statistics_in_both_passes: {} has no normalization", recipe.network));
  }
  return network;
}

model::QuantizedModel Export(Network& network, const std::string& name, const data::ImageShape& input,
                             data::InputScale scale) {
  const torch::NoGradGuard no_gradients;
  model::QuantizedModel model;
  model.name = name;
  model.values.push_back({"input",
                          {input.channels, input.height, input.width},
                          model::ActivationCoding{.bits = 8, .scale = scale.scale, .zero_point = scale.zero_point}});
  Pass pass;
  pass.exporting = &model;
  const Flow logits = network.Forward(pass, {torch::zeros({1, input.channels, input.height, input.width}), 0});
  model.output = logits.value;
  model::Validate(model);
  return model;
}

}  // namespace steadfast::train
