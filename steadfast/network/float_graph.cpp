#include "steadfast/network/float_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/windows.h"

namespace steadfast::network {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;  // of a value

// Of the operations, in the order of FloatOperation.
constexpr const char* kKinds[] = {"Convolution",
                                  "Linear",
                                  "BatchNormalization",
                                  "Clip",
                                  "Function",
                                  "MaxPool",
                                  "AveragePool",
                                  "Add",
                                  "Concatenate",
                                  "Flatten",
                                  "Multiply",
                                  "Product",
                                  "Softmax",
                                  "LayerNormalization",
                                  "Positions",
                                  "Rearrange"};
static_assert(std::size(kKinds) == std::variant_size_v<FloatOperation>);

// The shape of a node's output.
struct Shapes {
  const FloatGraph& graph;
  const FloatNode& node;

  [[noreturn]] void Fail(const std::string& what) const {
    throw InputError(fmt::format("{}: {}", Describe(node), what));
  }
  const ValueShape& input(size_t i = 0) const { return graph.value(node.inputs[i]).shape; }
  void Expect(int parameter, const std::vector<int64_t>& shape, const char* what) const {
    if (parameter >= 0 && graph.parameter(parameter).shape != shape)
      Fail(fmt::format("its {} has the shape [{}], expected [{}]", what,
                       fmt::join(graph.parameter(parameter).shape, ", "), fmt::join(shape, ", ")));
  }

  ValueShape operator()(const Convolution& op) const {
    const std::vector<int64_t>& weight = graph.parameter(op.weight).shape;
    if (weight.size() != 4) Fail(fmt::format("its weights have {} dimensions, expected 4", weight.size()));
    if (op.groups < 1 || input().channels % op.groups != 0 || weight[0] % op.groups != 0)
      Fail(fmt::format("{} groups do not divide {} channels and {} outputs", op.groups, input().channels, weight[0]));
    Expect(op.weight, {weight[0], input().channels / op.groups, op.window.kernel_h, op.window.kernel_w}, "weight");
    Expect(op.bias, {weight[0]}, "bias");
    return model::WindowShape(Describe(node), input(), op.window, weight[0]);
  }
  ValueShape operator()(const Linear& op) const {
    const std::vector<int64_t>& weight = graph.parameter(op.weight).shape;
    if (weight.size() != 2) Fail(fmt::format("its weights have {} dimensions, expected 2", weight.size()));
    if (!input().flat) Fail("its input has rows and columns, and must be flattened first");
    Expect(op.weight, {weight[0], input().channels}, "weight");
    Expect(op.bias, {weight[0]}, "bias");
    return {weight[0], 1, 1, true};
  }
  ValueShape operator()(const BatchNormalization& op) const {
    for (const int parameter : {op.gamma, op.beta, op.mean, op.variance})
      Expect(parameter, {input().channels}, "normalization");
    return input();
  }
  ValueShape operator()(const Clip&) const { return input(); }
  ValueShape operator()(const Function&) const { return input(); }
  ValueShape operator()(const MaxPool& op) const { return model::PooledShape(Describe(node), input(), op.window); }
  ValueShape operator()(const AveragePool& op) const { return model::PooledShape(Describe(node), input(), op.window); }
  ValueShape operator()(const Add&) const {
    if (node.inputs.size() != 2) Fail(fmt::format("{} inputs, expected 2", node.inputs.size()));
    if (input(0) != input(1)) Fail("its two inputs have different shapes");
    return input();
  }
  ValueShape operator()(const Concatenate&) const {
    ValueShape result = input();
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      ValueShape same = input(i);
      same.channels = input().channels;
      if (same != input()) Fail("its inputs have different rows or columns");
      result.channels += input(i).channels;
    }
    return result;
  }
  ValueShape operator()(const Flatten&) const { return {input().elements(), 1, 1, true}; }
  ValueShape operator()(const Multiply&) const {
    if (node.inputs.size() != 2) Fail(fmt::format("{} inputs, expected 2", node.inputs.size()));
    const ValueShape one_a_channel{input().channels, 1, 1, input().flat};
    if (input(0) != input(1) && input(1) != one_a_channel)
      Fail("its inputs have different shapes, and the second not one element a channel");
    return input();
  }
  ValueShape operator()(const Product& op) const {
    if (node.inputs.size() != 2) Fail(fmt::format("{} inputs, expected 2", node.inputs.size()));
    const ValueShape &a = input(0), &b = input(1);
    if (op.groups < 1 || a.channels % op.groups != 0 || b.channels % op.groups != 0 || a.flat || b.flat)
      Fail(fmt::format("its inputs are not {} matrices each", op.groups));
    const model::ProductSize size = model::SizeOf({op.transposed_left, op.groups, op.factor}, a, b);
    if (b.channels != op.groups * size.inner) Fail("its inputs do not fit to be multiplied");
    return {op.groups * size.rows, b.height, b.width};
  }
  ValueShape operator()(const Softmax& op) const {
    if (op.groups < 1 || input().channels % op.groups != 0)
      Fail(fmt::format("{} channels are not {} equal groups", input().channels, op.groups));
    return input();
  }
  ValueShape operator()(const LayerNormalization&) const { return input(); }
  ValueShape operator()(const Positions& op) const { return {op.height * op.width, op.height, op.width}; }
  ValueShape operator()(const Rearrange& op) const {
    const bool fits = static_cast<int64_t>(op.from.size()) == op.shape.elements() &&
                      std::all_of(op.from.begin(), op.from.end(),
                                  [&](int32_t from) { return from >= 0 && from < input().elements(); });
    if (!fits) Fail("takes elements that its input does not have, or not as many as it gives");
    return op.shape;
  }
};

}  // namespace

