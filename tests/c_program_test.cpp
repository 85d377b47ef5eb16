// Networks as C: what compilers make of them gives the engine's results, here and on an emulated Cortex-M, whose memory
// is then broken while it runs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/base/text.h"
#include "steadfast/data/dataset.h"
#include "steadfast/data/npy.h"
#include "steadfast/device/c_program.h"
#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/model_change.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/tflite_file.h"
#include "steadfast/store/store.h"
#include "tests/debug_port.h"
#include "tests/tflite_networks.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
using model::QuantizedModel;

const std::vector<std::string> kStrict = {"-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-ffp-contract=off"};

int64_t NumberFrom(const char* variable, int64_t usual) {
  const char* text = std::getenv(variable);
  return text == nullptr ? usual : ParseInt(text, variable, 1, 1 << 20);
}

void WriteFiles(const device::CProgram& program, const fs::path& folder) {
  for (const auto& [name, text] : program.files) WriteFileWhole(folder / name, text);
}

// A program's own files as one: compilers start once a network.
void WriteAsOneFile(const device::CProgram& program, const std::string& name, const fs::path& folder) {
  device::CProgram rest = program;
  std::string one;
  for (const char* part : {"_memory.c", ".c", "_selftest.c"}) {
    one += rest.files.at(name + part);
    rest.files.erase(name + part);
  }
  WriteFiles(rest, folder);
  WriteFileWhole(folder / (name + ".c"), one);
}

// The C files of a folder.
std::vector<std::string> SourcesOf(const fs::path& folder) {
  std::vector<std::string> sources;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".c") sources.push_back(entry.path().string());
  }
  std::sort(sources.begin(), sources.end());
  return sources;
}

void Compile(const fs::path& compiler, std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProcessResult result = RunProcess(compiler, arguments, [](std::string_view) {});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
}

