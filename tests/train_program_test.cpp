// Training as its users meet it: from the command line, interrupted and resumed.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/store/store.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class TrainProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists("/usr/share/datasets/fashion-mnist")) GTEST_SKIP() << "Fashion-MNIST is not installed";
  }

  Arguments Train(const std::string& name, Arguments more = {}) const {
    Arguments arguments = {"train", "lenet5", "--train-images",         "2000", "--epochs",
                           "4",     "-o",     (folder_ / name).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  static ProcessResult RunSteadfast(const Arguments& arguments) {
    return RunProcess(STEADFAST_PROGRAM, arguments, [](std::string_view) {});
  }

  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

pid_t Start(const Arguments& arguments) {
  const pid_t child = fork();
  if (child != 0) return child;
  std::vector<char*> words = {const_cast<char*>(STEADFAST_PROGRAM)};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  if (freopen("/dev/null", "w", stdout) == nullptr || freopen("/dev/null", "w", stderr) == nullptr) _exit(1);
  execv(STEADFAST_PROGRAM, words.data());
  _exit(127);
}

int Await(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(TrainProgram, KilledAndResumedItEndsWithTheSameModel) {
  const Arguments saq = {"--sharpness", "saq:0.1", "--sparsity", "l1:1e-4"};
  ASSERT_EQ(RunSteadfast(Train("whole.onnx", saq)).exit_code, 0);
  for (int signal : {SIGKILL, SIGTERM}) {
    const std::string name = signal == SIGKILL ? "killed.onnx" : "stopped.onnx";
    const pid_t child = Start(Train(name, saq));
    const fs::path checkpoint = folder_ / (name + ".checkpoint");
    for (int i = 0; i < 600 && !fs::exists(checkpoint); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_TRUE(fs::exists(checkpoint));
    const auto asked = std::chrono::steady_clock::now();
    kill(child, signal);
    EXPECT_EQ(Await(child), signal == SIGKILL ? 128 + SIGKILL : 130);
    EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(2));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the orphaned steadfast-train gets its signal
    ASSERT_FALSE(fs::exists(folder_ / name)) << "it was done before it could be killed";
    ASSERT_EQ(RunSteadfast(Train(name, saq)).exit_code, 0);
    EXPECT_EQ(ReadFile(folder_ / name), ReadFile(folder_ / "whole.onnx"));
    EXPECT_FALSE(fs::exists(checkpoint));
  }
}

// That they learn is for trainer_test; here, that each can be asked for and says so in its file.
// Recipes of a study that start from one float network a seed; a changed start makes everything behind it anew.
TEST_F(TrainProgram, AStudyStartsFromFloatNetworks) {
  const auto study = [&](const std::string& epochs) {
    WriteFileWhole(
        folder_ / "s.yaml",
        "study: s\noutput: " + (folder_ / "out").string() +
            "\ntrain: {network: mlp, train_images: 600, epochs: 1}\nstart: {epochs: " + epochs +
            ", learning_rate: 2e-3}\nrecipes:\n  standard: {}\n  saq: {sharpness: 'saq:0.1'}\nseeds: [0, 1]\n"
            "parts:\n  - name: broken\n    inject: {faults: [flip], rates: [1e-3], trials: 2, seed: 1}\n"
            "  - name: whole\n    seeds: [0]\n    widths: [W4A4, W8A8]\n"
            "    recipes: {longer: {quantizer: float}, standard: {}}\n");
    return RunSteadfast({"study", (folder_ / "s.yaml").string()});
  };
  const ProcessResult first = study("2");
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_NE(first.errors.find("Training 2 of 2 float networks to start from"), std::string::npos) << first.errors;
  const fs::path models = folder_ / "out/models";
  for (const char* name : {"mlp-float-seed0.onnx", "mlp-w4a4-standard-seed1.onnx", "mlp-w4a4-saq-seed0.onnx"})
    EXPECT_TRUE(fs::exists(models / name)) << name;
  const auto model = model::ReadModel(models / "mlp-w4a4-saq-seed0.onnx");
  EXPECT_EQ(model::MetadataJson(model, "steadfast.recipe")["start"].get<std::string>().size(), 64u);
  for (const auto& row : store::Store::OpenForReading(folder_ / "out/broken.sqlite").Models())
    EXPECT_EQ(row.network, "mlp") << "whatever file of its seed it started from";
  // The part that only trains: the float network once, its recipe at each width.
  const auto whole = nlohmann::json::parse(ReadTextFile(folder_ / "out/whole.json"))["recipes"];
  ASSERT_EQ(whole.size(), 3u);
  EXPECT_EQ(whole[0]["width"], "float");
  EXPECT_EQ(whole[2]["width"], "w8a8");
  EXPECT_DOUBLE_EQ(whole[1]["minus_first"][0].get<double>(),
                   whole[1]["test_accuracy"][0].get<double>() - whole[0]["test_accuracy"][0].get<double>());
  EXPECT_TRUE(fs::exists(models / "mlp-float-longer-seed0.onnx"));
  const ProcessResult again = study("2");
  EXPECT_NE(again.errors.find("All 2 float networks to start from are trained."), std::string::npos) << again.errors;
  EXPECT_NE(again.errors.find("All 4 networks are trained."), std::string::npos) << again.errors;
  const ProcessResult changed = study("1");
  ASSERT_EQ(changed.exit_code, 0) << changed.errors;
  EXPECT_NE(changed.errors.find("Training 4 of 4 networks"), std::string::npos) << changed.errors;
}

// NumPy's file format, version 1.
void WriteNpy(const fs::path& path, const std::string& type, const std::string& shape, const std::string& data) {
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", type, shape);
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  const std::string start = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(header.size()), 0};
  WriteFileWhole(path, start + header + data);
}

// The images that tests/outside/mynet.onnx was trained on: 3 x 16 x 16, its class is where a bright square lies.
void WriteMyData(const fs::path& folder) {
  fs::create_directories(folder);
  for (const auto& [name, count, shift] : {std::tuple{"train", 2000, 0}, std::tuple{"test", 500, 100000}}) {
    std::string images, labels;
    for (int64_t i = shift; i < shift + count; ++i) {
      const int64_t label = i % 10;
      labels += static_cast<char>(label);
      for (int64_t p = 0; p < 768; ++p) {
        const int64_t c = p / 256, y = p / 16 % 16, x = p % 16;
        const bool inside = y / 4 == label / 4 && x / 4 == label % 4;
        const int64_t noise = (i * 7919 + p * (i % 97 + 31)) % 90;
        images += static_cast<char>((inside ? 120 : 40) + (c == i % 3 ? 40 : 0) + noise);
      }
    }
    WriteNpy(folder / fmt::format("{}_images.npy", name), "|u1", fmt::format("({}, 3, 16, 16)", count), images);
    WriteNpy(folder / fmt::format("{}_labels.npy", name), "|u1", fmt::format("({},)", count), labels);
  }
}

// Every command of docs/tutorial.md, one after the other.
TEST_F(TrainProgram, TheTutorialRuns) {
  WriteMyData(folder_ / "mydata");
  fs::copy_file(fs::path(STEADFAST_SOURCE_DIR) / "tests/outside/mynet.onnx", folder_ / "mynet.onnx");
  for (const char* folder : {"models", "examples"})
    fs::copy(fs::path(STEADFAST_SOURCE_DIR) / folder, folder_ / folder, fs::copy_options::recursive);
  std::string script =
      fmt::format("set -e\nsteadfast() {{ {} \"$@\"; }}\ncd {}\n", STEADFAST_PROGRAM, folder_.string());
  std::istringstream page(ReadTextFile(fs::path(STEADFAST_SOURCE_DIR) / "docs/tutorial.md"));
  bool inside = false;
  int commands = 0;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("```")) {
      inside = line == "```sh";
    } else if (inside) {
      script += line + "\n";
      commands += line.starts_with("steadfast ");
    }
  }
  EXPECT_EQ(commands, 25);
  WriteFileWhole(folder_ / "script.sh", script);
  std::string output;
  const ProcessResult result = RunProcess("/bin/bash", {(folder_ / "script.sh").string()},
                                          [&](std::string_view line) { output += std::string(line) + "\n"; });
  EXPECT_EQ(result.exit_code, 0) << result.errors << output;
  EXPECT_NE(output.find("accuracy on 500 test images: float 100.00 %, quantized 100.00 %"), std::string::npos)
      << output;
  EXPECT_NE(result.errors.find("as it came, without quantization: validation accuracy 100.00 %"), std::string::npos)
      << result.errors;
  EXPECT_NE(output.find("Paired differences"), std::string::npos) << output;
  EXPECT_NE(output.find("on 90 % of chips"), std::string::npos) << output;
  EXPECT_NE(output.find("Trials ended when the mean was known"), std::string::npos) << output;
  for (const char* made : {"report.html", "chips.svg", "parts.html"}) EXPECT_TRUE(fs::exists(folder_ / made)) << made;
  // The designer's questions, on real data and networks: sane answers.
  EXPECT_NE(output.find("241 x row"), std::string::npos) << output;
  EXPECT_NE(output.find("transient:flip@activations"), std::string::npos) << output;
  EXPECT_NE(output.find("transient:flip@weights"), std::string::npos) << output;
  EXPECT_NE(output.find("flip   pool2"), std::string::npos) << output;
  EXPECT_NE(output.find("drawn by chance from each bit position"), std::string::npos) << output;
  EXPECT_NE(output.find("effective trials"), std::string::npos) << output;
  EXPECT_NE(output.find("three-bit"), std::string::npos) << output;
  EXPECT_NE(output.find("on 99 % of chips"), std::string::npos) << output;
}

