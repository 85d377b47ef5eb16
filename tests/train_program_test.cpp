// Training as its users meet it: from the command line, interrupted and resumed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
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
    folder_ = fs::path(testing::TempDir()) /
              (std::string("steadfast_train_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Arguments Train(const std::string& name, Arguments more = {}) const {
    Arguments arguments = {"train", "lenet5", "--train-images",         "4000", "--epochs",
                           "4",     "-o",     (folder_ / name).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  static ProcessResult RunSteadfast(const Arguments& arguments) {
    return RunProcess(STEADFAST_PROGRAM, arguments, [](std::string_view) {});
  }

  fs::path folder_;
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
TEST_F(TrainProgram, EveryCombinationCanBeAskedFor) {
  for (const char* sparsity : {"none", "l1:0.0001"}) {
    for (const char* sharpness : {"none", "sam:0.05", "asam:0.5", "saq:0.1"}) {
      const ProcessResult result =
          RunSteadfast({"train", "lenet5", "--train-images", "500", "--epochs", "1", "--force", "--sparsity", sparsity,
                        "--sharpness", sharpness, "-o", (folder_ / "m.onnx").string()});
      ASSERT_EQ(result.exit_code, 0) << sparsity << " " << sharpness << result.errors;
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
