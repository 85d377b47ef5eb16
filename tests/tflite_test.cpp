// TFLite files: that they are read, run by every path of the engine as the scalar rules say, and run so by LiteRT.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/input_scaling.h"
#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/changed_file.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/tflite_file.h"
#include "tests/every_path.h"
#include "tests/tflite_networks.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kImages = kImagesOfPaths;

model::QuantizedModel ModelOf(const TfliteNetwork& network, model::Profile profile = model::Profile::kXnnpack) {
  model::QuantizedModel model = model::FromTflite(network.bytes, "random.tflite").model;
  model.profile = profile;
  return model;
}

TEST(Tflite, IsReadInTheFilesOwnOrder) {
  const TfliteNetwork network = RandomTflite(1);
  const model::TfliteModel file = model::FromTflite(network.bytes, "random.tflite");
  EXPECT_EQ(file.model.profile, model::Profile::kXnnpack);
  EXPECT_FALSE(file.model.real_input);
  ASSERT_EQ(file.offsets.size(), file.model.parameters.size());
  bool has_channels_last = false;
  for (size_t p = 0; p < file.model.parameters.size(); ++p) {
    const model::Parameter& parameter = file.model.parameters[p];
    const bool is_code = parameter.format.kind == model::StorageFormat::Kind::kCodes;
    for (int64_t i = 0; i < parameter.elements(); ++i) {
      const size_t at = file.offsets[p] + static_cast<size_t>(i) * (is_code ? 1 : 4);
      uint32_t stored = 0;
      for (size_t byte = 0; byte < (is_code ? 1 : 4); ++byte) stored |= uint32_t{network.bytes[at + byte]} << 8 * byte;
      ASSERT_EQ(parameter.bits[static_cast<size_t>(i)], stored) << parameter.name << " element " << i;
    }
    if (parameter.role != model::Role::kWeight) continue;
    has_channels_last |= parameter.channels_last && parameter.shape[3] > 1;
    for (int64_t i = 0; i < parameter.elements(); ++i)
      ASSERT_EQ(parameter.IndexOf(parameter.OutputOf(i), parameter.ProductOf(i)), i) << parameter.name;
  }
  EXPECT_TRUE(has_channels_last);
}

TEST(Tflite, OfRealNumbersWantsToKnowWhatBytesAre) {
  const model::QuantizedModel model = model::FromTflite(TfliteOfReals(3, 8).bytes, "reals.tflite").model;
  EXPECT_TRUE(model.real_input && model.needs_input_scaling && model.quantizes_input);
  EXPECT_EQ(model.classes(), 5);
  EXPECT_THROW(campaign::CheckFits({}, model, "reals.tflite"), UsageError);
  EXPECT_NO_THROW(campaign::CheckFits({.scale = 1.0 / 255}, model, "reals.tflite"));
}

// What a runtime would do otherwise, or not at all.
TEST(Tflite, RefusesWhatItWouldAnswerOtherwise) {
  const auto why = [](const TfliteNetwork& network) -> std::string {
    try {
      model::FromTflite(network.bytes, "m.tflite");
      return "read";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(why(TfliteResized(14, 28)), "read");
  EXPECT_NE(why(TfliteResized(14, 46)).find("take other elements"), std::string::npos);
  EXPECT_NE(why(TfliteResized(2, 82)).find("take other elements"), std::string::npos);
  EXPECT_NE(why(TfliteOfMovedImages()).find("moves images"), std::string::npos) << why(TfliteOfMovedImages());
  EXPECT_NE(why(TfliteOfMixedTypes()).find("int8 and uint8"), std::string::npos) << why(TfliteOfMixedTypes());

  const TemporaryFolder folder;
  const std::vector<uint8_t> bytes = RandomUnsignedTflite(1).bytes;
  WriteFileWhole(folder.path() / "u.tflite", std::string(bytes.begin(), bytes.end()));
  EXPECT_NO_THROW(model::ReadModelFile(folder.path() / "u.tflite"));
  EXPECT_THROW(model::ReadModelFile(folder.path() / "u.tflite", {.profile = model::Profile::kTflm}), UsageError);
}

// Two tensors in one buffer: a fault would be in both.
TEST(Tflite, SharedBytesAreRefused) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const std::vector<uint8_t> bytes = TfliteWithSharedBiases(seed).bytes;
    try {
      model::FromTflite(bytes, "shared.tflite");
      ADD_FAILURE() << "read";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("shares its bytes"), std::string::npos) << error.what();
    }
  }
}

