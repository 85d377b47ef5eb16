// From a trained float network and a data set to a quantized model file, with what it reached.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/data/dataset.h"           // DataLocation
#include "steadfast/model/quantized_model.h"  // QuantizedModel
#include "steadfast/network/post_training.h"  // PostTrainingSettings

namespace steadfast::quantization {

struct FileSettings {
  std::string network;  // a float ONNX file
  std::string dataset;
  data::DataLocation location;
  std::vector<double> mean, deviation;  // of the input; empty: what the file says
  int64_t calibration_images = 512;     // of the training set
  int64_t float_images = 1000;          // test images on which the float network is run too
  network::PostTrainingSettings settings;
  std::filesystem::path output;
  bool force = false;  // overwrite the output
};

struct Reached {
  model::QuantizedModel model;
  int64_t images = 0;                              // that the float network ran on
  int64_t float_right = 0, right_of_the_same = 0;  // of these
  double accuracy = 0;                             // of all test images
  double padding_difference = 0;  // what one zero point for all channels leaves at padded edges, of 255
};

// Reads, quantizes, evaluates, and writes the output. on_step is called with what is being done. Throws UsageError
// where the output is there already or the network has no trained values, and what reading and quantizing throw.
Reached QuantizeFile(const FileSettings& settings, const std::function<void(const std::string&)>& on_step,
                     const Cancellation& cancellation);

nlohmann::json ToJson(const FileSettings& settings, const Reached& reached);

}  // namespace steadfast::quantization