int64_t FloatParameter::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<std::vector<int>> FloatGraph::Users() const {
  std::vector<std::vector<int>> users(values.size());
  for (size_t n = 0; n < nodes.size(); ++n) {
    for (const int input : nodes[n].inputs) users[static_cast<size_t>(input)].push_back(static_cast<int>(n));
  }
  return users;
}

std::string KindOf(const FloatNode& node) {
  if (const auto* function = std::get_if<Function>(&node.operation)) return function->name;
  return kKinds[node.operation.index()];
}

std::string Describe(const FloatNode& node) {
  return fmt::format("node '{}' ({})", node.name, KindOf(node));
}

int WeightOf(const FloatNode& node) {
  if (const auto* convolution = std::get_if<Convolution>(&node.operation)) return convolution->weight;
  if (const auto* linear = std::get_if<Linear>(&node.operation)) return linear->weight;
  return -1;
}

namespace {

// What a value is still to be multiplied with and added to, element by element; empty: nothing.
struct Affine {
  std::vector<float> factor, term;
  std::set<int> of = {};  // the normalizations it comes from, by their outputs
  bool empty() const { return factor.empty(); }
};

// Normalizations (by their outputs) that what follows them cannot take up.
struct Unfoldable {
  std::set<int> values;
};

class ScaleFolder {
 public:
  // Those of `alone` stay as they are.
  ScaleFolder(FloatGraph& graph, const std::set<int>& alone)
      : graph_(graph), alone_(alone), affine_(graph.values.size()), now_(graph.values.size()) {
    for (size_t v = 0; v < now_.size(); ++v) now_[v] = static_cast<int>(v);
  }

  void Run() {
    std::vector<bool> is_normal(graph_.values.size(), false);
    for (FloatNode& node : graph_.nodes) {
      const auto from = static_cast<size_t>(node.inputs[0]), to = static_cast<size_t>(node.output);
      const auto* op = std::get_if<BatchNormalization>(&node.operation);
      is_normal[to] = std::holds_alternative<LayerNormalization>(node.operation);
      if (op != nullptr && !alone_.contains(node.output) && (is_normal[from] || !affine_[from].empty())) {
        affine_[to] = Behind(node, *op);
        affine_[to].of.insert(node.output);
        now_[to] = now_[from];  // the node leads nowhere now
        continue;
      }
      const bool takes_any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                         [&](int v) { return !affine_[static_cast<size_t>(v)].empty(); });
      if (takes_any) affine_[to] = Through(node);
      for (int& input : node.inputs) input = now_[static_cast<size_t>(input)];
    }
    if (!affine_[static_cast<size_t>(graph_.output)].empty())
      throw InputError(fmt::format("{}: ends with a layer normalization", graph_.name));
    graph_.output = now_[static_cast<size_t>(graph_.output)];
  }

 private:
  [[noreturn]] void Fail(const FloatNode& node) const {
    Unfoldable unfoldable;
    for (const int input : node.inputs) {
      const std::set<int>& of = affine_[static_cast<size_t>(input)].of;
      unfoldable.values.insert(of.begin(), of.end());
    }
    throw unfoldable;
  }
  Affine Of(int value) const {
    const Affine& affine = affine_[static_cast<size_t>(value)];
    if (!affine.empty()) return affine;
    const auto elements = static_cast<size_t>(graph_.value(value).shape.elements());
    return {std::vector<float>(elements, 1.0f), std::vector<float>(elements, 0.0f), {}};
  }

