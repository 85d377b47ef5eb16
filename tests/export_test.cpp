// Files with faults in them: what inject predicts of a fault list is what the exported file gives by itself.
#include <nlohmann/json.hpp>

#include "steadfast/data/npy.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/store/store.h"
#include "tests/program_fixture.h"
#include "tests/tflite_networks.h"

namespace steadfast {
namespace {

std::string BytesOf(const std::string& path) {
  return ReadTextFile(path, uint64_t{1} << 30);
}

TEST_F(ProgramWithData, AnExportedFileGivesWhatWasPredictedOfItsFaults) {
  const std::string model = MakeModel("m.onnx", 3);
  ASSERT_EQ(
      RunSteadfast({"faults", "--model", model, "--where", "weights,biases", "--rate", "2e-3", "-o", Path("f.csv")})
          .exit_code,
      0);
  ASSERT_EQ(
      RunSteadfast({"inject", model, "--fault-list", Path("f.csv"), "--images", "500", "--store", Path("p.sqlite")})
          .exit_code,
      0);
  const Outcome exported = RunSteadfast({"export", model, "--fault-list", Path("f.csv"), "-o", Path("broken.onnx"),
                                         "--patch", Path("patch.csv"), "--json", "-"});
  ASSERT_EQ(exported.exit_code, 0) << exported.errors;
  const auto document = nlohmann::json::parse(exported.output);
  EXPECT_GT(document.at("changes").size(), 100u);
  ASSERT_EQ(RunSteadfast({"inject", Path("broken.onnx"), "--rate", "0", "--trials", "1", "--images", "500", "--store",
                          Path("b.sqlite")})
                .exit_code,
            0);
  const auto predicted = store::Store::OpenForReading(Path("p.sqlite")).Trials();
  const auto broken = store::Store::OpenForReading(Path("b.sqlite")).Models();
  ASSERT_EQ(predicted.size(), 1u);
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_EQ(predicted[0].correct, broken[0].correct);
  EXPECT_EQ(predicted[0].margin_sum, broken[0].margin_sum);
  EXPECT_EQ(predicted[0].loss_sum, broken[0].loss_sum);

  ASSERT_EQ(
      RunSteadfast({"export", Path("broken.onnx"), "--undo", Path("patch.csv"), "-o", Path("again.onnx")}).exit_code,
      0);
  EXPECT_TRUE(BytesOf(Path("again.onnx")) == BytesOf(model));
  const Outcome wrong = RunSteadfast({"export", model, "--undo", Path("patch.csv"), "-o", Path("never.onnx")});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.errors.find("patch.csv: line 2"), std::string::npos) << wrong.errors;
  EXPECT_FALSE(std::filesystem::exists(Path("never.onnx")));
}

TEST_F(Program, ExportsWhatMemoriesHold) {
  const std::string model = MakeModel("m.onnx", 3);
  const Outcome outcome = RunSteadfast({"export", model, "--memories", Path("chip"), "--chip", "systolic"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const auto layout = nlohmann::json::parse(ReadTextFile(Path("chip/layout.json")));
  const auto arrays = data::ReadNpz(Path("chip/parameters.npz"));
  const model::QuantizedModel read = model::ReadModel(model);
  ASSERT_EQ(arrays.size(), read.parameters.size());
  for (const model::Parameter& parameter : read.parameters) {
    const data::NpyArray& array = arrays.at(parameter.name);
    EXPECT_EQ(array.shape, parameter.shape);
    if (parameter.format.kind != model::StorageFormat::Kind::kCodes) continue;
    EXPECT_EQ(array.type, "|i1");
    for (int64_t i = 0; i < parameter.elements(); ++i)
      ASSERT_EQ(static_cast<int8_t>(array.bytes[static_cast<size_t>(i)]), parameter.code(i)) << parameter.name;
  }
  for (const auto& memory : layout.at("memories")) {
    if (memory.at("words") == 0) continue;
    const std::string name = memory.at("name");
    EXPECT_TRUE(std::filesystem::exists(Path("chip/" + name + ".words.hex"))) << name;
    EXPECT_TRUE(std::filesystem::exists(Path("chip/" + name + ".bank0.hex"))) << name;
  }
  EXPECT_FALSE(layout.at("arrays").empty());
}

TEST_F(Program, ExportsCAndTakesNoOptionThatItWouldIgnore) {
  const std::string model = MakeModel("stdint.onnx", 3);
  const Outcome outcome = RunSteadfast({"export", model, "--c", Path("c"), "--json", "-"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const auto document = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(document.at("name"), "net_stdint");
  for (const auto& file : document.at("files"))
    EXPECT_TRUE(std::filesystem::exists(Path("c/" + file.get<std::string>())));
  const auto layout = nlohmann::json::parse(ReadTextFile(Path("c/layout.json")));
  EXPECT_EQ(layout.at("words").get<int64_t>() * 4, document.at("memory_bytes").get<int64_t>());
  for (const Arguments& more : std::vector<Arguments>{{"--encoding", "gray"},
                                                      {"--chip", "systolic"},
                                                      {"--where", "biases"},
                                                      {"--word-bits", "16"},
                                                      {"--trial", "3"},
                                                      {"--output", Path("never")},
                                                      {"--name", "My net"}}) {
    Arguments arguments = {"export", model, "--c", Path("never_c")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(RunSteadfast(arguments).exit_code, 2) << more[0];
  }
  EXPECT_FALSE(std::filesystem::exists(Path("never_c")));
}

TEST_F(Program, ExportSaysWhatIsMissing) {
  const std::string model = MakeModel("m.onnx", 3);
  EXPECT_EQ(RunSteadfast({"export", model, "-o", Path("x.onnx")}).exit_code, 2);
  WriteFileWhole(Path("two.csv"), "trial,tensor,index,bit,kind\n0,conv1.weight,0,0,flip\n5,conv1.weight,1,0,flip\n");
  const Outcome two = RunSteadfast({"export", model, "--fault-list", Path("two.csv"), "-o", Path("x.onnx")});
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_NE(two.errors.find("--trial"), std::string::npos) << two.errors;
  EXPECT_EQ(
      RunSteadfast({"export", model, "--fault-list", Path("two.csv"), "--trial", "5", "-o", Path("x.onnx")}).exit_code,
      0);
  EXPECT_EQ(RunSteadfast({"export", model, "--fault-list", Path("two.csv"), "--trial", "5", "-o", model}).exit_code, 2);
}

TEST_F(Program, ExportRefusesWhatNoFileHolds) {
  const std::string model = MakeModel("m.onnx", 3);
  const Outcome buffer =
      RunSteadfast({"faults", "--model", model, "--where", "activations", "--rate", "1e-2", "-o", Path("buffers.csv")});
  ASSERT_EQ(buffer.exit_code, 0) << buffer.errors;
  const Outcome refused = RunSteadfast({"export", model, "--fault-list", Path("buffers.csv"), "-o", Path("x.onnx")});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.errors.find("holds no buffers"), std::string::npos) << refused.errors;
  WriteFileWhole(Path("places.csv"), "trial,memory,word,bit,kind\n0,memory,0,0,flip\n");
  const Outcome places = RunSteadfast({"export", model, "--fault-list", Path("places.csv"), "-o", Path("x.onnx")});
  EXPECT_EQ(places.exit_code, 2);
  EXPECT_NE(places.errors.find("--chip"), std::string::npos) << places.errors;
  WriteFileWhole(Path("empty.csv"), "");
  EXPECT_EQ(RunSteadfast({"export", model, "--undo", Path("empty.csv"), "-o", Path("x.onnx")}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("x.onnx")));
}

TEST_F(Program, TfliteFilesAreInspectedAndExported) {
  const TfliteNetwork network = RandomTflite(4);
  const std::string model = Path("m.tflite");
  WriteFileWhole(model, std::string(network.bytes.begin(), network.bytes.end()));
  const Outcome inspected = RunSteadfast({"inspect", model, "--json", "-"});
  ASSERT_EQ(inspected.exit_code, 0) << inspected.errors;
  const auto document = nlohmann::json::parse(inspected.output);
  EXPECT_EQ(document.at("profile"), "xnnpack");
  EXPECT_EQ(document.at("format"), "TFLite (random)");
  ASSERT_EQ(
      RunSteadfast({"faults", "--model", model, "--where", "all", "--rate", "2e-2", "-o", Path("f.csv")}).exit_code, 0);
  const Outcome exported =
      RunSteadfast({"export", model, "--fault-list", Path("f.csv"), "-o", Path("b.tflite"), "--patch", Path("p.csv")});
  ASSERT_EQ(exported.exit_code, 0) << exported.errors;
  EXPECT_EQ(BytesOf(Path("b.tflite")).size(), network.bytes.size());
  EXPECT_TRUE(BytesOf(Path("b.tflite")) != BytesOf(model));
  ASSERT_EQ(RunSteadfast({"export", Path("b.tflite"), "--undo", Path("p.csv"), "-o", Path("a.tflite")}).exit_code, 0);
  EXPECT_TRUE(BytesOf(Path("a.tflite")) == BytesOf(model));
  const Outcome wrong = RunSteadfast({"evaluate", model, "--profile", "onnx", "--dataset", "fashion-mnist"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.errors.find("is a TFLite file"), std::string::npos) << wrong.errors;
  EXPECT_EQ(RunSteadfast({"evaluate", model, "--profile", "tensorrt", "--dataset", "fashion-mnist"}).exit_code, 2);
}

}  // namespace
}  // namespace steadfast
