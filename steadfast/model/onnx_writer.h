// Writes a quantized network as an ONNX graph. Internal to the room: operators/ writes its own nodes.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/model/quantized_model.h"

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace steadfast::model {

class OnnxWriter {
 public:
  explicit OnnxWriter(const QuantizedModel& model);
  ~OnnxWriter();

  std::string Write();

  // ---- for the forms of operators ----

  const QuantizedModel& model() const { return model_; }
  // The name of the float tensor that stands for a value in the graph.
  std::string RealName(int value) const;
  onnx::NodeProto* AddNode(const std::string& type, const std::vector<std::string>& inputs, const std::string& output);
  static void SetInt(onnx::NodeProto* node, std::string_view name, int64_t value);
  static void SetInts(onnx::NodeProto* node, std::string_view name, const std::vector<int64_t>& values);
  static void SetFloat(onnx::NodeProto* node, std::string_view name, float value);
  static void SetText(onnx::NodeProto* node, std::string_view name, const std::string& value);
  static void SetWindow(onnx::NodeProto* node, const Window& window);
  // Gives the name of the result; a dimension of 0 is as it was.
  std::string AddReshape(const std::string& input, const std::vector<int64_t>& shape, const std::string& output);
  void AddFloats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values);
  void AddIntegers(const std::string& name, const std::vector<int64_t>& values);
  // `constant`, of one image, once for each image of the batch; gives the name of the result.
  std::string AddForEachImage(const std::string& constant, const std::vector<int64_t>& dims);
  // The weights of a node, dequantized; gives the name of the result.
  std::string WriteWeights(int weight);
  // Everything after the weighted sum `current`. channel_dims: how many 1s follow the channel in constants.
  void WriteSteps(const Node& node, std::string current, int channel_dims);
  // Activation function and QuantizeLinear.
  void WriteQuantize(const Node& node, std::string current);
  // QuantizeLinear alone, of codes that were moved.
  void WriteQuantizeAgain(const Node& node, const std::string& current);

 private:
  std::string TensorMetadata() const;
  void AddMetadata(const std::string& key, const std::string& value);
  void AddInitializer(const std::string& name, int type, const std::vector<int64_t>& shape, const void* data,
                      size_t bytes);
  void AddBytes(const std::string& name, bool is_signed, const std::vector<int64_t>& shape,
                const std::vector<uint8_t>& values);
  // A parameter as an initializer of this shape, written when first asked for.
  void AddParameter(int parameter, const std::vector<int64_t>& shape);
  // A constant behind a sum, dequantized where it is int32; gives the name of the result.
  std::string WriteConstant(int parameter, int channel_dims);
  void WriteInput();
  void WriteOutput();
  void WriteQuantizer(int value);
  std::string ScaleName(int value) const;
  // The name of a float parameter where it is used: what is stored in 16 bits is cast to float32.
  std::string FloatsName(int index) const;
  std::string WriteFloats(int index, const std::vector<int64_t>& shape);
  void WriteDequantize(int value, const std::string& codes);

  const QuantizedModel& model_;
  std::unique_ptr<onnx::ModelProto> proto_;
  onnx::GraphProto* graph_;
  std::set<std::string> written_;  // parameters, and what stands for them
};

}  // namespace steadfast::model