  Affine Behind(const FloatNode& node, const BatchNormalization& op) const {
    Affine affine = Of(node.inputs[0]);
    const ValueShape& shape = graph_.value(node.output).shape;
    const auto values = [&](int parameter, size_t c) { return double{graph_.parameter(parameter).values[c]}; };
    for (size_t e = 0; e < affine.factor.size(); ++e) {
      const size_t c = e / static_cast<size_t>(shape.height * shape.width);
      const double factor = values(op.gamma, c) / std::sqrt(values(op.variance, c) + op.epsilon);
      affine.term[e] = static_cast<float>((affine.term[e] - values(op.mean, c)) * factor + values(op.beta, c));
      affine.factor[e] = static_cast<float>(affine.factor[e] * factor);
    }
    return affine;
  }

  // The same of each channel; nothing where positions of one differ.
  std::optional<Affine> ByChannel(int value) const {
    const Affine affine = Of(value);
    const ValueShape& shape = graph_.value(value).shape;
    const auto positions = static_cast<size_t>(shape.height * shape.width);
    Affine result;
    for (size_t e = 0; e < affine.factor.size(); ++e) {
      if (e % positions == 0) {
        result.factor.push_back(affine.factor[e]);
        result.term.push_back(affine.term[e]);
      }
      if (affine.factor[e] != result.factor.back() || affine.term[e] != result.term.back()) return {};
    }
    return result;
  }

  // What is left of it behind a node. Means, and what moves values about, change nothing; weighted sums take it up.
  Affine Through(FloatNode& node) {
    Affine affine = Moved(node);
    for (const int input : node.inputs) {
      const std::set<int>& of = affine_[static_cast<size_t>(input)].of;
      if (!affine.empty()) affine.of.insert(of.begin(), of.end());
    }
    return affine;
  }
  Affine Moved(FloatNode& node) {
    const ValueShape& shape = graph_.value(node.output).shape;
    Affine result;
    if (const auto* op = std::get_if<Rearrange>(&node.operation)) {
      const Affine affine = Of(node.inputs[0]);
      for (const int32_t from : op->from) {
        result.factor.push_back(affine.factor[static_cast<size_t>(from)]);
        result.term.push_back(affine.term[static_cast<size_t>(from)]);
      }
      return result;
    }
    if (std::holds_alternative<Flatten>(node.operation)) return Of(node.inputs[0]);
    if (std::holds_alternative<Concatenate>(node.operation)) {
      for (const int input : node.inputs) {
        const Affine affine = Of(input);
        result.factor.insert(result.factor.end(), affine.factor.begin(), affine.factor.end());
        result.term.insert(result.term.end(), affine.term.begin(), affine.term.end());
      }
      return result;
    }
    const auto* pool = std::get_if<AveragePool>(&node.operation);
    const bool is_linear = std::holds_alternative<Linear>(node.operation);
    const auto by_channel = is_linear ? std::optional(Of(node.inputs[0])) : ByChannel(node.inputs[0]);
    if (!by_channel) Fail(node);
    if (pool != nullptr && !pool->window.has_padding()) {
      for (int64_t e = 0; e < shape.elements(); ++e) {
        const auto c = static_cast<size_t>(e / (shape.height * shape.width));
        result.factor.push_back(by_channel->factor[c]);
        result.term.push_back(by_channel->term[c]);
      }
      return result;
    }
    FoldInto(node, *by_channel);
    return {};
  }

  // Multiplies what a weighted node sums by a factor of each input channel, and adds what a term of each makes of it.
  void FoldInto(FloatNode& node, const Affine& affine) {
    auto* convolution = std::get_if<Convolution>(&node.operation);
    auto* linear = std::get_if<Linear>(&node.operation);
    const bool is_padded = convolution != nullptr && convolution->window.has_padding();
    if ((convolution == nullptr && linear == nullptr) || is_padded) Fail(node);
    const int groups = convolution != nullptr ? convolution->groups : 1;
    const auto channels = static_cast<int64_t>(affine.factor.size());
    int& bias = convolution != nullptr ? convolution->bias : linear->bias;
    const auto weight = static_cast<size_t>(WeightOf(node));
    const int64_t outputs = graph_.parameters[weight].shape[0], inputs = graph_.parameters[weight].elements() / outputs;
    if (graph_.parameters[weight].values.empty() || graph_.parameters[weight].is_shared) Fail(node);
    if (bias < 0) {
      bias = static_cast<int>(graph_.parameters.size());
      graph_.parameters.push_back(
          {node.name + ".bias", {outputs}, std::vector<float>(static_cast<size_t>(outputs), 0.0f)});
    }
    std::vector<float>& weights = graph_.parameters[weight].values;
    std::vector<float>& biases = graph_.parameters[static_cast<size_t>(bias)].values;
    const int64_t of_channel = inputs / (channels / groups);
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = biases[static_cast<size_t>(o)];
      for (int64_t i = 0; i < inputs; ++i) {
        const auto c = static_cast<size_t>(o / (outputs / groups) * (channels / groups) + i / of_channel);
        float& value = weights[static_cast<size_t>(o * inputs + i)];
        sum += double{value} * affine.term[c];
        value *= affine.factor[c];
      }
      biases[static_cast<size_t>(o)] = static_cast<float>(sum);
    }
  }

  FloatGraph& graph_;
  const std::set<int>& alone_;
  std::vector<Affine> affine_;  // of each value
  std::vector<int> now_;        // which value each is, without the nodes that lead nowhere
};