// A float network, trained, quantized without further training, broken; and trained on with quantizers.
TEST_F(TrainProgram, AFloatNetworkIsQuantizedOrTrainedOn) {
  const std::string floats = (folder_ / "float.onnx").string(), quantized = (folder_ / "w8a8.onnx").string();
  const Arguments train = {"train", "mlp",      "--quantizer", "float", "--train-images",
                           "1000",  "--epochs", "2",           "-o",    floats};
  ASSERT_EQ(RunSteadfast(train).exit_code, 0);
  const ProcessResult inject = RunSteadfast({"inject", floats, "--store", (folder_ / "s").string()});
  EXPECT_NE(inject.errors.find("quantize it first"), std::string::npos) << inject.errors;
  EXPECT_EQ(RunSteadfast({"inspect", floats}).exit_code, 0);
  const ProcessResult again = RunSteadfast(train);
  EXPECT_NE(again.errors.find("already trained"), std::string::npos) << again.errors;
  const Arguments quantize = {"quantize", floats,    "--dataset", "fashion-mnist",
                              "-o",       quantized, "--json",    (folder_ / "w8a8.json").string()};
  const ProcessResult result = RunSteadfast(quantize);
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto report = nlohmann::json::parse(ReadTextFile(folder_ / "w8a8.json"));
  EXPECT_GT(report["float_accuracy"], 0.6);
  EXPECT_NEAR(report["accuracy_on_the_same"].get<double>(), report["float_accuracy"].get<double>(), 0.01);
  EXPECT_NE(RunSteadfast(quantize).errors.find("--force"), std::string::npos);
  ASSERT_EQ(RunSteadfast({"inject", quantized, "--store", (folder_ / "s").string(), "--trials", "2"}).exit_code, 0);

  const ProcessResult tuned = RunSteadfast({"train", floats, "--train-images", "1000", "--epochs", "1",
                                            "--learning-rate", "1e-4", "-o", (folder_ / "tuned.onnx").string()});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.errors;
  EXPECT_NE(tuned.errors.find("as it came, without quantization: validation accuracy"), std::string::npos);
  const auto model = model::ReadModel(folder_ / "tuned.onnx");
  EXPECT_EQ(model::MetadataJson(model, "steadfast.recipe")["network"], "float.onnx");
  EXPECT_EQ(model::MetadataJson(model, "steadfast.recipe")["network_sha256"].get<std::string>().size(), 64u);
  EXPECT_NE(RunSteadfast({"quantize", "mlp", "--dataset", "fashion-mnist", "-o", (folder_ / "x").string()})
                .errors.find("train it first"),
            std::string::npos);
  // The quantized one is trained on, too.
  const ProcessResult on = RunSteadfast({"train", quantized, "--train-images", "500", "--epochs", "1",
                                         "--learning-rate", "1e-4", "-o", (folder_ / "on.onnx").string()});
  EXPECT_EQ(on.exit_code, 0) << on.errors;
}