TEST(Tflite, TruncatedAndAlteredFilesAreRefusedOrRead) {
  const std::vector<uint8_t> bytes = RandomTflite(2).bytes;
  int refused = 0;
  const auto read = [&](const std::vector<uint8_t>& altered) {
    try {
      model::FromTflite(altered, "altered.tflite");
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("altered.tflite: ")) << error.what();
      ++refused;
    }
  };
  for (size_t size = 0; size < bytes.size(); size += 37)
    read({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
  EXPECT_GT(refused, 20);
  std::mt19937_64 random(5);
  for (int i = 0; i < 3000; ++i) {
    std::vector<uint8_t> altered = bytes;
    for (uint64_t flips = 1 + random() % 4; flips > 0; --flips)
      altered[random() % altered.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    read(altered);
  }
}

TEST(Tflite, AChangedFileIsTheChangedModel) {
  std::mt19937_64 random(9);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const TfliteNetwork network = seed % 2 == 1 ? RandomUnsignedTflite(seed) : RandomTflite(seed);
    model::QuantizedModel model = ModelOf(network);
    model::ModelChange change;
    for (const model::Change& one : engine::RandomChange(model, 8, random).changes) {
      if (!model.parameter(one.parameter).format.is_float()) change.changes.push_back(one);
    }
    const std::vector<uint8_t> bytes = model::WithChange(network.bytes, "random.tflite", change);
    ASSERT_EQ(bytes.size(), network.bytes.size());
    Apply(change, model);
    EXPECT_EQ(model::FromTflite(bytes, "changed.tflite").model.parameters, model.parameters);
    std::vector<uint8_t> back = bytes;  // and in no other byte
    model::ModelChange undone = change;
    for (model::Change& one : undone.changes) std::swap(one.old_bits, one.new_bits);
    EXPECT_EQ(model::WithChange(bytes, "changed.tflite", undone), network.bytes);
    EXPECT_THROW(model::WithChange(bytes, "changed.tflite", change), InputError) << "it holds other bits";
  }
}

// ---- the engine under XNNPACK's arithmetic ----

constexpr model::Profile kProfiles[] = {model::Profile::kXnnpack, model::Profile::kLiteRtBuiltin,
                                        model::Profile::kXnnpack, model::Profile::kTflm};

class TfliteOnSets : public engine::OnInstructionSet {};
INSTANTIATE_TEST_SUITE_P(InstructionSets, TfliteOnSets, testing::ValuesIn(engine::SetsToTry()), engine::SetName);

TEST_P(TfliteOnSets, EveryPathEqualsTheReferenceUnderChanges) {
  std::mt19937_64 random(3);
  const uint64_t networks = engine::GraphsToTry(40);
  for (uint64_t seed = 0; seed < networks; ++seed) {
    const TfliteNetwork network = seed % 3 == 2 ? RandomUnsignedTflite(seed) : RandomTflite(seed);
    const model::QuantizedModel model = ModelOf(network, kProfiles[seed % std::size(kProfiles)]);
    ASSERT_NO_FATAL_FAILURE(ExpectEveryPathEqualsTheReference(model, seed, GetParam(), {1, 1, 1, 3, 20}, random));
  }
}

TEST_P(TfliteOnSets, SparsePathsAndImagesOfTheirOwnEqualTheReference) {
  std::mt19937_64 random(4);
  const uint64_t networks = engine::GraphsToTry(24);
  for (uint64_t seed = 0; seed < networks; ++seed) {
    const model::QuantizedModel model = ModelOf(RandomTflite(seed), kProfiles[seed % std::size(kProfiles)]);
    const std::vector<uint8_t> images = model::RandomImages(model, kImages, seed);
    const auto elements = static_cast<size_t>(model.value(0).shape.elements());
    engine::DenseEngine sparse(model, GetParam());
    sparse.UseSparsePaths();
    const engine::PreparedImages prepared(images, model.value(0).shape.elements());
    ASSERT_EQ(sparse.Run(prepared), engine::RunReference(model, images)) << "network " << seed;

    std::vector<model::ModelChange> changes(kImages);
    for (size_t i = 0; i < changes.size(); i += 2) changes[i] = engine::RandomChange(model, 3, random);
    engine::DenseEngine dense(model, GetParam());
    dense.SetImageFaults(
        [&](int64_t first, int64_t count) {
          model::ImageFaults faults;
          faults.values.values.resize(model.values.size());
          faults.changes = {changes.begin() + first, changes.begin() + first + count};
          return faults;
        },
        model);
    const std::vector<float> found = dense.Run(prepared);
    const auto classes = static_cast<size_t>(model.classes());
    for (size_t i = 0; i < changes.size(); ++i) {
      model::QuantizedModel changed = model;
      Apply(changes[i], changed);
      const std::vector<float> expected =
          engine::RunReference(changed, std::span(images).subspan(i * elements, elements));
      for (size_t k = 0; k < classes; ++k)
        ASSERT_EQ(std::bit_cast<uint32_t>(found[i * classes + k]), std::bit_cast<uint32_t>(expected[k]))
            << "network " << seed << ", image " << i;
    }
  }
}

// ---- LiteRT ----

std::string Modules() {
  const char* modules = std::getenv("STEADFAST_LITERT");
  return modules != nullptr ? modules : STEADFAST_ORACLE_MODULES;
}

#define SKIP_WITHOUT_LITERT()                              \
  if (!fs::exists(fs::path(Modules()) / "@litertjs/core")) \
  GTEST_SKIP() << "no @litertjs/core in " << Modules()     \
               << ": STEADFAST_ORACLE=ON tools/install-dependencies gets it from npm"

class LiteRt {
 public:
  explicit LiteRt(std::string kernels = "xnnpack") : kernels_(std::move(kernels)) {}

  struct Result {
    std::string error;
    std::vector<uint8_t> bytes;
  };
  void AddRaw(const std::vector<uint8_t>& tflite, const std::string& input) {
    const std::string file = (temporary_.path() / std::to_string(jobs_.size())).string();
    WriteFileWhole(file + ".tflite", std::string(tflite.begin(), tflite.end()));
    WriteFileWhole(file + ".in", input);
    jobs_.push_back({{"model", file + ".tflite"}, {"input", file + ".in"}, {"output", file + ".out"}});
  }
  // codes: of the model's input, by channels, rows and columns, one after the other.
  void Add(const std::vector<uint8_t>& tflite, const model::Value& value, const std::vector<uint8_t>& codes) {
    const model::ValueShape& shape = value.shape;
    const int offset = value.coding->stored_offset();
    std::string input;
    for (size_t image = 0; image < codes.size(); image += static_cast<size_t>(shape.elements())) {
      for (int64_t place = 0; place < shape.height * shape.width; ++place) {
        for (int64_t c = 0; c < shape.channels; ++c)
          input.push_back(
              static_cast<char>(codes[image + static_cast<size_t>(c * shape.height * shape.width + place)] + offset));
      }
    }
    AddRaw(tflite, input);
  }
  std::vector<Result> Run() {
    WriteFileWhole(temporary_.path() / "jobs.json", jobs_.dump());
    const auto process = RunProcess("/usr/bin/env",
                                    {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/litert_run.cjs", Modules(),
                                     (temporary_.path() / "jobs.json").string(), kernels_},
                                    [](std::string_view) {});
    EXPECT_EQ(process.exit_code, 0) << process.errors;
    std::vector<Result> results;
    for (const auto& job : jobs_) {
      const std::string output = job["output"].get<std::string>();
      Result result;
      if (fs::exists(output + ".error"))
        result.error = ReadTextFile(output + ".error");
      else
        result.bytes = ReadFile(output, uint64_t{1} << 31);
      results.push_back(std::move(result));
    }
    return results;
  }

 private:
  const std::string kernels_;
  const TemporaryFolder temporary_;
  nlohmann::json jobs_ = nlohmann::json::array();
};

// A value's codes of one image as the file has them.
std::vector<uint8_t> InFilesOrder(const model::Value& value, std::span<const uint8_t> codes) {
  const model::ValueShape& shape = value.shape;
  const int offset = value.coding->stored_offset();
  std::vector<uint8_t> stored;
  for (int64_t place = 0; place < shape.height * shape.width; ++place) {
    for (int64_t c = 0; c < shape.channels; ++c)
      stored.push_back(
          static_cast<uint8_t>(codes[static_cast<size_t>(c * shape.height * shape.width + place)] + offset));
  }
  return stored;
}

struct Difference {
  int64_t codes = 0, differing = 0;
  std::map<std::string, int64_t> by_kind;  // of operators: of each image the first that differs
};

// Every tensor of every image, each as it follows from the network's input alone.
void Compare(const model::QuantizedModel& model, const std::vector<ComputedTensor>& tensors,
             const std::vector<uint8_t>& images, const std::vector<uint8_t>& outputs, Difference& difference) {
  engine::Trace trace;
  engine::RunReference(model, images, &trace);
  const auto count = static_cast<int64_t>(images.size()) / model.value(0).shape.elements();
  size_t at = 0;
  for (int64_t image = 0; image < count; ++image) {
    bool is_first = true;
    for (const ComputedTensor& tensor : tensors) {
      const size_t next = at + static_cast<size_t>(tensor.elements);
      for (const model::Node& node : model.nodes) {
        const model::Value& value = model.value(node.output);
        if (value.name != tensor.name || value.shape.elements() != tensor.elements) continue;  // a PAD has fewer here
        const auto elements = static_cast<size_t>(value.shape.elements());
        const auto codes = InFilesOrder(value, std::span(trace.codes[static_cast<size_t>(node.output)])
                                                   .subspan(static_cast<size_t>(image) * elements, elements));
        ASSERT_LE(next, outputs.size());
        int64_t differing = 0;
        for (size_t i = 0; i < elements; ++i) differing += codes[i] != outputs[at + i];
        difference.codes += static_cast<int64_t>(elements);
        difference.differing += differing;
        if (differing == 0 || !is_first) continue;
        const auto* function = node.operation.As<model::Elementwise>();
        difference.by_kind[std::string(model::KindOf(node)) + (function == nullptr ? "" : " " + function->function)] +=
            differing;
        is_first = false;
      }
      at = next;
    }
  }
  ASSERT_EQ(at, outputs.size());
}

void Print(const char* what, const Difference& difference) {
  std::printf("%s: %lld of %lld codes differ from LiteRT's\n", what, static_cast<long long>(difference.differing),
              static_cast<long long>(difference.codes));
  for (const auto& [kind, count] : difference.by_kind)
    std::printf("  %s: %lld\n", kind.c_str(), static_cast<long long>(count));
}

int64_t CountFrom(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : ParseInt(text, variable, 1, 1'000'000);
}

struct Kernels {
  model::Profile profile;
  const char* name;  // to litert_run.cjs
};
constexpr Kernels kXnnpack = {model::Profile::kXnnpack, "xnnpack"},
                  kBuiltin = {model::Profile::kLiteRtBuiltin, "builtin"};

class LiteRtKernels : public testing::TestWithParam<Kernels> {};
INSTANTIATE_TEST_SUITE_P(All, LiteRtKernels, testing::Values(kXnnpack, kBuiltin),
                         [](const auto& test) { return std::string(test.param.name); });

// The first `networks` of a kind.
void ExpectEveryCode(const Kernels& kernels, TfliteNetwork (*make)(uint64_t seed), uint64_t networks,
                     const char* what) {
  LiteRt runtime(kernels.name);
  std::vector<std::vector<uint8_t>> images;
  for (uint64_t seed = 0; seed < networks; ++seed) {
    const TfliteNetwork network = make(seed);
    const model::QuantizedModel model = ModelOf(network);
    images.push_back(model::RandomImages(model, 3, seed));
    runtime.Add(WithAllOutputs(network.bytes), model.value(0), images.back());
  }
  const auto results = runtime.Run();
  Difference difference;
  for (uint64_t seed = 0; seed < networks; ++seed) {
    ASSERT_EQ(results[seed].error, "") << "network " << seed;
    const int64_t before = difference.differing;
    const TfliteNetwork network = make(seed);
    Compare(ModelOf(network, kernels.profile), ComputedTensors(network.bytes), images[seed], results[seed].bytes,
            difference);
    EXPECT_EQ(difference.differing, before) << "network " << seed;
  }
  Print(what, difference);
}

TEST_P(LiteRtKernels, GiveEveryCodeOfRandomNetworks) {
  SKIP_WITHOUT_LITERT();
  const auto networks = static_cast<uint64_t>(CountFrom("STEADFAST_LITERT_NETWORKS", 150));
  ExpectEveryCode(GetParam(), RandomTflite, networks, "random networks");
}

TEST_P(LiteRtKernels, GiveEveryCodeOfRandomNetworksOfUint8) {
  SKIP_WITHOUT_LITERT();
  const auto networks = static_cast<uint64_t>(CountFrom("STEADFAST_LITERT_NETWORKS", 150));
  ExpectEveryCode(GetParam(), RandomUnsignedTflite, networks, "random networks of uint8");
}

// Bytes that enter a network of real numbers: pixel / 255, and steps of half a scale, which all are ties.
TEST(LiteRtXnnpack, QuantizesRealInputs) {
  SKIP_WITHOUT_LITERT();
  constexpr int kInputs = 256;
  std::vector<uint8_t> bytes(kInputs);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  LiteRt runtime;
  std::vector<std::vector<uint8_t>> expected;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const TfliteNetwork network = TfliteOfReals(seed, kInputs);
    const model::QuantizedModel model = ModelOf(network);
    const double scale = seed % 2 == 0 ? 1.0 / 255 : double{model.value(0).coding->scale} / 2;
    std::string reals;
    for (const uint8_t byte : bytes) {
      const float real = static_cast<float>(byte) * static_cast<float>(scale);
      reals.append(reinterpret_cast<const char*>(&real), sizeof(real));
    }
    runtime.AddRaw(WithAllOutputs(network.bytes), reals);
    expected.push_back(campaign::CodesOfImages(model, bytes, {.scale = scale}));
  }
  const auto results = runtime.Run();
  for (size_t i = 0; i < results.size(); ++i) {
    ASSERT_EQ(results[i].error, "") << "network " << i;
    int differing = 0;
    for (size_t k = 0; k < kInputs; ++k) differing += results[i].bytes[k] != static_cast<uint8_t>(expected[i][k] - 128);
    EXPECT_EQ(differing, 0) << "network " << i;
  }
}