// A normalization takes up the factors and terms that are all that follows it.
void MergeAffine(FloatGraph& graph) {
  const auto users = graph.Users();
  const int output = graph.output;
  std::vector<int> now(graph.values.size());  // which value each is, without the nodes that were taken up
  for (size_t v = 0; v < now.size(); ++v) now[v] = static_cast<int>(v);
  std::map<int, size_t> maker;  // of normalizations' outputs
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    FloatNode& node = graph.nodes[n];
    const int from = node.inputs[0];
    for (int& input : node.inputs) input = now[static_cast<size_t>(input)];
    const auto* op = std::get_if<BatchNormalization>(&node.operation);
    if (op == nullptr) continue;
    const auto before = maker.find(node.inputs[0]);
    if (!op->is_affine || before == maker.end() || users[static_cast<size_t>(from)].size() != 1 || from == output) {
      maker[node.output] = n;
      continue;
    }
    const auto& first = std::get<BatchNormalization>(graph.nodes[before->second].operation);
    const auto values = [&](int parameter) -> std::vector<float>& {
      return graph.parameters[static_cast<size_t>(parameter)].values;
    };
    for (size_t c = 0; c < values(op->gamma).size(); ++c) {
      const double factor = values(op->gamma)[c] / std::sqrt(double{values(op->variance)[c]} + op->epsilon);
      float &gamma = values(first.gamma)[c], &beta = values(first.beta)[c];
      gamma = static_cast<float>(gamma * factor);
      beta = static_cast<float>((double{beta} - values(op->mean)[c]) * factor + values(op->beta)[c]);
    }
    now[static_cast<size_t>(node.output)] = node.inputs[0];
  }
  graph.output = now[static_cast<size_t>(output)];
}

}  // namespace

void FoldScales(FloatGraph& graph) {
  MergeAffine(graph);
  std::set<int> alone;
  for (;;) {
    FloatGraph folded = graph;
    try {
      ScaleFolder(folded, alone).Run();
      graph = std::move(folded);
      return;
    } catch (const Unfoldable& unfoldable) {
      alone.insert(unfoldable.values.begin(), unfoldable.values.end());
    }
  }
}

void Prune(FloatGraph& graph) {
  std::vector<bool> is_needed(graph.values.size(), false);
  is_needed[static_cast<size_t>(graph.output)] = true;
  std::vector<FloatNode> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (!is_needed[static_cast<size_t>(node->output)]) continue;
    for (const int input : node->inputs) is_needed[static_cast<size_t>(input)] = true;
    kept.push_back(*node);
  }
  std::reverse(kept.begin(), kept.end());
  std::vector<int> now(graph.parameters.size(), -1);
  std::vector<FloatParameter> parameters;
  const auto keep = [&](int& parameter) {
    if (parameter < 0) return;
    int& to = now[static_cast<size_t>(parameter)];
    if (to < 0) {
      to = static_cast<int>(parameters.size());
      parameters.push_back(std::move(graph.parameters[static_cast<size_t>(parameter)]));
    }
    parameter = to;
  };
  for (FloatNode& node : kept) {
    if (auto* convolution = std::get_if<Convolution>(&node.operation)) {
      keep(convolution->weight);
      keep(convolution->bias);
    } else if (auto* linear = std::get_if<Linear>(&node.operation)) {
      keep(linear->weight);
      keep(linear->bias);
    } else if (auto* normalization = std::get_if<BatchNormalization>(&node.operation)) {
      for (int* parameter :
           {&normalization->gamma, &normalization->beta, &normalization->mean, &normalization->variance})
        keep(*parameter);
    }
  }
  graph.nodes = std::move(kept);
  graph.parameters = std::move(parameters);
}