std::vector<std::string> LinesOf(const fs::path& program, const std::vector<std::string>& arguments = {}) {
  std::vector<std::string> lines;
  const ProcessResult result = RunProcess(program, arguments, [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return lines;
}

// What faults can change in a C program: a random change of what its memory holds.
model::ModelChange ChangeOfMemory(const QuantizedModel& model, int count, std::mt19937_64& random) {
  std::set<int> placed;
  for (const device::PlacedParameter& one : device::PlacedParameters(model)) {
    if (!one.is_also_constant) placed.insert(one.parameter);
  }
  model::ModelChange change;
  for (const model::Change& one : engine::RandomChange(model, count, random).changes) {
    if (placed.count(one.parameter) > 0) change.changes.push_back(one);
  }
  return change;
}

struct Named {
  std::string name;
  QuantizedModel model;
};

std::vector<Named> RandomNetworks() {
  std::vector<Named> networks;
  const uint64_t graphs = engine::GraphsToTry(30);
  for (uint64_t seed = 0; seed < graphs; ++seed) {
    networks.push_back({fmt::format("onnx{}", seed), model::RandomModel(seed)});
    if (seed % 3 != 0) continue;
    networks.push_back({fmt::format("ort{}", seed), model::RandomModel(seed)});
    model::SetProfile(networks.back().model, model::Profile::kOrt);
  }
  for (uint64_t seed = 0; seed < (graphs + 1) / 2; ++seed) {
    for (const auto profile : {model::Profile::kXnnpack, model::Profile::kLiteRtBuiltin, model::Profile::kTflm}) {
      const TfliteNetwork network = seed % 3 == 2 ? RandomUnsignedTflite(seed) : RandomTflite(seed);
      QuantizedModel model = model::FromTflite(network.bytes, "random.tflite").model;
      model::SetProfile(model, profile);
      networks.push_back({fmt::format("tflite{}_{}", seed, static_cast<int>(profile)), std::move(model)});
    }
  }
  return networks;
}

// All self-tests, without faults and with some, in one program that sanitizers watch.
TEST(CPrograms, OfRandomNetworksGiveWhatTheEngineGives) {
  const TemporaryFolder folder;
  std::mt19937_64 random(11);
  std::string declarations, calls;
  const auto add = [&](const std::string& name, const QuantizedModel& model) {
    WriteAsOneFile(device::CProgramOf(model, name, name, model::RandomImages(model, 3, 5)), name, folder.path());
    declarations += fmt::format("#include \"{}.h\"\n", name);
    calls += fmt::format("  if ({0}_selftest() != 0) printf(\"{0}: image %d\\n\", {0}_selftest());\n", name);
  };
  size_t changed_ones = 0;
  for (const Named& network : RandomNetworks()) {
    add(network.name, network.model);
    QuantizedModel changed = network.model;
    Apply(ChangeOfMemory(network.model, 6, random), changed);
    if (changed.parameters == network.model.parameters) continue;
    add(network.name + "f", changed);
    ++changed_ones;
    // The program is the same: memory alone differs.
    const std::vector<uint8_t> images = model::RandomImages(network.model, 1, 5);
    const auto whole = device::CProgramOf(network.model, "net", "net", images).files,
               broken = device::CProgramOf(changed, "net", "net", images).files;
    for (const auto& [file, text] : whole) {
      if (file == "net_memory.c" || file == "net_selftest.c") continue;
      ASSERT_EQ(broken.at(file), text) << network.name << ": " << file;
    }
    ASSERT_NE(broken.at("net_memory.c"), whole.at("net_memory.c"));
  }
  EXPECT_GT(changed_ones, 20u);
  WriteFileWhole(folder.path() / "main.c",
                 declarations + "#include <stdio.h>\nint main(void) {\n" + calls + "  return 0;\n}\n");
  std::vector<std::string> arguments = kStrict;
  for (const std::string& source : SourcesOf(folder.path())) arguments.push_back(source);
  const std::string program = (folder.path() / "all").string();
  Compile(FindProgram("gcc"), arguments, {"-O1", "-fsanitize=undefined", "-fno-sanitize-recover", "-o", program});
  EXPECT_EQ(LinesOf(program), std::vector<std::string>{});
}

TEST(CPrograms, SelfTestsSeeAWrongResult) {
  const TemporaryFolder folder;
  const QuantizedModel model = model::RandomLeNet5(4, 4, 3);
  QuantizedModel changed = model;
  changed.parameters[0].bits[7] ^= 8u;
  const std::vector<uint8_t> images = model::RandomImages(model, 2, 1);
  auto files = device::CProgramOf(model, "net", "net", images).files;
  files["net_memory.c"] = device::CProgramOf(changed, "net", "net", images).files.at("net_memory.c");
  WriteFiles({files}, folder.path());
  std::vector<std::string> arguments = kStrict;
  for (const std::string& source : SourcesOf(folder.path())) arguments.push_back(source);
  const std::string program = (folder.path() / "selftest").string();
  Compile(FindProgram("gcc"), arguments, {"-O1", "-DSTEADFAST_SELFTEST_MAIN", "-o", program});
  EXPECT_EQ(RunProcess(program, {}, [](std::string_view) {}).exit_code, 1);
}

TEST(CPrograms, CompileWithoutAWarningByClangToo) {
  const fs::path clang = FindProgram("clang");
  if (clang.empty()) GTEST_SKIP() << "clang is not installed";
  const TemporaryFolder folder;
  for (const Named& network : RandomNetworks())
    WriteAsOneFile(device::CProgramOf(network.model, network.name, "net", model::RandomImages(network.model, 1, 5)),
                   network.name, folder.path());
  std::vector<std::string> arguments = kStrict;
  for (const std::string& source : SourcesOf(folder.path())) arguments.push_back(source);
  Compile(clang, arguments, {"-fsyntax-only"});
}

// A network of which nothing is stored; a C++ program that uses one.
TEST(CPrograms, OfNoWeightsAndForCPlusPlus) {
  QuantizedModel model;
  model.name = "pool";
  model.values.push_back({"input", {2, 4, 4}, model::ActivationCoding{.bits = 8, .scale = 1}});
  model.values.push_back({"pooled", {2, 1, 1}, model::ActivationCoding{.bits = 8, .scale = 1}});
  model.values.push_back({"flat", {2, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 1}});
  model::Window window;
  window.kernel_h = window.kernel_w = 4;
  model.nodes.push_back({"pool", model::MaxPool{window}, {0}, 1});
  model.nodes.push_back({"flatten", model::Flatten{}, {1}, 2});
  model::AddDequantizedOutput(model, 2, "answer");
  const TemporaryFolder folder;
  WriteFiles(device::CProgramOf(model, "net", "net", model::RandomImages(model, 2, 1)), folder.path());
  std::vector<std::string> arguments = kStrict;
  for (const std::string& source : SourcesOf(folder.path())) arguments.push_back(source);
  const auto in_folder = [&](const char* name) { return (folder.path() / name).string(); };
  Compile(FindProgram("gcc"), arguments, {"-DSTEADFAST_SELFTEST_MAIN", "-o", in_folder("selftest")});
  LinesOf(in_folder("selftest"));

  WriteFileWhole(folder.path() / "main.cpp", "#include \"net.h\"\nint main() { return net_selftest(); }\n");
  std::vector<std::string> objects;
  for (const std::string& source : SourcesOf(folder.path())) {
    objects.push_back(source + ".o");
    Compile(FindProgram("gcc"), kStrict, {"-c", source, "-o", objects.back()});
  }
  objects.insert(objects.end(), {in_folder("main.cpp"), "-o", in_folder("cplusplus")});
  Compile(FindProgram("g++"), objects, {});
  LinesOf(in_folder("cplusplus"));
}

TEST(CPrograms, WantANameThatCTakes) {
  const QuantizedModel model = model::RandomLeNet5(4, 4, 3);
  EXPECT_EQ(device::IdentifierOf("LeNet-5 (best).v2"), "lenet_5__best__v2");
  EXPECT_EQ(device::IdentifierOf("5net"), "net_5net");
  for (const char* taken : {"stdint", "float", "test", "all", "steadfast_device", "main"})
    EXPECT_EQ(device::IdentifierOf(taken), std::string("net_") + taken);
  EXPECT_THROW(device::CProgramOf(model, "my net", "m.onnx", model::RandomImages(model, 1, 1)), UsageError);
}

// ---- on an emulated Cortex-M ----

struct OnDevice {
  std::string name;
  fs::path file;
  int64_t images;       // that the device runs; STEADFAST_DEVICE_IMAGES: of all networks
  int64_t flips;        // STEADFAST_DEVICE_FLIPS: of LeNet-5; others take their share of it
  int64_t flip_images;  // that each flip is seen on
};
std::ostream& operator<<(std::ostream& stream, const OnDevice& network) {
  return stream << network.name;
}

// The codes or the real numbers that a program gives, as the device has them.
class Results {
 public:
  explicit Results(const QuantizedModel& model) : model_(model) {
    for (const model::Node& node : model.nodes) {
      if (node.output == model.output && node.operation.Is<model::Dequantize>()) codes_ = node.input();
    }
  }
  size_t bytes() const { return static_cast<size_t>(model_.classes()) * (codes_ < 0 ? 4 : 1); }
  std::string type() const {
    if (codes_ < 0) return "float";
    return model_.value(codes_).coding->stored_offset() != 0 ? "int8_t" : "uint8_t";
  }
  // Of images as codes: the bytes that a device must give. Real numbers that are none are 0xFF.
  std::vector<uint8_t> Of(const QuantizedModel& changed, std::span<const uint8_t> images) const {
    engine::Trace trace;
    const std::vector<float> logits = engine::RunReference(changed, images, &trace);
    std::vector<uint8_t> bytes;
    if (codes_ >= 0) {
      for (const uint8_t code : trace.codes[static_cast<size_t>(codes_)])
        bytes.push_back(static_cast<uint8_t>(code + model_.value(codes_).coding->stored_offset()));
      return bytes;
    }
    bytes.resize(logits.size() * 4);
    std::memcpy(bytes.data(), logits.data(), bytes.size());
    return WithoutNaN(bytes);
  }
  std::vector<uint8_t> WithoutNaN(std::vector<uint8_t> bytes) const {
    if (codes_ >= 0) return bytes;
    for (size_t i = 0; i < bytes.size(); i += 4) {
      float real = 0;
      std::memcpy(&real, &bytes[i], 4);
      if (std::isnan(real)) std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(i), 4, uint8_t{0xFF});
    }
    return bytes;
  }
  // The largest, of equal ones the first; what is not a number is the smallest.
  std::vector<int> Classes(const std::vector<uint8_t>& bytes) const {
    const auto classes = static_cast<size_t>(model_.classes());
    std::vector<int> chosen;
    for (size_t image = 0; image < bytes.size(); image += this->bytes()) {
      int best = 0;
      double best_score = -INFINITY;
      for (size_t c = 0; c < classes; ++c) {
        double score = 0;
        if (codes_ < 0) {
          float real = 0;
          std::memcpy(&real, &bytes[image + 4 * c], 4);
          score = std::isnan(real) ? -INFINITY : double{real};
        } else {
          const uint8_t byte = bytes[image + c];
          score = type() == "int8_t" ? static_cast<int8_t>(byte) : byte;
        }
        if (score > best_score) {
          best = static_cast<int>(c);
          best_score = score;
        }
      }
      chosen.push_back(best);
    }
    return chosen;
  }

 private:
  const QuantizedModel& model_;
  int codes_ = -1;
};

class OnCortexM : public testing::TestWithParam<OnDevice> {
 protected:
  void SetUp() override {
    compiler_ = FindProgram("arm-none-eabi-gcc");
    qemu_ = FindProgram("qemu-system-arm");
    if (compiler_.empty() || qemu_.empty()) GTEST_SKIP() << "no cross compiler and emulator of Cortex-M";
    if (!fs::exists(GetParam().file)) GTEST_SKIP() << GetParam().file << " is not here: set STEADFAST_DATA";
    model_ = model::ReadModel(GetParam().file.string());
  }

  // Images and labels: of LeNet-5 those of its data set where it is installed, elsewhere random ones.
  void TakeImages(int64_t count) {
    const std::string dataset = "fashion-mnist";
    const bool is_lenet = model_.value(0).shape == model::ValueShape{1, 28, 28};
    if (is_lenet && data::FindDataset(dataset, {})) {
      data::ImageSet set = data::LoadDataset(dataset, {}, data::Split::kTest);
      images_.assign(set.images.begin(), set.images.begin() + count * 784);
      labels_.assign(set.labels.begin(), set.labels.begin() + count);
    } else {
      images_ = model::RandomImages(model_, count, 3);
      for (int64_t i = 0; i < count; ++i) labels_.push_back(static_cast<uint16_t>(i % model_.classes()));
    }
  }

  // A program that runs all images again and again, and stops after each round.
  void Build() {
    const Results results(model_);
    const auto elements = static_cast<size_t>(model_.value(0).shape.elements());
    const size_t count = images_.size() / elements;
    WriteFiles(device::CProgramOf(model_, "net", GetParam().name, std::span(images_).first(elements)), folder_.path());
    fs::remove(folder_.path() / "net_selftest.c");
    const model::ActivationCoding& coding = *model_.value(0).coding;
    const model::ValueShape& shape = model_.value(0).shape;
    const bool is_channels_last = model::IsOfTflite(model_.profile) && !shape.flat;
    const int64_t positions = shape.height * shape.width;
    std::string images;
    for (size_t i = 0; i < count; ++i) {
      images += "{";
      for (int64_t at = 0; at < shape.elements(); ++at) {
        const int64_t from = is_channels_last ? at % shape.channels * positions + at / shape.channels : at;
        images += fmt::format("{},", images_[i * elements + static_cast<size_t>(from)] + coding.stored_offset());
      }
      images += "},\n";
    }
    const std::string main = fmt::format(
        "#include \"net.h\"\n"
        "static const {} images[{}][{}] = {{\n{}}};\n"
        "{} results[{}][{}];\n"
        "__attribute__((noinline, section(\".stop\"))) void round_done(void) {{ __asm volatile(\"\" ::: \"memory\"); "
        "}}\n"
        "int main(void) {{\n  int i;\n  for (;;) {{\n    for (i = 0; i < {}; ++i) net_run(images[i], results[i]);\n"
        "    round_done();\n  }}\n}}\n",
        coding.stored_offset() != 0 ? "int8_t" : "uint8_t", count, elements, images, results.type(), count,
        model_.classes(), count);
    WriteFileWhole(folder_.path() / "main.c", main);
    const fs::path board = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "cortex_m";
    std::vector<std::string> arguments = {"-std=c99",
                                          "-ffp-contract=off",
                                          "-O2",
                                          "-mcpu=cortex-m3",
                                          "-mthumb",
                                          "-nostartfiles",
                                          "-DSTEADFAST_MEMORY=",
                                          "-T" + (board / "link.ld").string(),
                                          "-o",
                                          Elf(),
                                          (board / "start.c").string()};
    for (const std::string& source : SourcesOf(folder_.path())) arguments.push_back(source);
    Compile(compiler_, arguments, {});
    if (HasFatalFailure()) return;
    const fs::path nm = FindProgram("arm-none-eabi-nm");
    for (const std::string& line : LinesOf(nm, {Elf()})) {
      const std::vector<std::string> fields = Split(line, ' ');
      if (fields.size() == 3) symbols_[fields[2]] = static_cast<uint32_t>(std::strtoul(fields[0].c_str(), nullptr, 16));
    }
    device_.emplace(qemu_, Elf(), folder_.path());
  }

  // What the device gives for all images.
  std::vector<uint8_t> Round() {
    const Results results(model_);
    device_->RunTo(symbols_.at("round_done"));
    return results.WithoutNaN(
        device_->Read(symbols_.at("results"),
                      results.bytes() * (images_.size() / static_cast<size_t>(model_.value(0).shape.elements()))));
  }

  std::string Elf() const { return (folder_.path() / "net.elf").string(); }

  const TemporaryFolder folder_;
  fs::path compiler_, qemu_;
  QuantizedModel model_;
  std::vector<uint8_t> images_;
  std::vector<uint16_t> labels_;
  std::map<std::string, uint32_t> symbols_;
  std::optional<EmulatedDevice> device_;
};

// By its self-test: as a program of this machine, and as one of ARM's under an emulator of programs.
TEST_P(OnCortexM, SelfTestsAreRightHereAndUnderUserEmulation) {
  const fs::path emulator = FindProgram("qemu-arm");
  if (emulator.empty()) GTEST_SKIP() << "qemu-arm is not installed";
  TakeImages(NumberFrom("STEADFAST_DEVICE_IMAGES", GetParam().images));
  WriteFiles(device::CProgramOf(model_, "net", GetParam().name, images_), folder_.path());
  std::vector<std::string> arguments = kStrict;
  for (const std::string& source : SourcesOf(folder_.path())) arguments.push_back(source);
  const std::string here = (folder_.path() / "here").string();
  Compile(FindProgram("gcc"), arguments, {"-O2", "-DSTEADFAST_SELFTEST_MAIN", "-o", here});
  if (HasFatalFailure()) return;
  LinesOf(here);
  Compile(compiler_, arguments, {"-O2", "-DSTEADFAST_SELFTEST_MAIN", "--specs=rdimon.specs", "-o", Elf()});
  if (HasFatalFailure()) return;
  LinesOf(emulator, {Elf()});
}

TEST_P(OnCortexM, ImagesGiveWhatTheEngineGives) {
  const int64_t images = NumberFrom("STEADFAST_DEVICE_IMAGES", GetParam().images);
  TakeImages(images);
  Build();
  if (HasFatalFailure()) return;
  EXPECT_EQ(Round(), Results(model_).Of(model_, images_));
  RecordProperty("images", static_cast<int>(images));
}

TEST_P(OnCortexM, BitsFlippedInItsMemoryDoWhatWasPredicted) {
  constexpr int64_t kUsualFlips = 50;
  const int64_t flips = GetParam().flips * NumberFrom("STEADFAST_DEVICE_FLIPS", kUsualFlips) / kUsualFlips;
  TakeImages(GetParam().flip_images);
  Build();
  if (HasFatalFailure()) return;
  const Results results(model_);
  const std::vector<uint8_t> clean = results.Of(model_, images_);
  ASSERT_EQ(Round(), clean);

  const uint32_t memory = symbols_.at("net_memory");
  std::vector<device::PlacedParameter> weights, others;
  for (const device::PlacedParameter& one : device::PlacedParameters(model_)) {
    if (one.is_also_constant) continue;
    (model_.parameter(one.parameter).role == model::Role::kWeight ? weights : others).push_back(one);
  }
  std::mt19937_64 random(7);
  std::string list = "trial,tensor,index,bit,kind\n";
  std::vector<int64_t> correct;
  int64_t moved = 0;
  for (int64_t flip = 0; flip < flips; ++flip) {
    const auto& arrays = flip % 2 == 0 || others.empty() ? weights : others;
    const device::PlacedParameter& placed = arrays[random() % arrays.size()];
    const model::Parameter& parameter = model_.parameter(placed.parameter);
    const int bits = parameter.format.bits(), a_word = 32 / bits;
    const auto element = static_cast<int64_t>(random() % parameter.bits.size());
    const int bit = static_cast<int>(random() % static_cast<uint64_t>(bits));
    const auto place = static_cast<uint32_t>(element % a_word * bits + bit);
    const uint32_t address = memory + static_cast<uint32_t>(4 * (placed.first_word + element / a_word)) + place / 8;

    const std::vector<uint8_t> before = device_->Read(address, 1);
    device_->Write(address, std::vector<uint8_t>{static_cast<uint8_t>(before[0] ^ 1u << place % 8)});
    const std::vector<uint8_t> given = Round();
    device_->Write(address, before);

    QuantizedModel changed = model_;
    changed.parameters[static_cast<size_t>(placed.parameter)].bits[static_cast<size_t>(element)] ^= 1u << bit;
    ASSERT_EQ(given, results.Of(changed, images_))
        << "flip " << flip << ": " << parameter.name << "[" << element << "] bit " << bit;
    moved += given != clean ? 1 : 0;
    const std::vector<int> classes = results.Classes(given);
    int64_t right = 0;
    for (size_t i = 0; i < classes.size(); ++i) right += classes[i] == labels_[i] ? 1 : 0;
    correct.push_back(right);
    list += fmt::format("{},{},{},{},flip\n", flip, CsvField(parameter.name), element, bit);
  }
  EXPECT_GT(moved, flips / 10);
  EXPECT_EQ(Round(), clean);

  // And what the program said of the same faults.
  const data::NpyArray images = {"|u1",
                                 {static_cast<int64_t>(labels_.size()), model_.value(0).shape.channels,
                                  model_.value(0).shape.height, model_.value(0).shape.width},
                                 images_},
                       labels = {"|u1", {static_cast<int64_t>(labels_.size())}, {labels_.begin(), labels_.end()}};
  for (const auto& [name, array] : {std::pair{"test_images.npy", &images}, std::pair{"test_labels.npy", &labels},
                                    std::pair{"train_images.npy", &images}, std::pair{"train_labels.npy", &labels}}) {
    const std::vector<uint8_t> bytes = data::ToNpy(*array);
    WriteFileWhole(folder_.path() / name, std::string(bytes.begin(), bytes.end()));
  }
  WriteFileWhole(folder_.path() / "flips.csv", list);
  const std::string store = (folder_.path() / "trials.sqlite").string();
  LinesOf(STEADFAST_PROGRAM, {"inject", GetParam().file.string(), "--dataset", "npy", "--data", folder_.path().string(),
                              "--fault-list", (folder_.path() / "flips.csv").string(), "--store", store});
  std::vector<int64_t> predicted(correct.size(), -1);
  for (const store::TrialRow& trial : store::Store::OpenForReading(store).Trials())
    predicted.at(static_cast<size_t>(trial.trial)) = trial.correct;
  EXPECT_EQ(predicted, correct);
  RecordProperty("flips", static_cast<int>(flips));
  RecordProperty("flips_that_moved_a_result", static_cast<int>(moved));
}

// What compilers and emulators do is nothing that sanitizers of this program watch.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OnCortexM);
#ifndef __SANITIZE_ADDRESS__
const fs::path kModels = fs::path(STEADFAST_SOURCE_DIR) / "models";
fs::path OutsideModel(const std::string& name) {
  const char* data = std::getenv("STEADFAST_DATA");
  return data == nullptr ? fs::path(name) : fs::path(data) / "tflite" / name;
}

INSTANTIATE_TEST_SUITE_P(Networks, OnCortexM,
                         testing::Values(OnDevice{"LeNet5", kModels / "lenet5-w4a4-as-saq.onnx", 20, 50, 8},
                                         OnDevice{"ResNet8", kModels / "resnet8-w4a4-standard.onnx", 2, 5, 2},
                                         OnDevice{"OutsideResNet8", OutsideModel("pretrainedResnet_quant.tflite"), 2, 5,
                                                  2}),
                         [](const auto& test) { return test.param.name; });
#endif

}  // namespace
}  // namespace steadfast