// What a fault may do to a file that LiteRT still runs.
struct FaultProof {
  int64_t faults = 0, codes = 0;
  int64_t refused = 0;   // by LiteRT
  int64_t no_scale = 0;  // of the rest: a scale is no positive number any more, or beyond what factors hold
  std::vector<std::string> differing;             // what differed
  std::map<std::string, std::set<int>> bits_met;  // [role]
};

// Single faults of stored bits, every role and bit position in turn: the broken file, written by WithChange and run by
// LiteRT, against the broken model.
FaultProof ProveFaults(std::span<const uint8_t> bytes, const Kernels& kernels, int64_t faults, int64_t images,
                       uint64_t seed) {
  model::TfliteModel file = model::FromTflite(bytes, "m.tflite");
  file.model.profile = kernels.profile;
  const std::vector<uint8_t> codes = model::RandomImages(file.model, images, seed);
  std::mt19937_64 random(seed);
  std::map<model::Role, std::vector<int>> of_role;
  for (size_t p = 0; p < file.model.parameters.size(); ++p)
    of_role[file.model.parameters[p].role].push_back(static_cast<int>(p));
  FaultProof proof;
  std::vector<model::ModelChange> changes;
  LiteRt runtime(kernels.name);
  for (int64_t i = 0; i < faults; ++i) {
    auto role = of_role.begin();
    std::advance(role, i % static_cast<int64_t>(of_role.size()));
    const int index = role->second[random() % role->second.size()];
    const model::Parameter& parameter = file.model.parameter(index);
    const auto element = static_cast<int64_t>(random() % parameter.bits.size());
    const auto bit = static_cast<int>(i / static_cast<int64_t>(of_role.size()) % parameter.format.bits());
    const uint32_t stored = parameter.bits[static_cast<size_t>(element)];
    changes.push_back({{{index, element, stored, stored ^ 1u << bit}}});
    proof.bits_met[std::string(model::NameOf(role->first))].insert(bit);
    const auto broken = model::WithChange(bytes, "m.tflite", changes.back());
    runtime.Add(WithAllOutputs(broken), file.model.value(0), codes);
  }
  const auto results = runtime.Run();
  for (size_t i = 0; i < changes.size(); ++i) {
    ++proof.faults;
    if (!results[i].error.empty()) {
      ++proof.refused;
      continue;
    }
    model::QuantizedModel changed = file.model;
    Apply(changes[i], changed);
    Difference difference;
    Compare(changed, ComputedTensors(bytes), codes, results[i].bytes, difference);
    proof.codes += difference.codes;
    const model::Change& one = changes[i].changes[0];
    const model::Parameter& parameter = file.model.parameter(one.parameter);
    // Beyond 2^30 a fixed-point factor shifts by more bits than a word has, and XNNPACK leaves an operator to others.
    const float before = parameter.format.is_float() ? parameter.RealOfBits(one.old_bits) : 1,
                now = parameter.format.is_float() ? parameter.RealOfBits(one.new_bits) : 1;
    const bool is_beyond = now > before * 0x1p30f || now < before * 0x1p-30f;
    if (!(now > 0) || is_beyond) {
      ++proof.no_scale;
      continue;
    }
    if (difference.differing == 0) continue;
    proof.differing.push_back(fmt::format("{} '{}'[{}] {:#x} -> {:#x}: {} of {} codes, first of a {}",
                                          model::NameOf(parameter.role), parameter.name, one.index, one.old_bits,
                                          one.new_bits, difference.differing, difference.codes,
                                          difference.by_kind.begin()->first));
  }
  return proof;
}

