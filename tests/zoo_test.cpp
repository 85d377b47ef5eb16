// The networks in models/: each has what its card and its own metadata say.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/engine/evaluator.h"
#include "tests/program_fixture.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

TEST(Zoo, NetworksAreAsTheirCardsSay) {
  if (!data::FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
  const fs::path folder = fs::path(STEADFAST_SOURCE_DIR) / "models";
  const std::string cards = ReadTextFile(folder / "README.md");
  const data::ImageSet test = data::LoadDataset("fashion-mnist", {}, data::Split::kTest);
  uintmax_t bytes = 0;
  int networks = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    const std::string name = entry.path().filename().string();
    bytes += entry.file_size();
    ++networks;
    const model::QuantizedModel model = model::ReadModel(entry.path());
    const auto said = nlohmann::json::parse(model.metadata.at("steadfast.accuracy"));
    const auto dataset = nlohmann::json::parse(model.metadata.at("steadfast.dataset"));
    ASSERT_EQ(dataset["name"], "fashion-mnist") << name;
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, test.images, test.labels);
    const double accuracy = engine::RunGolden(model, set, 2).scores.accuracy();
    EXPECT_EQ(accuracy, said["test"].get<double>()) << name;
    const std::string row = fmt::format("| `{}` |", name);
    const size_t at = cards.find(row);
    ASSERT_NE(at, std::string::npos) << name << " has no card";
    const std::string card = cards.substr(at, cards.find('\n', at) - at);
    EXPECT_NE(card.find(fmt::format("{:.2f} %", 100 * accuracy)), std::string::npos) << card;
    EXPECT_NE(card.find(Sha256(ReadFile(entry.path(), 1 << 24)).substr(0, 12)), std::string::npos) << card;
  }
  EXPECT_GE(networks, 4);
  EXPECT_LT(bytes, uintmax_t{6} << 20);
}

}  // namespace
}  // namespace steadfast