// A network that was not trained at all, of a seed with which it answers right less often than by chance.
TEST_F(TrainProgram, EndingAtChanceLevelIsNoSuccess) {
  const std::string model = (folder_ / "m.onnx").string();
  const Arguments train = {"train",           "mlp",   "--train-images", "200", "--epochs", "1",
                           "--learning-rate", "1e-12", "--seed",         "2",   "-o",       model};
  for (const char* what : {"gets 10.00 %", "is already trained"}) {  // written, and found there
    const ProcessResult result = RunSteadfast(train);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.errors.find(what), std::string::npos) << result.errors;
    EXPECT_NE(result.errors.find("training ended at chance level"), std::string::npos) << result.errors;
    EXPECT_EQ(model::MetadataJson(model::ReadModel(model), "steadfast.accuracy")["at_chance"], true);
  }
  std::string output;
  const ProcessResult injected =
      RunProcess(STEADFAST_PROGRAM, {"inject", model, "--trials", "2", "--store", (folder_ / "s").string()},
                 [&](std::string_view line) { output += line; });
  EXPECT_EQ(injected.exit_code, 0) << injected.errors;
  EXPECT_NE(output.find("(chance)"), std::string::npos) << output;
}

TEST_F(TrainProgram, EveryCombinationCanBeAskedFor) {
  for (const char* sparsity : {"none", "l1:0.0001"}) {
    for (const char* sharpness : {"none", "sam:0.05", "asam:0.5", "saq:0.1"}) {
      const ProcessResult result =
          RunSteadfast({"train", "mlp", "--train-images", "500", "--epochs", "1", "--force", "--sparsity", sparsity,
                        "--sharpness", sharpness, "-o", (folder_ / "m.onnx").string()});
      // After four steps some answer no better than by chance, which is said and is no success.
      const bool at_chance = result.errors.find("chance level") != std::string::npos;
      ASSERT_EQ(result.exit_code, at_chance ? 1 : 0) << sparsity << " " << sharpness << result.errors;
      const auto model = model::ReadModel(folder_ / "m.onnx");
      const auto recipe = model::MetadataJson(model, "steadfast.recipe");
      EXPECT_EQ(recipe["sparsity"], sparsity);
      EXPECT_EQ(recipe["sharpness"], sharpness);
      EXPECT_TRUE(model::MetadataJson(model, "steadfast.accuracy")["test"].is_number());
    }
  }
}