void ExpectPredicted(const std::string& name, const FaultProof& proof) {
  std::printf(
      "%s: %lld faults, %lld refused by LiteRT, %lld scales that are none or too far away; of the rest %zu differ "
      "(%lld codes)\n",
      name.c_str(), static_cast<long long>(proof.faults), static_cast<long long>(proof.refused),
      static_cast<long long>(proof.no_scale), proof.differing.size(), static_cast<long long>(proof.codes));
  for (const auto& text : proof.differing) std::printf("  %s\n", text.c_str());
  EXPECT_TRUE(proof.differing.empty()) << name;
  EXPECT_LT(proof.refused + proof.no_scale, proof.faults / 3) << name;
  if (proof.faults < 128) return;
  for (const auto& [role, bits] : proof.bits_met) EXPECT_EQ(bits.size(), role == "weight" ? 8u : 32u) << role;
}

TEST_P(LiteRtKernels, AnswerToFaultsAsPredicted) {
  SKIP_WITHOUT_LITERT();
  for (const uint64_t seed : {200, 203})
    ExpectPredicted("network " + std::to_string(seed), ProveFaults(RandomTflite(seed).bytes, GetParam(), 128, 2, seed));
  ExpectPredicted("network 205 of uint8", ProveFaults(RandomUnsignedTflite(205).bytes, GetParam(), 128, 2, 205));
}

