#include "steadfast/study/study_file.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::study {
namespace {

const std::string kGood = R"(study: small
train:
  epochs: 2
  learning_rate: 1e-2
recipes:
  standard: {}
  as: {sparsity: "l1:1e-4"}
  standard-saq: {sharpness: "saq:0.1"}
  as-saq: {sparsity: "l1:1e-4", sharpness: "saq:0.1"}
seeds: [0, 1]
inject:
  faults: [flip, "mixed:0.5"]
  rates: [1e-3, 1e-2]
  trials: 5
claims: {}
)";

std::string MessageOf(const std::string& yaml) {
  try {
    ParseStudy(yaml, "s.yaml");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(ParseStudy, ReadsWhatItSays) {
  const Study study = ParseStudy(kGood, "s.yaml");
  EXPECT_EQ(study.output, "results/small");
  ASSERT_EQ(study.parts.size(), 1u);
  const Part& part = study.parts[0];
  ASSERT_EQ(part.recipes.size(), 4u);
  EXPECT_EQ(part.recipes[3].name, "as-saq");
  EXPECT_EQ(part.recipes[3].recipe.epochs, 2);
  EXPECT_EQ(part.recipes[3].recipe.learning_rate, 1e-2);
  EXPECT_EQ(part.recipes[3].recipe.rho, 0.1);
  EXPECT_EQ(part.inject->faults[1], memory::ParseFaultModel("mixed:0.5"));
  EXPECT_EQ(NameOf(part.inject->where), "weights");
  EXPECT_EQ(part.seeds, (std::vector<uint64_t>{0, 1}));
  EXPECT_TRUE(part.claims.has_value());
}

TEST(ParseStudy, NamesLineAndColumn) {
  EXPECT_EQ(MessageOf(Replaced(kGood, "epochs: 2", "epoch: 2"))
                .find("s.yaml:3:3: unknown key 'epoch' (did you mean epochs?)"),
            0u);
  EXPECT_EQ(
      MessageOf(Replaced(kGood, "epochs: 2", "epochs: two")).find("s.yaml:3:11: epochs: 'two' is not a whole number"),
      0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "saq:0.1", "saq:x")).find("s.yaml:8:29: sharpness: 'x' is not a number"), 0u)
      << MessageOf(Replaced(kGood, "saq:0.1", "saq:x"));
  EXPECT_EQ(MessageOf(Replaced(kGood, "1e-2]", "2]")).find("s.yaml:13:17: rates: '2' is not a number from 0 to 1"), 0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "1e-2]", "1e-4]")).find("s.yaml:13:17: rates: expected ascending"), 0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "[0, 1]", "[0, 0]")).find("s.yaml:10:12: seeds: 0 appears twice"), 0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "  as: {", "  sparse: {")).find("s.yaml:15:9: as: there is no recipe 'as'"), 0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "trials: 5", "")).find("s.yaml:12:3: the key 'trials' is missing"), 0u);
  EXPECT_NE(MessageOf(Replaced(kGood, "{}", "{weight_bits: 1}")).find("weight_bits: 1 bits, expected 2 to 8"),
            std::string::npos);
  EXPECT_EQ(MessageOf(Replaced(kGood, "epochs: 2", "network: lenet6"))
                .find("s.yaml:3:12: network: 'lenet6' is neither a file nor one of lenet5"),
            0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "epochs: 2", "dataset: mnistt"))
                .find("s.yaml:3:12: unknown dataset 'mnistt' (did you mean mnist?)"),
            0u);
  const std::string layer = MessageOf(Replaced(kGood, "epochs: 2", "layer_bits: {convv1: 8/8}"));
  EXPECT_EQ(layer.find("s.yaml:3:"), 0u) << layer;
  EXPECT_NE(layer.find("lenet5 has no layer 'convv1'"), std::string::npos) << layer;
  EXPECT_EQ(MessageOf(Replaced(kGood, "epochs: 2", "threads: 2")).find("s.yaml:3:3: unknown key 'threads'"), 0u);
  EXPECT_EQ(MessageOf(Replaced(kGood, "[flip, \"mixed:0.5\"]", "[flip, flip]"))
                .find("s.yaml:12:18: faults: 'flip' appears twice"),
            0u);
  EXPECT_NE(MessageOf(Replaced(kGood, "  trials: 5", "  trials: 5\n  encodings: [sign]")).find("narrow: true"),
            std::string::npos);
  EXPECT_NE(MessageOf("widths: [W1A4]\n" + kGood).find("s.yaml:1:9: weight_bits: 1 bits"), std::string::npos)
      << MessageOf("widths: [W1A4]\n" + kGood);
  EXPECT_NE(MessageOf(kGood + "compare: [[as, other]]\n").find("compare: there is no recipe 'other'"),
            std::string::npos);
  EXPECT_NE(MessageOf("study: [").find("s.yaml:1:"), std::string::npos);
  EXPECT_NE(MessageOf(Replaced(kGood, "study: small", "study: ../evil")).find("is not a name"), std::string::npos);
}