int64_t ParameterCount(const FloatGraph& graph) {
  int64_t count = 0;
  for (const FloatParameter& parameter : graph.parameters) count += parameter.elements();
  for (const FloatNode& node : graph.nodes) {  // statistics are not trained
    const auto* normalization = std::get_if<BatchNormalization>(&node.operation);
    if (normalization != nullptr)
      count -= graph.parameter(normalization->mean).elements() + graph.parameter(normalization->variance).elements();
  }
  return count;
}

int64_t MacsOf(const FloatGraph& graph) {
  int64_t macs = 0;
  for (const FloatNode& node : graph.nodes) {
    const int weight = WeightOf(node);
    const ValueShape& output = graph.value(node.output).shape;
    if (const auto* product = std::get_if<Product>(&node.operation)) {
      const ValueShape &a = graph.value(node.inputs[0]).shape, &b = graph.value(node.inputs[1]).shape;
      macs += output.elements() * model::SizeOf({product->transposed_left, product->groups}, a, b).inner;
    }
    if (weight < 0) continue;
    macs += graph.parameter(weight).elements() * output.height * output.width;
  }
  return macs;
}

GraphBuilder::GraphBuilder(std::string name, const ValueShape& input) {
  graph_.name = std::move(name);
  graph_.values.push_back({"input", input});
}

int GraphBuilder::AddParameter(std::string name, std::vector<int64_t> shape, std::vector<float> values) {
  graph_.parameters.push_back({std::move(name), std::move(shape), std::move(values)});
  return static_cast<int>(graph_.parameters.size()) - 1;
}

int GraphBuilder::AddNode(const std::string& name, FloatOperation operation, std::vector<int> inputs) {
  FloatNode node{name, std::move(operation), std::move(inputs), static_cast<int>(graph_.values.size())};
  const ValueShape shape = std::visit(Shapes{graph_, node}, node.operation);
  if (shape.channels < 1 || shape.elements() > kMostElements)
    throw InputError(fmt::format("{}: its result of {} x {} x {} is not possible", Describe(node), shape.channels,
                                 shape.height, shape.width));
  graph_.values.push_back({name, shape});
  graph_.nodes.push_back(std::move(node));
  graph_.output = graph_.nodes.back().output;
  return graph_.output;
}

int GraphBuilder::Convolve(int input, const std::string& name, int64_t outputs, const Window& window, int64_t groups,
                           bool bias) {
  Convolution op{window, static_cast<int>(groups), -1, -1};
  op.weight =
      AddParameter(name + ".weight", {outputs, shape(input).channels / groups, window.kernel_h, window.kernel_w});
  if (bias) op.bias = AddParameter(name + ".bias", {outputs});
  return AddNode(name, op, {input});
}

int GraphBuilder::Connect(int input, const std::string& name, int64_t outputs) {
  if (!shape(input).flat) input = AddNode("flatten", Flatten{}, {input});
  Linear op;
  op.weight = AddParameter(name + ".weight", {outputs, shape(input).channels});
  op.bias = AddParameter(name + ".bias", {outputs});
  return AddNode(name, op, {input});
}

int GraphBuilder::Normalize(int input, const std::string& name) {
  const int64_t channels = shape(input).channels;
  const auto all = [&](float value) { return std::vector<float>(static_cast<size_t>(channels), value); };
  BatchNormalization op;
  op.gamma = AddParameter(name + ".weight", {channels}, all(1));
  op.beta = AddParameter(name + ".bias", {channels}, all(0));
  op.mean = AddParameter(name + ".running_mean", {channels}, all(0));
  op.variance = AddParameter(name + ".running_var", {channels}, all(1));
  return AddNode(name, op, {input});
}

int GraphBuilder::Relu(int input, const std::string& name) {
  return AddNode(name, Clip{}, {input});
}

int GraphBuilder::Embed(const std::string& name, int64_t outputs, int64_t height, int64_t width) {
  return Convolve(AddNode(name + ".positions", Positions{height, width}, {0}), name, outputs, Square(1));
}

int GraphBuilder::AveragePoolAll(int input, const std::string& name) {
  Window window;
  window.kernel_h = window.stride_h = static_cast<int>(shape(input).height);
  window.kernel_w = window.stride_w = static_cast<int>(shape(input).width);
  return AddNode(name, AveragePool{window}, {input});
}

Window Square(int kernel, int stride, int padding) {
  return {.kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_top = padding,
          .pad_left = padding,
          .pad_bottom = padding,
          .pad_right = padding};
}

}  // namespace steadfast::network