// Networks of others: $STEADFAST_DATA/tflite/*.tflite.
std::vector<fs::path> NetworksOfOthers() {
  std::vector<fs::path> paths;
  const char* data = std::getenv("STEADFAST_DATA");
  if (data == nullptr || !fs::is_directory(fs::path(data) / "tflite")) return paths;
  for (const auto& entry : fs::directory_iterator(fs::path(data) / "tflite")) {
    if (entry.path().extension() == ".tflite") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST_P(LiteRtKernels, GiveEveryCodeOfNetworksOfOthers) {
  SKIP_WITHOUT_LITERT();
  const std::vector<fs::path> paths = NetworksOfOthers();
  if (paths.empty()) GTEST_SKIP() << "no TFLite files in $STEADFAST_DATA/tflite";
  const int64_t images = CountFrom("STEADFAST_LITERT_IMAGES", 20);
  for (const fs::path& path : paths) {
    const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
    model::QuantizedModel model = model::FromTflite(bytes, path.string()).model;
    model.profile = GetParam().profile;
    const std::vector<uint8_t> codes = model::RandomImages(model, images, 7);
    LiteRt runtime(GetParam().name);
    runtime.Add(WithAllOutputs(bytes), model.value(0), codes);
    const auto results = runtime.Run();
    ASSERT_EQ(results[0].error, "") << path;
    Difference difference;
    Compare(model, ComputedTensors(bytes), codes, results[0].bytes, difference);
    Print(path.filename().c_str(), difference);
    EXPECT_EQ(difference.differing, 0) << path;
    ExpectPredicted(path.filename().string(),
                    ProveFaults(bytes, GetParam(), CountFrom("STEADFAST_LITERT_FAULTS", 256), 2, 11));
  }
}

}  // namespace
}  // namespace steadfast
