// The forms in which ONNX files say that they are quantized, made one before they are read: QuantizeLinear,
// DequantizeLinear, and standard operators on real numbers between them (QDQ). Internal to the room.
//
// QOperator (ONNX Runtime): QLinearConv, QLinearMatMul, QGemm, QLinearAdd and so on, on codes. QONNX (Pappalardo et
// al., arXiv:2206.07527): Quant and BipolarQuant, from real numbers to real numbers on a grid.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "steadfast/model/quantized_model.h"  // Profile, LevelMap

namespace onnx {
class ModelProto;
}

namespace steadfast::model {

// What a rewritten graph does not say.
struct OnnxForms {
  struct StoredCodes {
    int bits = 8;
    bool narrow = false;
    LevelMap levels = {};
  };
  Profile profile = Profile::kOnnx;  // whose arithmetic a file of this form has where nobody says otherwise
  std::string format = "ONNX (QDQ)";
  std::unordered_set<std::string> made;      // outputs of nodes that the file does not have: of no opset
  std::unordered_set<std::string> addends;   // int32 tensors that are added to sums as they are
  std::vector<std::string> constant_scales;  // tensors that also quantize constants
  std::unordered_map<std::string, StoredCodes>
      weights;  // by tensor: how they are stored, where their type does not say
};

// Throws InputError, naming the node, where one of these operators is used in a way that is not understood.
OnnxForms RewriteForms(onnx::ModelProto& model, const std::string& file);

}  // namespace steadfast::model
