// Nodes and tensors of an ONNX file, read strictly: what an operator of its opset does not know is refused by name.
// Internal to the room.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "steadfast/model/operation.h"        // OnnxAttribute
#include "steadfast/model/quantized_model.h"  // Window

namespace onnx {
class AttributeProto;
class ModelProto;
class NodeProto;
class TensorProto;
}  // namespace onnx

namespace steadfast::model {

// ONNX data types newer than Debian's onnx headers name.
inline constexpr int kUint4 = 21, kInt4 = 22;
// QuantizeLinear came with 10; 23 is the newest whose operators were compared with what is read here.
inline constexpr int kOldestOpset = 10, kNewestOpset = 23;

// What errors name, and by which opset operators are understood.
struct OnnxSource {
  std::string file;
  int opset = 0;
  [[noreturn]] void Fail(const std::string& where, const std::string& what) const;
};

// The opset of the standard operators. Throws InputError where there is none, or one that is not known.
int OpsetOf(const onnx::ModelProto& model, const std::string& file, int oldest = kOldestOpset);

// Throws InputError for a node without an output, or with fewer inputs than its operator has in every opset.
void CheckNodes(const onnx::ModelProto& model, const std::string& file);

// Whether any operator quantizes or dequantizes: otherwise the network is one of real numbers.
bool HasQuantizers(const onnx::ModelProto& model);

class OnnxNode {
 public:
  OnnxNode(const onnx::NodeProto& proto, const OnnxSource& source) : proto_(proto), source_(source) {}

  const std::string& type() const;
  std::string name() const;  // "node 'x' (Conv)"
  [[noreturn]] void Fail(const std::string& what) const { source_.Fail(name(), what); }
  int opset() const { return source_.opset; }
  const onnx::NodeProto& proto() const { return proto_; }

  int inputs() const;
  const std::string& input(int i) const;
  bool HasInput(int i) const;
  const std::string& output() const;

  // Throws InputError for operators of another domain, further outputs (but where it has them), and attributes that are
  // not among these, or not of this opset.
  void Check(std::span<const OnnxAttribute> known, bool has_outputs = false) const;  // has_outputs: more than one
  bool Has(std::string_view attribute) const { return Find(attribute) != nullptr; }
  int64_t Int(std::string_view attribute, int64_t otherwise) const;
  double Float(std::string_view attribute, double otherwise) const;
  std::string Text(std::string_view attribute, const std::string& otherwise) const;
  std::vector<int64_t> Ints(std::string_view attribute) const;
  const onnx::TensorProto* Tensor(std::string_view attribute) const;  // null: absent
  std::vector<float> Floats(std::string_view attribute) const;
  int SmallInt(std::string_view attribute, int64_t value) const;  // `value`, which must be 0 to 65536
  // The window of a convolution or pooling over `input`; the kernel has this size where the node does not say it.
  Window WindowOf(int kernel_h, int kernel_w, const ValueShape& input) const;
  // ceil_mode of pools: padding at the end, which a maximum does not count, in place of the window that it adds.
  void RoundUp(const ValueShape& input, Window& window) const;

 private:
  const onnx::AttributeProto* Find(std::string_view attribute, int type = 0) const;
  std::pair<int, int> Pair(std::string_view attribute, int otherwise) const;

  const onnx::NodeProto& proto_;
  const OnnxSource& source_;
};

// The content of tensors, which must be stored in the file; checked against their shape before anything is allocated.
std::vector<float> FloatsOf(const onnx::TensorProto& tensor, const OnnxSource& source);
std::vector<uint32_t> HalvesOf(const onnx::TensorProto& tensor, const OnnxSource& source);  // patterns of 16 bits
std::vector<int64_t> Int64sOf(const onnx::TensorProto& tensor, const OnnxSource& source);
std::vector<int> IntegersOf(const onnx::TensorProto& tensor, const OnnxSource& source);

}  // namespace steadfast::model
