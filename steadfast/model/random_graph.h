// A random network under construction: what the operators' samplers draw from. For tests.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

class RandomGraph {
 public:
  explicit RandomGraph(uint64_t seed) : random_(seed) {}

  QuantizedModel model;

  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  float Real(float low, float high) {
    return low + (high - low) * static_cast<float>(Between(0, 1 << 20)) / static_cast<float>(1 << 20);
  }

  const Value& value(int index) const { return model.value(index); }
  // A name of its own for the next layer.
  std::string NextName();

  CodeFormat Format();
  int AddRandomWeights(const std::string& name, std::vector<int64_t> shape, const CodeFormat& format);
  // Random steps behind the sums of these weights: multipliers and biases of any stored format, normalization.
  Weighted AddRandomSteps(const std::string& name, int weight);
  Window RandomWindow(const ValueShape& shape, bool pooling);
  // A step that puts typical sums into the middle of the code range.
  ActivationCoding CodingFor(int input, int weight, bool relu);
  // A coding whose range is about that of another times `factor`.
  ActivationCoding CodingOfAbout(const ActivationCoding& other, float factor, bool with_zero_point);
  Activation RandomActivation(int relu_percent);
  int AddNode(const std::string& name, Node node, std::optional<ActivationCoding> coding);
  // A convolution of any number of outputs and groups; `outputs` > 0 fixes their number.
  int AddConvolution(int input, const std::string& name, const Window& window, int64_t outputs = 0);
  int AddNormalization(int input, const std::string& name);  // that stands alone
  int AddLinear(int input, const std::string& name, int64_t outputs, const CodeFormat& format, bool last);

 private:
  std::mt19937_64 random_;
  int layers_ = 0;
};

}  // namespace steadfast::model