TEST_F(TrainProgram, ItsModelsCarryWhatInjectNeeds) {
  ASSERT_EQ(RunSteadfast(Train("m.onnx", {"--name", "standard"})).exit_code, 0);
  const auto result =
      RunSteadfast({"inject", (folder_ / "m.onnx").string(), "--store", (folder_ / "s").string(), "--trials", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto models = store::Store::OpenForReading(folder_ / "s").Models();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].recipe, "standard");
  EXPECT_EQ(models[0].epochs.size(), 4u);
  EXPECT_EQ(models[0].accuracy(),
            model::MetadataJson(model::ReadModel(folder_ / "m.onnx"), "steadfast.accuracy")["test"]);
}

const Arguments kQuickSharpness = {"--images",        "60", "--ascent-steps", "2", "--restarts",       "1",
                                   "--draws",         "2",  "--fault-trials", "5", "--eigenvalues",    "2",
                                   "--lanczos-steps", "4",  "--layer-steps",  "2", "--density-probes", "1",
                                   "--density-steps", "4",  "--trace-probes", "2", "--surface-points", "3",
                                   "--plane-points",  "3"};

TEST_F(TrainProgram, SharpnessResumesModelByModelAndChangesNothing) {
  const auto quick = [](Arguments arguments) {
    arguments.insert(arguments.end(), kQuickSharpness.begin(), kQuickSharpness.end());
    return arguments;
  };
  std::vector<std::string> models;
  for (const char* seed : {"0", "1", "2"}) {
    models.push_back((folder_ / (std::string("m") + seed + ".onnx")).string());
    ASSERT_EQ(RunSteadfast(
                  {"train", "lenet5", "--train-images", "1000", "--epochs", "2", "--seed", seed, "-o", models.back()})
                  .exit_code,
              0);
  }
  // All at once, two side by side.
  const std::string whole = (folder_ / "whole.sqlite").string(), parts = (folder_ / "parts.sqlite").string();
  const Arguments line = {"--line", models[0], models[2]};
  Arguments all = quick({"sharpness", models[0], models[1], models[2], "--store", whole, "--csv",
                         (folder_ / "whole.csv").string(), "--jobs", "2"});
  all.insert(all.end(), line.begin(), line.end());
  const ProcessResult first = RunSteadfast(all);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  // Killed once the first is kept, then again: only the others are measured, to the same numbers.
  Arguments again = quick({"sharpness", models[0], models[1], models[2], "--store", parts, "--csv",
                           (folder_ / "parts.csv").string(), "--jobs", "1"});
  again.insert(again.end(), line.begin(), line.end());
  const pid_t child = Start(again);
  for (int i = 0; i < 3000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (fs::exists(parts) && fs::file_size(parts) > 0) {
      try {
        if (!store::Store::OpenForReading(parts).Sharpness().empty()) break;
      } catch (const std::exception&) {
        // Being made at this moment.
      }
    }
  }
  kill(child, SIGKILL);
  EXPECT_EQ(Await(child), 128 + SIGKILL);
  const size_t kept = store::Store::OpenForReading(parts).Sharpness().size();
  ASSERT_GE(kept, 1u);
  const ProcessResult resumed = RunSteadfast(again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_NE(resumed.errors.find(std::to_string(kept) + " of 3 models were already in"), std::string::npos);
  EXPECT_EQ(ReadTextFile(folder_ / "parts.csv"), ReadTextFile(folder_ / "whole.csv"));
  EXPECT_NE(RunSteadfast(again).errors.find("3 of 3 models were already in"), std::string::npos);
  const auto rows = store::Store::OpenForReading(whole).Sharpness();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_TRUE(std::any_of(rows[0].points.begin(), rows[0].points.end(),
                          [](const auto& p) { return p.surface.starts_with("line:m2@"); }));
  // Other lines join the first: to a file of the same name elsewhere too, and however its path is written.
  fs::create_directories(folder_ / "elsewhere");
  const fs::path namesake = folder_ / "elsewhere" / "m2.onnx";
  fs::copy_file(models[1], namesake);
  Arguments others =
      quick({"sharpness", models[0], models[2], namesake.string(), "--line", models[0],
             (folder_ / "elsewhere" / ".." / "elsewhere" / "m2.onnx").string(), "--line", models[0], models[2]});
  others.insert(others.end(), {"--store", whole});
  const ProcessResult joined = RunSteadfast(others);
  EXPECT_EQ(joined.exit_code, 0) << joined.errors;
  const auto lines = store::Store::OpenForReading(whole).Sharpness();
  ASSERT_EQ(lines.size(), 3u);
  for (const std::string& target : {models[2], namesake.string()}) {
    const std::string surface = "line:" + model::NameWithHash(model::ReadModelFile(target));
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [&](const auto& row) {
      return row.model == rows[0].model && std::count_if(row.points.begin(), row.points.end(),
                                                         [&](const auto& p) { return p.surface == surface; }) == 3;
    })) << surface;
  }
  // Other settings are another measurement, beside the first.
  Arguments other = quick({"sharpness", models[0], "--store", whole, "--seed", "2"});
  EXPECT_EQ(RunSteadfast(other).exit_code, 0);
  EXPECT_EQ(store::Store::OpenForReading(whole).Sharpness().size(), 4u);
}

