// Recognizes a quantized network in the graph of an ONNX file. Internal to the room: operators/ reads its own forms.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "steadfast/model/onnx_forms.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/model/quantized_model.h"
#include "steadfast/model/view.h"

namespace steadfast::model {

// A dequantized value whose axes were moved for the operator that takes it next.
struct Moved {
  int value = 0;
  bool channels_last = false;  // [N, H, W, C]
  int64_t groups = 0;          // [N, groups, C / groups, H * W], if not 0
  bool transposed = false;     // the last two of these
};
// How a result lies, until its axes are moved back.
struct Axes {
  bool is_grouped = false, is_channels_last = false;
};

class OnnxReader {
 public:
  OnnxReader(const onnx::ModelProto& proto, const std::string& file, OnnxForms forms);
  ~OnnxReader();

  QuantizedModel Read();

  // ---- for the forms of operators ----

  const Value& value(int index) const { return model_.value(index); }
  const Parameter& parameter(int index) const { return model_.parameter(index); }
  // RealValue: the value whose dequantized codes an input is. RealWeights: the weights that an input is, dequantized.
  // Both throw InputError if the input is anything else.
  int RealValue(const OnnxNode& node, int input);
  int RealWeights(const OnnxNode& node, int input) const;
  // A matrix of weights that may have been transposed: its outputs lie along its other dimension then.
  struct Matrix {
    int weight;
    bool is_transposed;
  };
  Matrix RealMatrix(const OnnxNode& node, int input) const;
  bool IsRealValue(const OnnxNode& node, int input) const;
  // The outputs of a weight matrix lie along its second dimension. Throws InputError where that contradicts another
  // use.
  void PutOutputsLast(const OnnxNode& node, int weight);
  // The same for whichever dimension it is.
  void PutOutputs(const OnnxNode& node, int weight, bool last);

  bool IsMoved(const OnnxNode& node, int input) const;
  Moved MovedValueAt(const OnnxNode& node, int input);
  std::vector<float> Floats(const OnnxNode& node, int input) const;  // of a constant

  // An operator on dequantized values whose result is yet to be quantized. The node's output without `suffix` names it.
  void Start(const OnnxNode& node, Operation operation, std::vector<int> inputs, const std::string& suffix,
             Axes axes = {});
  // The same with weights: `make` gives the operation when all that follows the sum is known. Input 2 may be a bias.
  void StartWeighted(const OnnxNode& node, std::function<Operation(Weighted)> make, int input, int weight);
  // The value that an operator moves the codes of: dequantized, or not.
  int MovedValue(const OnnxNode& node);
  // An operator that moves codes about, on a dequantized value or on codes: it keeps their coding.
  void MoveCodes(const OnnxNode& node, Operation operation);

 private:
  // What a name in the graph stands for.
  struct Constant {
    const onnx::TensorProto* tensor;
  };
  struct RealInput {};  // the graph's input, before it is quantized
  struct BatchShape {   // sizes that were computed from the graph's input; the batch is 1
    std::vector<int64_t> dims;
  };
  struct Codes {
    int value;
  };
  struct Real {
    int value;
  };
  struct Viewed {  // the same, moved about in a way that no operator takes: to become one itself
    int value;
    View view;
    bool is_codes = false;  // not dequantized yet
  };
  struct WeightLevels {
    int weight;
    bool is_transposed = false;
  };
  struct RealConstant {  // a dequantized bias
    int parameter;
    std::vector<int64_t> dims;
  };
  struct Consumed {};  // a pending operator that another node has taken up
  // An operator and what follows it, until it is quantized.
  struct Pending {
    std::string name;
    std::function<Operation(Weighted)> make;
    std::vector<int> inputs;
    ValueShape shape;
    std::optional<Weighted> weighted;
    bool may_be_real = false;
    bool relu = false;
    std::optional<double> threshold;  // of ThresholdedRelu
    bool clipped = false;
    std::optional<double> low, high;  // of Clip
    Axes axes = {};
  };
  using Meaning = std::variant<Constant, RealInput, BatchShape, Codes, Real, WeightLevels, RealConstant, Pending, Moved,
                               Viewed, Consumed>;
  struct Handler {
    std::vector<OnnxAttribute> attributes;
    void (OnnxReader::*read)(const OnnxNode&);
  };
  struct FileZeroPoint {
    int value = 0;
    bool is_signed = false;
  };

  static const std::unordered_map<std::string, Handler>& Handlers();

  void ReadTensorMetadata(const std::string& text);
  int TensorInt(const std::string& tensor, const char* key, int otherwise) const;
  int LevelMultiplier(const std::string& tensor) const;

  void Define(const std::string& name, Meaning meaning, const std::string& where);
  void Define(const OnnxNode& node, Meaning meaning) { Define(node.output(), std::move(meaning), node.name()); }
  const Meaning& Lookup(const OnnxNode& node, int input) const;
  bool LiesAsBefore(const Moved& moved) const;
  template <typename T>
  const T& Expect(const OnnxNode& node, int input, const char* what) const;
  float Scalar(const OnnxNode& node, int input, const char* what) const;

