// The networks of the field that are known by name, as graphs without trained values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "steadfast/network/float_graph.h"

namespace steadfast::network {

struct BuiltIn {
  std::string name;         // "resnet20"
  std::string description;  // with its paper
  ValueShape input;         // where nothing else is said
  int classes;
};
const std::vector<BuiltIn>& BuiltIns();
bool IsBuiltIn(std::string_view text);  // a name, or one with a setting: "mobilenetv2:0.5"

// `text`: a name of BuiltIns(), or NAME:WIDTH where widths can be scaled (mobilenetv2, a number from 0.1 to 4). Throws
// UsageError for an unknown name (with the nearest) or an input that the network cannot take.
FloatGraph MakeBuiltIn(std::string_view text, const ValueShape& input, int classes);

}  // namespace steadfast::network