TEST_F(TrainProgram, SharpnessSaysWhatIsWrong) {
  ASSERT_EQ(
      RunSteadfast({"train", "lenet5", "--train-images", "1000", "--epochs", "2", "-o", (folder_ / "m.onnx").string()})
          .exit_code,
      0);
  const std::string model = (folder_ / "m.onnx").string();
  const ProcessResult zero = RunSteadfast({"sharpness", model, "--images", "0"});
  EXPECT_EQ(zero.exit_code, 2);
  EXPECT_NE(zero.errors.find("images: 0 is outside"), std::string::npos) << zero.errors;
  const ProcessResult line = RunSteadfast({"sharpness", model, "--line", model, "other.onnx"});
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_NE(line.errors.find("both must be among the models given"), std::string::npos) << line.errors;
  EXPECT_EQ(RunSteadfast({"sharpness", model, "--store", model}).exit_code, 2);
}

std::string StudyYaml(int epochs, int trials, int seed = 1) {
  return "study: small\ntrain: {train_images: 500, epochs: " + std::to_string(epochs) + "}\n" + R"(recipes:
  standard: {}
  as: {sparsity: "l1:1e-4"}
  standard-saq: {sharpness: "saq:0.1"}
  as-saq: {sparsity: "l1:1e-4", sharpness: "saq:0.1"}
seeds: [0]
claims: {}
inject: {faults: [flip], rates: [1e-3, 1e-2], trials: )" +
         std::to_string(trials) + ", seed: " + std::to_string(seed) + "}\n";
}

