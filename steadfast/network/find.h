// Networks by what users call them: the name of a built-in one, or an ONNX file, float or quantized.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "steadfast/network/float_graph.h"

namespace steadfast::network {

struct FoundNetwork {
  FloatGraph graph;
  bool is_file;
  std::string sha256;  // HashOfFile; empty for built-in ones
};

// Throws UsageError where there is neither a built-in network nor a file of that name, or where a built-in one lacks
// one of these layers.
void CheckNetwork(const std::string& text, const std::vector<std::string>& layers);
// The steps that have bits of their own: what layer_bits of recipes may name, or mean by a pattern.
// Throws UsageError where one means none.
void CheckLayers(const FloatGraph& graph, const std::vector<std::string>& layers);

// `sha256`: what the file must have, or empty: not said. Throws UsageError for an unknown name, and where the network
// does not take such images or gives another number of classes; InputError for a file that is no network Steadfast
// knows.
FoundNetwork FindNetwork(const std::string& text, const std::string& sha256, const ValueShape& input, int classes);

// For names of models: a built-in one's name, or a file's stem.
std::string ShortName(const std::string& text);

// What a model file, float or quantized, says of itself. Throws IoError, and InputError for anything else.
std::map<std::string, std::string> MetadataOf(const std::filesystem::path& path);

}  // namespace steadfast::network
