#include "steadfast/report/evidence.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::report {
namespace {

store::TrialRow Trial(int64_t model, const std::string& fault, double rate, const std::string& encoding = "twos") {
  store::TrialRow trial;
  trial.model = model;
  trial.fault = fault;
  trial.encoding = encoding;
  trial.rate = rate;
  return trial;
}

using Rates = std::vector<double>;

TEST(Evidence, NetworksAreComparedAtTheRatesThatTheyShare) {
  Evidence evidence;
  for (double rate : {1e-3, 1e-2, 1e-1}) evidence.trials.push_back(Trial(1, "flip", rate));
  for (double rate : {1e-2, 3e-2, 1e-1}) evidence.trials.push_back(Trial(2, "flip", rate));
  evidence.trials.push_back(Trial(1, "sa0", 1e-2));
  evidence.trials.push_back(Trial(2, "flip", 1e-3, "gray"));
  evidence.trials.push_back(Trial(3, "flip", 5e-1));
  EXPECT_EQ(evidence.SharedRates({1, 2}).at("flip"), Rates({1e-2, 1e-1}));
  EXPECT_EQ(evidence.SharedRates({1, 2}).at("sa0"), Rates({1e-2})) << "network 2 has no such faults at all";
  // Where not all share any, those that most have.
  EXPECT_EQ(evidence.SharedRates({1, 2, 3}).at("flip"), Rates({1e-2, 1e-1}));
  EXPECT_TRUE(evidence.SharedRates({}).empty());
}

// Trials that were drawn by their weights mean nothing without them.
TEST(Evidence, DoesNotTakeWeightedTrials) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "rare.sqlite";
  store::Store::Create(path).ClaimSettings([](const auto&) { return nlohmann::json{{"seed", 1}}; });
  EXPECT_NO_THROW(Gather({path}));
  store::Store::OpenForWriting(path).ClaimSettings([](const auto&) { return nlohmann::json{{"weighted", true}}; });
  EXPECT_THROW(Gather({path}), InputError);
}

store::RunRow RunOf(const std::string& command, const std::string& settings, bool finished) {
  store::RunRow run;
  run.command = command;
  run.settings = settings;
  run.finished = finished ? "2026-01-01T00:00:00Z" : "";
  return run;
}

TEST(Evidence, OnlyFaultsLeftUndoneMakeACampaignIncomplete) {
  const auto trials = [](bool finished) { return RunOf("inject m.onnx", R"({"seed": 1})", finished); };
  const auto sharpness = RunOf("sharpness m.onnx", R"({"sharpness": {}})", false);
  Source source;
  EXPECT_FALSE(source.Interrupted());
  source.runs = {trials(true), sharpness, RunOf("sweep m.onnx", R"({"kind": "bits"})", false),
                 RunOf("latency m.onnx", "{}", false)};
  EXPECT_FALSE(source.Interrupted());
  source.runs = {trials(true), trials(false), sharpness};
  EXPECT_TRUE(source.Interrupted());
  source.runs.push_back(trials(true));
  EXPECT_FALSE(source.Interrupted());
}

}  // namespace
}  // namespace steadfast::report