TEST_F(TrainProgram, StudyResumesAndMovesStaleStepsAside) {
  const fs::path file = folder_ / "small.yaml", output = folder_ / "out";
  const Arguments study = {"study", file.string(), "--output", output.string()};
  WriteFileWhole(file, StudyYaml(1, 2));
  ASSERT_EQ(RunSteadfast(study).exit_code, 0);
  const auto model = ReadFile(output / "models/lenet5-w4a4-as-saq-seed0.onnx");
  const auto claims = nlohmann::json::parse(ReadTextFile(output / "claims.json"));
  EXPECT_EQ(claims["schema"], 1);
  EXPECT_EQ(claims["claims"].size(), 5u);
  EXPECT_EQ(claims["claims"][0]["verdict"], "undecided");  // one seed decides nothing

  EXPECT_NE(ReadTextFile(output / "report.html").find("<section id=\"faults\">"), std::string::npos);

  // Again: nothing to do, the same end.
  const ProcessResult again = RunSteadfast(study);
  EXPECT_NE(again.errors.find("All 4 networks are trained"), std::string::npos) << again.errors;
  EXPECT_EQ(nlohmann::json::parse(ReadTextFile(output / "claims.json")), claims);
  EXPECT_FALSE(fs::exists(output / "stale"));

  // One model lost: only that one is trained, to the same bytes.
  fs::remove(output / "models/lenet5-w4a4-as-saq-seed0.onnx");
  EXPECT_NE(RunSteadfast(study).errors.find("Training 1 of 4"), std::string::npos);
  EXPECT_EQ(ReadFile(output / "models/lenet5-w4a4-as-saq-seed0.onnx"), model);

  // More trials: nothing is stale, the store grows.
  WriteFileWhole(file, StudyYaml(1, 3));
  const ProcessResult more = RunSteadfast(study);
  EXPECT_NE(more.errors.find("All 4 networks are trained"), std::string::npos) << more.errors;
  EXPECT_FALSE(fs::exists(output / "stale"));
  EXPECT_EQ(store::Store::OpenForReading(output / "trials.sqlite").Trials().size(), 24u);

  // Another seed of the faults: the store is stale, the models are not.
  WriteFileWhole(file, StudyYaml(1, 3, 9));
  const ProcessResult other_seed = RunSteadfast(study);
  EXPECT_NE(other_seed.errors.find("seed: 1 there, 9 here"), std::string::npos) << other_seed.errors;
  EXPECT_TRUE(fs::exists(output / "stale/trials.1.sqlite"));
  EXPECT_NE(other_seed.errors.find("All 4 networks are trained"), std::string::npos);

  // Other training: models and store are stale.
  WriteFileWhole(file, StudyYaml(2, 3, 9));
  EXPECT_NE(RunSteadfast(study).errors.find("Training 4 of 4"), std::string::npos);
  EXPECT_TRUE(fs::exists(output / "stale/lenet5-w4a4-as-saq-seed0.1.onnx"));
  EXPECT_TRUE(fs::exists(output / "stale/trials.2.sqlite"));
}