  void ReadInput();
  void ReadOutput();
  // What only reorders or rescales the answers: nodes behind the last operator, from the end.
  void FindTail();
  // Checks that they do, from the last operator's shape on.
  void CheckTail(View view);
  void ReadNode(const OnnxNode& node);
  void ReadConstant(const OnnxNode& node);
  // Constants that are stored in 16 bits, as float32.
  void ReadCast(const OnnxNode& node);
  void ReadIdentity(const OnnxNode& node);
  void ReadQuantize(const OnnxNode& node);
  void ReadDequantize(const OnnxNode& node);
  void ReadMul(const OnnxNode& node);
  bool TakeSilu(const OnnxNode& node);
  void ReadReshape(const OnnxNode& node);
  void ReadTranspose(const OnnxNode& node);
  void ReadGather(const OnnxNode& node);
  void ReadShape(const OnnxNode& node);
  void ReadConcat(const OnnxNode& node);
  void ReadExpand(const OnnxNode& node);
  void ReadSlice(const OnnxNode& node);
  // A node that only moves a value about; `move` gives the view of its result.
  void Move(const OnnxNode& node, const std::function<View(const View&)>& move);
  Viewed ViewedAt(const OnnxNode& node, int input);
  int Rearranged(const OnnxNode& node, const Viewed& viewed, const std::string& node_name,
                 const std::string& value_name);
  std::vector<int64_t> IntegersAt(const OnnxNode& node, int input) const;
  void ReadAdd(const OnnxNode& node);
  void ReadBatchNormalization(const OnnxNode& node);
  void ReadRelu(const OnnxNode& node);
  void ReadThresholdedRelu(const OnnxNode& node);
  void ReadClip(const OnnxNode& node);
  void ClipCodes(const OnnxNode& node, int value);
  void ClipWeights(const OnnxNode& node, const onnx::TensorProto& tensor);
  std::pair<int, int> CodeBounds(const OnnxNode& node, int lowest, int highest) const;
  void ReadSqueeze(const OnnxNode& node);
  void ReadUnsqueeze(const OnnxNode& node);
  std::vector<int64_t> AxesOf(const OnnxNode& node) const;

  void CheckQuantizer(const OnnxNode& node) const;
  FileZeroPoint ZeroPoint(const OnnxNode& node) const;
  ActivationCoding CodingOf(const OnnxNode& node) const;
  void QuantizeInput(const OnnxNode& node);
  void QuantizeAgain(const OnnxNode& node, int value);
  void QuantizeConstant(const OnnxNode& node, const onnx::TensorProto& tensor);
  // Real weights that the graph quantizes: their codes are what is stored.
  void QuantizeWeights(const OnnxNode& node, const onnx::TensorProto& tensor);
  bool IsOfWeights(const std::string& name, int depth = 0) const;
  void DequantizeValue(const OnnxNode& node, int index);
  void SetInputCoding(const OnnxNode& dequantizer);
  void FindInputCoding(const OnnxNode& node);
  // The tensors of a value's scale: what quantizes it, and what dequantizes it first. (Others have the same number.)
  struct ScaleTensors {
    const onnx::TensorProto *quantizer = nullptr, *dequantizer = nullptr;
  };
  ScaleTensors& ScaleTensorsOf(int value);
  const onnx::TensorProto* ScaleTensor(const OnnxNode& node) const;
  // Makes parameters of them, behind all others.
  void AddActivationScales();
  void DequantizeBias(const OnnxNode& node, const onnx::TensorProto& tensor);
  void DequantizeWeights(const OnnxNode& node, const onnx::TensorProto& tensor);
  void ShiftWeights(const OnnxNode& node, int weight);
  ActivationCoding WithClip(const OnnxNode& node, const Pending& pending, ActivationCoding coding,
                            Activation& activation) const;

  // The parameter that a constant is, made when it is first met.
  int FloatParameterOf(const onnx::TensorProto& tensor, Role role);
  // A constant of one value a channel, or one for all. `trailing` dimensions of size 1 follow the channel.
  int PerChannel(const OnnxNode& node, int input, int64_t channels, int trailing, Role role);
  // Of Add and Mul: which of two inputs is the sum, where the other is a constant.
  int SumOf(const OnnxNode& node) const;
  Pending Take(const OnnxNode& node, int input);
  // The same, where it must be a weighted sum that no activation function has followed yet.
  Pending TakeSum(const OnnxNode& node, int input);
  int Finish(const Pending& pending, const std::string& value_name, std::optional<ActivationCoding> coding,
             const Activation& activation);
  ValueShape ShapeOf(const OnnxNode& node, const Operation& operation, const std::vector<int>& inputs) const;

  const onnx::ModelProto& proto_;
  OnnxSource source_;
  OnnxSource newest_;  // of nodes that are no file's own
  OnnxForms forms_;
  std::unordered_map<std::string, std::vector<const onnx::NodeProto*>> users_;  // of each name
  std::vector<const onnx::NodeProto*> tail_;                                    // from the end
  std::string output_;                                                          // what is in front of it
  QuantizedModel model_;
  std::unique_ptr<nlohmann::json> tensors_;  // the metadata of tensors
  std::unordered_map<std::string, Meaning> meanings_;
  std::vector<std::unique_ptr<onnx::TensorProto>> own_tensors_;  // of Constant nodes
  struct Dequantized {
    int parameter;
    std::string scale, zero_point;  // names: a second use must have the same
    int64_t axis;                   // of several scales
  };
  std::unordered_map<const onnx::TensorProto*, Dequantized> dequantized_;
  std::unordered_map<const onnx::TensorProto*, int> parameter_of_;
  std::unordered_map<const onnx::TensorProto*, OnnxForms::StoredCodes> stored_codes_;  // as Clips of codes say
  std::unordered_map<const onnx::TensorProto*, const onnx::TensorProto*> stored_as_;   // of what is cast
  std::vector<ScaleTensors> scale_tensors_;                                            // [value]
  std::unordered_map<int, bool> outputs_last_;  // weight matrices that a node has taken
  std::unordered_set<int> shifted_weights_;
  bool needs_reading_2_ = false;
  bool needs_reading_3_ = false;
};

}  // namespace steadfast::model