TEST(ParseStudy, PartsInheritAndOverride) {
  const Study study = ParseStudy(Replaced(kGood, "study: small",
                                          "study: small\nwidths: [W4A4, W2A2]\nparts:\n  - name: main\n  - name: "
                                          "other\n    seeds: [7]\n    widths: [W2A2]"),
                                 "s.yaml");
  ASSERT_EQ(study.parts.size(), 2u);
  EXPECT_EQ(study.parts[0].widths.size(), 2u);
  EXPECT_EQ(study.parts[1].widths.size(), 1u);
  EXPECT_EQ(study.parts[1].seeds, std::vector<uint64_t>{7});
  EXPECT_EQ(study.parts[1].recipes.size(), 4u);
}

TEST(ParseStudy, SharpnessAndSweeps) {
  const std::string yaml =
      kGood + "sharpness: {images: 300, fault_rates: [1e-4], lines: [[standard, as]]}\nsweep: [as-saq]\n";
  const Part part = ParseStudy(yaml, "s.yaml").parts[0];
  ASSERT_TRUE(part.sharpness.has_value());
  EXPECT_EQ(part.sharpness->settings.images, 300);
  EXPECT_EQ(part.sharpness->settings.fault_rates, std::vector<double>{1e-4});
  EXPECT_EQ(part.sharpness->settings.restarts, recipe::SharpnessSettings{}.restarts) << "what is not said is default";
  EXPECT_EQ(part.sharpness->lines[0].second, "as");
  EXPECT_EQ(part.sweep->recipes, std::vector<std::string>{"as-saq"});
  EXPECT_EQ(part.sweep->images, 0);
  EXPECT_EQ(part.sweep->sample, 1.0);
  const auto message = [&](const std::string& from, const std::string& to) {
    return MessageOf(Replaced(yaml, from, to));
  };
  EXPECT_NE(message("images: 300", "imags: 300").find("s.yaml:16:13: unknown key 'imags' (did you mean images?)"),
            std::string::npos);
  EXPECT_NE(message("images: 300", "images: 0").find("s.yaml:16:21: images: 0 is outside"), std::string::npos);
  EXPECT_NE(message("[1e-4]", "[2]").find("fault_rates"), std::string::npos);
  EXPECT_NE(message("[standard, as]]", "[standard, ass]]").find("lines: there is no recipe 'ass'"), std::string::npos);
  EXPECT_NE(message("[as-saq]\n", "[nobody]\n").find("sweep: there is no recipe 'nobody'"), std::string::npos);
  const std::string sampled = Replaced(yaml, "[as-saq]\n", "{recipes: [as-saq], images: 500, sample: 0.05}\n");
  const SweepPart sweep = *ParseStudy(sampled, "s.yaml").parts[0].sweep;
  EXPECT_EQ(sweep.recipes, std::vector<std::string>{"as-saq"});
  EXPECT_EQ(sweep.images, 500);
  EXPECT_EQ(sweep.sample, 0.05);
  EXPECT_NE(message("[as-saq]\n", "{images: 500}\n").find("recipes"), std::string::npos);
  EXPECT_NE(message("[as-saq]\n", "{recipes: [as-saq], sample: 2}\n").find("sample"), std::string::npos);
}

TEST(ParseStudy, FloatRecipesAreTrainedAndNotBroken) {
  const std::string floats = Replaced(kGood, "  standard: {}", "  longer: {quantizer: float}\n  standard: {}");
  EXPECT_NE(MessageOf(floats).find("longer: a float network has no stored codes"), std::string::npos);
}

}  // namespace
}  // namespace steadfast::study
