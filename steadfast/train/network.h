// Networks by name. Adding one is one file in networks/ and one line in network.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"  // ImageShape, InputScale
#include "steadfast/train/layers.h"  // Flow, Pass, Parameter, WeightedLayer

namespace steadfast::train {

class Network {
 public:
  virtual ~Network() = default;
  // input: [n, c, h, w], normalized. Gives the logits [n, classes].
  virtual Flow Forward(Pass& pass, const Flow& input) = 0;
  // In the order of the forward pass.
  virtual std::vector<WeightedLayer*> layers() = 0;

  std::vector<Parameter> parameters;
};

struct NetworkShape {
  data::ImageShape input;
  int classes;
};

// Throws UsageError for an unknown name, an input the network cannot take, or layer widths for a layer it lacks.
std::unique_ptr<Network> MakeNetwork(const recipe::Recipe& recipe, const NetworkShape& shape);

// The network as integers. Throws InputError where it cannot be represented (see model::Validate).
model::QuantizedModel Export(Network& network, const std::string& name, const data::ImageShape& input,
                             data::InputScale scale);

// networks/lenet5.cpp
std::unique_ptr<Network> MakeLeNet5(const LayerSettings& settings, const NetworkShape& shape);

}  // namespace steadfast::train
