#include "steadfast/network/fusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "steadfast/base/error.h"

namespace steadfast::network {
namespace {

class Fusion {
 public:
  explicit Fusion(const FloatGraph& graph) : graph_(graph), users_(graph.Users()) {
    is_done_.assign(graph.nodes.size(), false);
    positive_.assign(graph.values.size(), false);
  }

  std::vector<FusedStep> Run() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!is_done_[n]) Start(static_cast<int>(n));
    }
    for (FusedStep& step : steps_) step.needs_precision = NeedsPrecision(step);
    return std::move(steps_);
  }

 private:
  const FloatNode& node(int n) const { return graph_.nodes[static_cast<size_t>(n)]; }

  // The one node that takes a value, if it is a T.
  template <typename T>
  const T* OnlyUser(int value, int& user) const {
    const auto& users = users_[static_cast<size_t>(value)];
    if (users.size() != 1 || value == graph_.output) return nullptr;
    user = users[0];
    return std::get_if<T>(&node(user).operation);
  }

  template <typename T>
  void TakeUp(std::optional<T>& into, FusedStep& step) {
    int user = -1;
    const T* operation = OnlyUser<T>(step.output, user);
    if (operation == nullptr) return;
    into = *operation;
    step.output = node(user).output;
    is_done_[static_cast<size_t>(user)] = true;
  }

  void Start(int n) {
    const FloatNode& first = node(n);
    FusedStep step{.name = first.name, .node = n, .inputs = first.inputs, .output = first.output};
    const FloatOperation& operation = first.operation;
    const bool is_weighted = WeightOf(first) >= 0;
    if (is_weighted && graph_.parameter(WeightOf(first)).is_shared)
      Fail(first,
           "shares its weights with another node; in a memory they would be one tensor, here two: not supported");
    const auto* normalization = std::get_if<BatchNormalization>(&operation);
    if (normalization != nullptr && graph_.value(first.output).shape.flat)
      Fail(first, "a normalization of values without rows and columns is only understood right behind a linear layer");
    const bool is_sum = is_weighted || normalization != nullptr || std::holds_alternative<Add>(operation) ||
                        std::holds_alternative<Multiply>(operation) || std::holds_alternative<Product>(operation);
    const bool is_moved = std::holds_alternative<MaxPool>(operation) || std::holds_alternative<Flatten>(operation) ||
                          std::holds_alternative<Rearrange>(operation);
    if (normalization != nullptr) step.normalization = *normalization;  // alone
    if (is_weighted) TakeUp(step.normalization, step);
    if (is_sum) TakeUp(step.clip, step);
    step.range = RangeOf(step, operation, is_moved);
    positive_[static_cast<size_t>(step.output)] =
        step.range == OutputRange::kPositive ||
        (step.range == OutputRange::kAsInput && positive_[static_cast<size_t>(step.inputs[0])]);
    if (step.range == OutputRange::kReal && !(is_weighted && !step.clip))
      Fail(first,
           "the network's last operator must be a convolution or linear layer, with nothing but normalization "
           "behind it");
    steps_.push_back(std::move(step));
  }

  OutputRange RangeOf(const FusedStep& step, const FloatOperation& operation, bool is_moved) const {
    if (step.output == graph_.output) return OutputRange::kReal;
    if (is_moved) return OutputRange::kAsInput;
    if (std::holds_alternative<Positions>(operation)) return OutputRange::kOneHot;
    if (std::holds_alternative<Softmax>(operation)) return OutputRange::kPositive;
    const auto is_positive = [&](int value) { return positive_[static_cast<size_t>(value)]; };
    const auto all_positive = std::all_of(step.inputs.begin(), step.inputs.end(), is_positive);
    if (step.clip) return step.clip->lowest >= 0 ? OutputRange::kPositive : OutputRange::kSigned;
    if (const auto* clip = std::get_if<Clip>(&operation))
      return clip->lowest >= 0 ? OutputRange::kPositive : OutputRange::kSigned;
    if (const auto* function = std::get_if<Function>(&operation))
      return function->name == "Sigmoid" || function->name == "HardSigmoid" ? OutputRange::kPositive
                                                                            : OutputRange::kSigned;
    if (std::holds_alternative<Add>(operation) || std::holds_alternative<AveragePool>(operation) ||
        std::holds_alternative<Concatenate>(operation) || std::holds_alternative<Multiply>(operation) ||
        std::holds_alternative<Product>(operation))
      return all_positive ? OutputRange::kPositive : OutputRange::kSigned;
    return OutputRange::kSigned;
  }

  bool NeedsPrecision(const FusedStep& step) const {
    const FloatOperation& own = node(step.node).operation;
    if (std::holds_alternative<AveragePool>(own) || std::holds_alternative<Softmax>(own)) return true;
    return IsSummed(step.output);
  }

  // Whether sums, functions and normalizations are all that takes a value, wherever it is moved before.
  bool IsSummed(int value) const {
    const auto known = is_summed_.find(value);
    if (known != is_summed_.end()) return known->second;
    return is_summed_[value] = FindSummed(value);
  }
  bool FindSummed(int value) const {
    const auto& users = users_[static_cast<size_t>(value)];
    return !users.empty() && std::all_of(users.begin(), users.end(), [&](int user) {
      const FloatOperation& operation = node(user).operation;
      if (std::holds_alternative<Rearrange>(operation) || std::holds_alternative<Concatenate>(operation))
        return IsSummed(node(user).output);
      return std::holds_alternative<Add>(operation) || std::holds_alternative<Function>(operation) ||
             std::holds_alternative<BatchNormalization>(operation) || std::holds_alternative<Softmax>(operation) ||
             std::holds_alternative<LayerNormalization>(operation);
    });
  }

  [[noreturn]] void Fail(const FloatNode& at, const std::string& what) const {
    throw InputError(fmt::format("{}: {}: {}", graph_.name, Describe(at), what));
  }

  const FloatGraph& graph_;
  const std::vector<std::vector<int>> users_;
  std::vector<bool> is_done_, positive_;
  mutable std::map<int, bool> is_summed_;
  std::vector<FusedStep> steps_;
};

}  // namespace

std::vector<FusedStep> Fuse(const FloatGraph& graph) {
  return Fusion(graph).Run();
}

std::vector<std::string> LayerNames(const FloatGraph& graph) {
  std::vector<std::string> names;
  for (const FloatNode& node : graph.nodes) {
    if (WeightOf(node) >= 0) names.push_back(node.name);
  }
  return names;
}

}  // namespace steadfast::network
