// The program in a folder of its own, for tests of the whole.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/data/dataset.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace steadfast {

using Arguments = std::vector<std::string>;

struct Outcome {
  int exit_code;
  std::string output, errors;
};

inline Outcome RunSteadfast(const Arguments& arguments) {
  Outcome outcome;
  const ProcessResult result = RunProcess(STEADFAST_PROGRAM, arguments,
                                          [&](std::string_view line) { outcome.output += std::string(line) + "\n"; });
  outcome.exit_code = result.exit_code;
  outcome.errors = result.errors;
  return outcome;
}

class Program : public testing::Test {
 protected:
  // LeNet-5 with random weights that names Fashion-MNIST as its data.
  std::string MakeModel(const std::string& name, uint64_t seed) {
    model::QuantizedModel model = model::RandomLeNet5(4, 4, seed);
    model.metadata["steadfast.dataset"] = R"({"name": "fashion-mnist"})";
    model::WriteModel(model, folder_ / name);
    return (folder_ / name).string();
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

class ProgramWithData : public Program {
 protected:
  void SetUp() override {
    if (!data::FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
    Program::SetUp();
  }
  Arguments Inject(const std::string& model, const std::string& store, Arguments more = {}) const {
    Arguments arguments = {"inject", model,       "--store",  store, "--fault",  "flip,sa0",
                           "--rate", "1e-3,1e-2", "--trials", "6",   "--images", "500"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

}  // namespace steadfast