// What one part measured is taken over by another that has the same networks.
TEST_F(TrainProgram, StudyMeasuresSharpnessOnceAndSweeps) {
  const fs::path file = folder_ / "small.yaml", output = folder_ / "out";
  WriteFileWhole(file, R"(study: small
train: {train_images: 300, epochs: 1}
widths: [W2A2]
seeds: [0, 1, 2]
recipes: {standard: {}, as: {sparsity: "l1:1e-4"}}
inject: {faults: [flip], rates: [1e-2], trials: 2}
sharpness: {images: 60, ascent_steps: 1, restarts: 1, draws: 2, fault_trials: 3, eigenvalues: 0, layer_steps: 0,
  density_probes: 0, trace_probes: 0, surface_points: 0, plane_points: 0}
parts:
  - name: first
    sweep: [as]
  - name: second
    recipes: {standard: {}}
  - name: third
    sharpness: null
    sweep: {recipes: [as], images: 200, sample: 0.1}
)");
  const ProcessResult result = RunSteadfast({"study", file.string(), "--output", output.string()});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto first = store::Store::OpenForReading(output / "first.sqlite");
  const auto second = store::Store::OpenForReading(output / "second.sqlite");
  ASSERT_EQ(first.Sharpness().size(), 6u);
  ASSERT_EQ(second.Sharpness().size(), 3u);
  EXPECT_EQ(first.Sharpness()[0].values, second.Sharpness()[0].values);
  EXPECT_EQ(first.Sweeps().size(), 1u);
  EXPECT_EQ(first.Models()[3].label, "lenet5-w2a2-as-seed0");
  EXPECT_EQ(first.Sweeps()[0].model, first.Models()[3].id);
  const auto sampled = store::Store::OpenForReading(output / "third-sweep.sqlite");
  ASSERT_EQ(sampled.Sweeps().size(), 1u);
  EXPECT_EQ(sampled.Sweeps()[0].images, 200);
  EXPECT_TRUE(fs::exists(output / "third-sweep.html"));
  const std::string page = ReadTextFile(output / "report.html");
  for (const char* section : {"sharpness", "tie", "criticality"})
    EXPECT_NE(page.find("<section id=\"" + std::string(section) + "\">"), std::string::npos) << section;
  EXPECT_TRUE(fs::exists(output / "tie.csv"));
  EXPECT_TRUE(fs::exists(output / "first-sharpness.csv"));
}

TEST_F(TrainProgram, NeverOverwritesAnotherModelUnasked) {
  WriteFileWhole(folder_ / "m.onnx", "somebody's work");
  EXPECT_EQ(RunSteadfast(Train("m.onnx")).exit_code, 2);
  EXPECT_EQ(ReadTextFile(folder_ / "m.onnx"), "somebody's work");
}

TEST_F(TrainProgram, SaysWhatIsWrong) {
  EXPECT_NE(RunSteadfast(Train("m.onnx", {"--weight-bits", "1"})).errors.find("signed LSQ"), std::string::npos);
  const auto unknown =
      RunProcess(STEADFAST_PROGRAM, {"train", "lenet6", "-o", (folder_ / "m.onnx").string()}, [](std::string_view) {});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.errors.find("did you mean lenet5?"), std::string::npos) << unknown.errors;
}

}  // namespace
}  // namespace steadfast
