// The constants of a float ONNX file, and what operators on constants alone make of them: exporters compute shapes,
// factors and repeated tokens in the graph. Internal to the room.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "steadfast/model/onnx_proto.h"
#include "steadfast/model/view.h"

namespace steadfast::network {

// One of the two has its elements.
struct Constant {
  std::string name = {};    // of the tensor that it is, if nothing was done to it
  std::string origin = {};  // of the tensor that its elements are those of, moved or not
  std::vector<int64_t> shape = {};
  std::vector<float> floats = {};
  std::vector<int64_t> integers = {};  // truth values too
  bool is_float = true;
  int64_t elements() const { return static_cast<int64_t>(is_float ? floats.size() : integers.size()); }
};

class ConstantReader {
 public:
  ConstantReader(const model::OnnxSource& source, std::filesystem::path folder)
      : source_(source), folder_(std::move(folder)) {}

  // Fetches data that lies beside the model into the tensor. Throws InputError where it cannot be.
  Constant Read(onnx::TensorProto& tensor);
  Constant Read(const model::OnnxNode& node);  // a Constant

 private:
  void FetchExternal(onnx::TensorProto& tensor);

  const model::OnnxSource& source_;
  const std::filesystem::path folder_;
  std::unordered_map<std::string, std::vector<uint8_t>> external_;
};

// The elements that a view of the constant has.
Constant Moved(const Constant& constant, const model::View& view);

// What an operator makes of constants alone: arithmetic, comparisons, casts, joining. Nothing where it is none of
// these.
std::optional<Constant> Folded(const model::OnnxNode& node, std::span<const Constant* const> inputs);

}  // namespace steadfast::network
