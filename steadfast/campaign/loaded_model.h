// A model file with what its metadata says, and the test images that belong to it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/campaign/input_scaling.h"
#include "steadfast/data/dataset.h"      // DataLocation, ImageSet
#include "steadfast/engine/evaluator.h"  // Golden
#include "steadfast/model/onnx_file.h"   // ModelFile
#include "steadfast/store/store.h"       // ModelRow

namespace steadfast::campaign {

// The data to evaluate on. Empty dataset: the one that the model's metadata names.
struct DataChoice {
  std::string dataset;
  data::DataLocation location;
  int64_t images = 0;                                    // the first so many; 0: all
  InputScaling input;                                    // of models that take real numbers
  std::function<void(const std::string&)> on_note = {};  // gets what was assumed, in words
  model::Reading reading = {};                           // whose arithmetic, and widths that the file does not say
};

struct TestData {
  std::string dataset;
  std::string sha256;     // of the whole test set
  data::ImageSet images;  // bytes, as the dataset has them
};

// The test images for a model. Throws UsageError where neither the choice nor the model names a dataset, InputError
// where the model was made with other images of that name (another hash), or they do not fit it.
TestData LoadTestData(const model::ModelFile& file, const DataChoice& choice);

// Throws where images do not fit a model, or what is said of bytes does not. `dataset` stands in errors.
void CheckImages(const model::ModelFile& file, const data::ImageSet& images, const std::string& dataset,
                 const InputScaling& input);

// The images as the codes that the model's input makes of them, ready for the engine.
engine::EvaluationSet EvaluationSetOf(const model::QuantizedModel& model, const data::ImageSet& images,
                                      const InputScaling& input);

// What a store keeps of a model. Metadata of other people's models may be absent.
store::ModelRow DescribeModel(const model::ModelFile& file, const std::string& label, const engine::Golden& golden,
                              int word_bits);

// The same, evaluated on the test images that belong to the model.
store::ModelRow EvaluateAndDescribeModel(const model::ModelFile& file, const std::string& label,
                                         const DataChoice& choice, const Cancellation* cancellation);
// The store's row of this model file, which is evaluated and added where the store lacks it.
store::ModelRow ModelInStore(store::Store& store, const model::ModelFile& file, const std::string& label,
                             const DataChoice& choice, const Cancellation* cancellation);

// File stems, or whole paths where stems collide.
std::vector<std::string> LabelsOf(const std::vector<std::filesystem::path>& paths);

}  // namespace steadfast::campaign
