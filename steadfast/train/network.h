// A float graph, interpreted for training: forward, with quantizers where fused steps end, and export.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"         // ImageShape, InputScale
#include "steadfast/network/float_graph.h"  // FloatGraph
#include "steadfast/train/layers.h"         // Pass, Parameter, WeightedLayer

namespace steadfast::train {

class Network {
 public:
  // Throws UsageError where the recipe names layers that the graph lacks; InputError where the graph has no form on
  // integer codes (see network::Fuse).
  Network(network::FloatGraph graph, const recipe::Recipe& recipe);

  // input: [n, c, h, w], as scale * (byte - zero_point). Gives the logits [n, classes].
  torch::Tensor Forward(Pass& pass, const torch::Tensor& input);

  std::vector<WeightedLayer*> layers();             // in the order of the forward pass
  std::vector<ActivationQuantizer*> activations();  // the same
  const network::FloatGraph& graph() const { return graph_; }

  // The network as integers. Throws InputError where it cannot be represented (see model::Validate).
  model::QuantizedModel Export(const std::string& name, data::InputScale scale) const;
  // The graph with the values that its parameters have now.
  network::FloatGraph ToGraph() const;

  torch::Device device;  // of all of them
  std::vector<Parameter> parameters;
  std::vector<Buffer> buffers;
  // Of a network that came from a file: how far its padding is from what it was trained on, in bytes (FoldInput).
  double padding_difference = 0;

 private:
  struct Step {
    network::FusedStep fused;
    std::unique_ptr<WeightedLayer> layer;             // of steps with weights
    std::unique_ptr<ActivationQuantizer> activation;  // of steps with codes of their own
    std::vector<int> dead;                            // values that no later step takes
  };
  torch::Tensor Run(const Step& step, const Pass& pass, const std::vector<torch::Tensor>& values) const;

  network::FloatGraph graph_;
  std::vector<Step> steps_;
  bool channels_last_ = false;  // in memory, as normalization over channels wants it
};

struct NetworkShape {
  data::ImageShape input;
  int classes;
};

// How bytes are scaled for a recipe's network: as a file's own normalization has it; else as the images do.
data::InputScale ScaleFor(const recipe::Recipe& recipe, const NetworkShape& shape, data::InputScale of_images);

// The network that a recipe names: a built-in one, or an ONNX file, whose input is then folded to bytes of `scale`
// (network::FoldInput). Throws UsageError for an unknown name, or an input or number of classes that does not fit.
std::unique_ptr<Network> MakeNetwork(const recipe::Recipe& recipe, const NetworkShape& shape, data::InputScale scale);

}  // namespace steadfast::train
