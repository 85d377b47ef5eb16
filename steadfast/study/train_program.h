// Starting steadfast-train and understanding what it says.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/recipe/recipe.h"

namespace steadfast::study {

// steadfast-train beside the running program. Throws IoError that says what to do where it is absent.
std::filesystem::path FindTrainProgram();

// Runs a command of it: on_event gets each event (docs/formats.md) as it comes. Gives the "done" event. What the
// program reports as an error is thrown as the same kind of error here; another version of the program is refused.
nlohmann::json RunTrainProgram(const std::vector<std::string>& arguments,
                               const std::function<void(const nlohmann::json&)>& on_event,
                               const Cancellation* cancellation = nullptr);

struct TrainRequest {
  recipe::Recipe recipe;
  std::filesystem::path output;  // model.onnx
  std::filesystem::path data;    // empty: not given
};

// The arguments that train.
std::vector<std::string> ArgumentsOf(const TrainRequest& request);

}  // namespace steadfast::study
