// A quantized network as a C99 program for small machines: no heap, no operating system, no libm. Words of 32 bits hold
// its stored elements as memories do (memory/packing.h), and everything is worked out from them each time, so a fault
// in a bit of them does what `inject` says. Scales of activations are constants of the program.
//
// Bit-identical to the engine under the model's profile; held to it by tests that compile and run what is written.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::device {

struct CProgram {
  std::map<std::string, std::string> files;  // by name
  // Bytes: of stored bits; of what the program holds beside them (tables, constants, descriptions of layers; where
  // pointers have 32 bits); of memory while it runs, without the stack.
  int64_t memory_bytes = 0, constant_bytes = 0, working_bytes = 0;
};

// What is written can be told apart from other networks in the same program by its name, a C identifier.
// inputs: [n, elements] codes of images for its self-test; at least one image. `source` names the file in comments.
// Throws UsageError for a name that is none (IdentifierOf), InputError for constants that C99 cannot write.
CProgram CProgramOf(const model::QuantizedModel& model, const std::string& name, const std::string& source,
                    std::span<const uint8_t> inputs);

// A C identifier made of any text, in small letters, which no header of C, target of CMake or operator has.
std::string IdentifierOf(const std::string& text);

// Where a stored element lies in the program's array of words of 32 bits (NAME_memory): words before its parameter's
// first. Nothing for parameters that the program does not hold as memory does: scales of activations alone, which its
// constants are made of, and what belongs to the program.
struct PlacedParameter {
  int parameter;  // index into QuantizedModel::parameters
  int64_t first_word;
  // Whether constants are made of it too, so that a fault in memory reaches only a part of what uses it.
  bool is_also_constant;
};
std::vector<PlacedParameter> PlacedParameters(const model::QuantizedModel& model);

}  // namespace steadfast::device
