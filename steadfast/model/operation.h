// What an operator of the graph is: one definition each, in operators/, that says everything about it but how to run it
// fast (engine/operators/ has the fast paths).
//
// To add one, write a struct for its attributes and its Definition in a file of operators/, and add a line to
// operators/registry.cpp. Everything else finds it through the definition.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace steadfast::model {

struct Node;
struct QuantizedModel;
struct ValueShape;
struct Weighted;
class OnnxReader;
class OnnxWriter;
class OnnxNode;
class RandomGraph;

// The scalar rule on one image: the codes of each input give the codes of the output, or its real values.
using ScalarRule = std::function<void(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                                      std::span<float> reals)>;

// Which attributes an operator of an ONNX file may have, from which opset to which.
struct OnnxAttribute {
  std::string_view name;
  int first_opset = 1, last_opset = 1 << 16;
};

// An operator of ONNX files that becomes this one.
struct OnnxForm {
  std::string_view type;  // "MaxPool"
  std::vector<OnnxAttribute> attributes;
  void (*read)(OnnxReader& reader, const OnnxNode& node);
  int first_opset = 1;
};

struct OperatorDefinition {
  std::string_view name;  // "Convolution"
  size_t least_inputs = 1, most_inputs = 1;
  bool keeps_coding = false;  // its output has the coding of its input
  bool may_be_real = false;   // its output may be real numbers
  bool is_requantization =
      false;  // it rounds a sum to codes: its zero point is added behind the rounding since reading 2
  ValueShape (*output_shape)(const QuantizedModel& model, const Node& node);  // throws InputError
  void (*validate)(const QuantizedModel& model,
                   const Node& node) = nullptr;  // beside shape and codings; throws InputError
  ScalarRule (*scalar_rule)(const QuantizedModel& model, const Node& node);  // the definition of its arithmetic
  void (*write_onnx)(OnnxWriter& writer, const Node& node);
  std::vector<OnnxForm> onnx_forms;
  // Adds one to a random graph behind value `input`, and gives the value of the result, or -1 where it does not fit.
  int (*sample)(RandomGraph& graph, int input) = nullptr;
  int sample_weight = 0;  // how often, beside the others

  // Of the attributes' type.
  bool (*equal)(const void* a, const void* b) = nullptr;
  const Weighted* (*weighted)(const void* attributes) = nullptr;  // of operators with weights
};

// The definition that belongs to an attribute type; each file of operators/ specializes it for its own.
template <typename T>
const OperatorDefinition& Definition();

// All of them, in a fixed order.
std::span<const OperatorDefinition* const> AllOperators();

// The attributes of one operator, of any type that has a Definition.
class Operation {
 public:
  template <typename T>
  Operation(T attributes)  // NOLINT: nodes are written with the attributes themselves
      : definition_(&Definition<T>()), attributes_(std::make_shared<const T>(std::move(attributes))) {}

  const OperatorDefinition& definition() const { return *definition_; }
  // The attributes where they are of this type, else null.
  template <typename T>
  const T* As() const {
    return definition_ == &Definition<T>() ? static_cast<const T*>(attributes_.get()) : nullptr;
  }
  template <typename T>
  bool Is() const {
    return As<T>() != nullptr;
  }
  const Weighted* weighted() const {
    return definition_->weighted == nullptr ? nullptr : definition_->weighted(attributes_.get());
  }
  bool operator==(const Operation& other) const {
    return definition_ == other.definition_ && definition_->equal(attributes_.get(), other.attributes_.get());
  }

 private:
  const OperatorDefinition* definition_;
  std::shared_ptr<const void> attributes_;
};

// For OperatorDefinition::equal and ::weighted.
template <typename T>
bool EqualAttributes(const void* a, const void* b) {
  return *static_cast<const T*>(a) == *static_cast<const T*>(b);
}
template <typename T>
const Weighted* WeightedOfAttributes(const void* attributes) {
  return &static_cast<const T*>(attributes)->weighted;
}

}  // namespace steadfast::model
