// ONNX files in other forms than QDQ: that they are read, run by every path of the engine as the scalar rules say, and
// run so by ONNX Runtime, faults included.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <onnx/defs/parser.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/base/text.h"
#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/changed_file.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"
#include "steadfast/model/tflite_file.h"
#include "steadfast/network/float_onnx.h"
#include "tests/every_path.h"
#include "tests/onnx_styles.h"
#include "tests/qoperator_networks.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
using model::QuantizedModel;

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
QuantizedModel Read(const std::string& bytes) {
  return model::FromOnnx(BytesOf(bytes), "made.onnx");
}

TEST(QOperator, IsReadWithItsOwnTensors) {
  const QOperatorNetwork network = MakeQOperatorNetwork(1);
  const QuantizedModel model = Read(network.bytes);
  EXPECT_EQ(model.profile, model::Profile::kOrt);
  EXPECT_TRUE(model.format.starts_with("ONNX (QOperator)")) << model.format;
  int biases = 0;
  for (const model::Parameter& parameter : model.parameters) {
    if (parameter.role == model::Role::kBias) {
      ++biases;
      EXPECT_EQ(parameter.scale, -1);
    }
  }
  EXPECT_GT(biases, 0);
}

class FormsOnSets : public engine::OnInstructionSet {};
INSTANTIATE_TEST_SUITE_P(InstructionSets, FormsOnSets, testing::ValuesIn(engine::SetsToTry()), engine::SetName);

// Under both profiles of ONNX files: networks of QOperator form, and of QDQ form in many styles.
TEST_P(FormsOnSets, EveryPathEqualsTheReferenceUnderChanges) {
  std::mt19937_64 random(3);
  const uint64_t networks = engine::GraphsToTry(48);
  for (uint64_t seed = 0; seed < networks; ++seed) {
    const StyledModel styled = MakeStyledModel(seed);
    const bool is_styled = seed % 3 == 2;
    if (is_styled && !styled.refused_for.empty()) continue;
    QuantizedModel model = Read(is_styled ? styled.bytes : MakeQOperatorNetwork(seed).bytes);
    if (is_styled) model::SetProfile(model, model::Profile::kOrt);
    if (seed % 6 == 1) model::SetProfile(model, model::Profile::kOnnx);
    ASSERT_NO_FATAL_FAILURE(ExpectEveryPathEqualsTheReference(model, seed, GetParam(), {1, 1, 3, 20}, random));
  }
}

// ---- files written by hand ----

std::string FileOf(const std::string& text) {
  onnx::ModelProto proto;
  const auto status = onnx::OnnxParser::Parse(proto, text.c_str());
  if (!status.IsOK()) throw InputError(status.ErrorMessage());
  return proto.SerializeAsString();
}
const model::Parameter& ParameterNamed(const QuantizedModel& model, const std::string& name) {
  for (const model::Parameter& parameter : model.parameters) {
    if (parameter.name == name) return parameter;
  }
  throw InputError("no parameter " + name);
}
std::string ErrorOf(const std::string& text) {
  try {
    Read(FileOf(text));
  } catch (const InputError& error) {
    return error.what();
  }
  return "read";
}
// The answers to images of codes [n, elements].
std::vector<float> Answers(const QuantizedModel& model, const std::vector<uint8_t>& codes) {
  return engine::RunReference(model, codes);
}

// A network that takes [N, 4] bytes, what stands between its quantized input and its logits, and their constants.
std::string Network(const std::string& constants, const std::string& nodes, const std::string& output = "float[N, 3] y",
                    const std::string& opsets = "\"\" : 13") {
  return "<ir_version: 7, opset_import: [" + opsets + "]>\ng (uint8[N, 4] x) => (" + output +
         ")\n<float s = {0.5}, uint8 z = {3}, float ws = {0.25}, int8 wz = {0}, float os = {1.5}, uint8 oz = {100}, "
         "int8[3, 4] w "
         "= {1, -2, 3, -4, 5, 6, -7, 7, 0, 1, 2, -3}" +
         constants + ">\n{ xr = DequantizeLinear(x, s, z)\n" + nodes + "\n}";
}
const std::vector<uint8_t> kCodes = {0, 1, 2, 3, 200, 100, 50, 25, 3, 3, 3, 3, 255, 0, 255, 0};

// By hand: sums of levels times 0.125.
std::vector<float> Sums() {
  const int weights[3][4] = {{1, -2, 3, -4}, {5, 6, -7, 7}, {0, 1, 2, -3}};
  std::vector<float> sums;
  for (size_t image = 0; image < 4; ++image) {
    for (const auto& row : weights) {
      int sum = 0;
      for (size_t i = 0; i < 4; ++i) sum += row[i] * (kCodes[image * 4 + i] - 3);
      sums.push_back(0.125f * static_cast<float>(sum));
    }
  }
  return sums;
}
std::vector<float> Rounded(const std::vector<float>& reals, float scale, int zero) {
  std::vector<float> rounded;
  for (const float real : reals)
    rounded.push_back(scale * (std::clamp(std::nearbyint(real / scale) + static_cast<float>(zero), 0.0f, 255.0f) -
                               static_cast<float>(zero)));
  return rounded;
}

const char* const kSum = "wr = DequantizeLinear(w, ws, wz)\n t = Gemm<transB = 1>(xr, wr)\n";

TEST(OnnxForms, AnswersMayBeCodes) {
  const std::vector<float> expected = Rounded(Sums(), 1.5f, 100);
  const std::string q = std::string(kSum) + "q = QuantizeLinear(t, os, oz)\n";
  EXPECT_EQ(Answers(Read(FileOf(Network("", q + "y = DequantizeLinear(q, os, oz)"))), kCodes), expected);
  const std::string codes = std::string(kSum) + "y = QuantizeLinear(t, os, oz)\n";
  EXPECT_EQ(Answers(Read(FileOf(Network("", codes, "uint8[N, 3] y"))), kCodes), expected);
  const std::string moved = q + "m = DequantizeLinear(q, os, oz)\n y = Flatten(m)";
  EXPECT_EQ(Answers(Read(FileOf(Network("", moved))), kCodes), expected);
}

TEST(OnnxForms, WhatKeepsTheOrderOfAnswersIsLeftOut) {
  for (const char* end :
       {"y = Softmax<axis = 1>(t)", "y = LogSoftmax(t)", "y = Identity(t)", "f = Flatten(t)\n y = Softmax(f)",
        "p = Softmax(t)\n y = ArgMax<axis = 1, keepdims = 0>(p)"}) {
    const QuantizedModel model = Read(FileOf(Network("", kSum + std::string(end))));
    EXPECT_EQ(Answers(model, kCodes), Sums()) << end;
    EXPECT_EQ(model.notes.empty(), std::string(end).find("max") == std::string::npos) << end;
  }
  EXPECT_NE(ErrorOf(Network("", kSum + std::string("y = Softmax<axis = 0>(t)"))).find("expected one of all classes"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Network("", kSum + std::string("y = ArgMax<axis = 1, select_last_index = 1>(t)")))
                .find("expected the first"),
            std::string::npos);
}

TEST(OnnxForms, WeightsMayBeTransposedOrRealNumbers) {
  const std::string transposed =
      "wr = DequantizeLinear(w, ws, wz)\n wt = Transpose<perm = [1, 0]>(wr)\n y = MatMul(xr, wt)";
  EXPECT_EQ(Answers(Read(FileOf(Network("", transposed))), kCodes), Sums());
  const std::string constants =
      ", float[3, 4] r = {0.24, -0.5, 0.75, -1.01, 1.25, 1.5, -1.75, 1.76, 0.01, 0.25, 0.5, -0.75}, float[3] wss = "
      "{0.25, "
      "0.25, 0.25}, int8[3] wzs = {0, 0, 0}";
  const std::string real =
      "wq = QuantizeLinear<axis = 0>(r, wss, wzs)\n wr = DequantizeLinear<axis = 0>(wq, wss, wzs)\n"
      "y = Gemm<transB = 1>(xr, wr)";
  const QuantizedModel model = Read(FileOf(Network(constants, real)));
  EXPECT_EQ(Answers(model, kCodes), Sums());
  EXPECT_EQ(ParameterNamed(model, "r.codes").format.codes.bits, 8);
  const auto bytes = FileOf(Network(constants, real));
  model::ModelChange change;
  const auto weight = static_cast<int>(&ParameterNamed(model, "r.codes") - model.parameters.data());
  change.changes.push_back({weight, 0, 1, 3});
  EXPECT_THROW(model::WithChange(BytesOf(bytes), "made.onnx", change), InputError);  // no file's own element
  // A runtime would quantize the weights anew by a faulty scale.
  const auto scale = static_cast<int>(&ParameterNamed(model, "wss") - model.parameters.data());
  const uint32_t old_bits = model.parameter(scale).bits[0];
  model::ModelChange of_scale;
  of_scale.changes.push_back({scale, 0, old_bits, old_bits ^ 1u << 23});
  EXPECT_THROW(model::WithChange(BytesOf(bytes), "made.onnx", of_scale), InputError);
}

TEST(OnnxForms, ClipsOfCodesSayWidths) {
  const std::string constants =
      ", int8 l = {-8}, int8 h = {7}, int8 nl = {-7}, uint8 al = {96}, uint8 ah = {103}, uint8 "
      "fl = {0}, uint8 fh = {127}";
  const std::string weights = "wc = Clip(w, l, h)\n wr = DequantizeLinear(wc, ws, wz)\n t = Gemm<transB = 1>(xr, wr)\n";
  const QuantizedModel four = Read(FileOf(Network(constants, weights + "y = Identity(t)")));
  EXPECT_EQ(ParameterNamed(four, "w").format.codes.bits, 4);
  EXPECT_EQ(ParameterNamed(four, "w").bits[1], 14u);
  EXPECT_EQ(four.clipped_weights, std::vector<std::string>{"w"});
  EXPECT_EQ(Answers(four, kCodes), Sums());
  const std::string narrow = "wc = Clip(w, nl, h)\n wr = DequantizeLinear(wc, ws, wz)\n y = Gemm<transB = 1>(xr, wr)\n";
  EXPECT_TRUE(ParameterNamed(Read(FileOf(Network(constants, narrow))), "w").format.codes.narrow);
  EXPECT_NE(ErrorOf(Network(", int8 l = {-4}, int8 h = {3}", weights + "y = Identity(t)")).find("cuts off code"),
            std::string::npos);
  // Of activations: a width where the bounds are one, codes that are cut where they are not.
  const std::string ends = "c = Clip(q, fl, fh)\n y = DequantizeLinear(c, os, oz)";
  const QuantizedModel seven =
      Read(FileOf(Network(constants, kSum + std::string("q = QuantizeLinear(t, os, oz)\n") + ends)));
  EXPECT_EQ(seven.value(seven.nodes[0].output).coding->bits, 7);
  std::vector<float> expected = Rounded(Sums(), 1.5f, 100);
  for (float& real : expected) real = std::min(real, 27 * 1.5f);
  EXPECT_EQ(Answers(seven, kCodes), expected);
  const std::string cut = "c = Clip(q, al, ah)\n y = DequantizeLinear(c, os, oz)";
  expected = Rounded(Sums(), 1.5f, 100);
  for (float& real : expected) real = std::clamp(real, -4 * 1.5f, 3 * 1.5f);
  EXPECT_EQ(
      Answers(Read(FileOf(Network(constants, kSum + std::string("q = QuantizeLinear(t, os, oz)\n") + cut))), kCodes),
      expected);
}

// An integer bias with a scale of its own is a real number; one that counts in steps of its sum is added to it.
TEST(OnnxForms, OnnxRuntimeAddsIntegerBiasesOfItsSumsScale) {
  for (const char* scale : {"0.125", "12.5"}) {
    const std::string constants = fmt::format(", int32[3] b = {{8, 16, -8}}, float bs = {{{}}}", scale);
    QuantizedModel model = Read(FileOf(Network(
        constants,
        "wr = DequantizeLinear(w, ws, wz)\n br = DequantizeLinear(b, bs)\n t = Gemm<transB = 1>(xr, wr, br)\n q = "
        "QuantizeLinear(t, os, oz)\n y = DequantizeLinear(q, os, oz)")));
    const std::vector<float> expected = Answers(model, kCodes);
    model::SetProfile(model, model::Profile::kOrt);
    EXPECT_EQ(model.nodes[0].operation.weighted()->steps[0].is_fused, std::string(scale) == "0.125");
    EXPECT_EQ(Answers(model, kCodes), expected) << scale;
  }
}

TEST(OnnxForms, ReadingsNameTheirProfileWhereTheFormHasAnother) {
  const TemporaryFolder folder;
  WriteFileWhole(folder.path() / "m.onnx", MakeQOperatorNetwork(1).bytes);
  for (const model::Profile profile : {model::Profile::kOnnx, model::Profile::kOrt}) {
    const model::ModelFile file = model::ReadModelFile(folder.path() / "m.onnx", {.profile = profile});
    EXPECT_EQ(model::ReadingOfHash(file.sha256).profile, profile);
  }
}

TEST(OnnxForms, UsersMaySayWidths) {
  const std::string bytes = FileOf(Network("", std::string(kSum) + "y = Identity(t)"));
  const TemporaryFolder folder;
  WriteFileWhole(folder.path() / "m.onnx", bytes);
  const model::ModelFile as_it_is = model::ReadModelFile(folder.path() / "m.onnx");
  const model::Reading reading{.stored_bits = {{"w", 4}}};
  const model::ModelFile file = model::ReadModelFile(folder.path() / "m.onnx", reading);
  EXPECT_EQ(file.sha256, as_it_is.sha256 + ":onnx;w=4");
  EXPECT_EQ(model::ReadingOfHash(file.sha256).stored_bits, reading.stored_bits);
  EXPECT_EQ(model::ReadingOfHash("ab:ort;a%3b%25=b=2;c=3").stored_bits,
            (std::map<std::string, int>{{"a;%=b", 2}, {"c", 3}}));
  EXPECT_EQ(ParameterNamed(file.model, "w").bits[1], 14u);
  EXPECT_EQ(Answers(file.model, kCodes), Sums());
  // A fault in the top of four bits: the container has its sign extended.
  model::ModelChange change;
  const auto weight = static_cast<int>(&ParameterNamed(file.model, "w") - file.model.parameters.data());
  change.changes.push_back({weight, 0, 1, 9});
  const auto changed = model::WithChange(BytesOf(bytes), "m.onnx", change, reading.stored_bits);
  EXPECT_EQ(ParameterNamed(model::FromOnnx(changed, "m.onnx"), "w").code(0), -7);
  const auto error_of = [&](const std::string& tensor, int bits) -> std::string {
    try {
      model::ReadModelFile(folder.path() / "m.onnx", {.stored_bits = {{tensor, bits}}});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "read";
  };
  EXPECT_NE(error_of("w", 3).find("holds code 5 at index 4, and 3 bits hold -4 to 3"), std::string::npos);
  EXPECT_NE(error_of("v", 3).find("has no weights of this name (it has w)"), std::string::npos);
}

TEST(OnnxForms, BiasesMayComeFirst) {
  const std::string constants = ", float[3] b = {1, 2, 3}, float[3] m = {2, 2, 2}";
  std::vector<float> expected = Sums();
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = 2 * expected[i] + static_cast<float>(i % 3 + 1);
  EXPECT_EQ(Answers(Read(FileOf(Network(constants, kSum + std::string("u = Mul(m, t)\n y = Add(b, u)")))), kCodes),
            expected);
}

TEST(OnnxForms, Int8InputsAreBytesWhereTheFileSaysSo) {
  const std::string rest =
      " z = {-128}, float ws = {1}, int8[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}>\n{ xr = DequantizeLinear(x, s, z)\n wr = "
      "DequantizeLinear(w, ws)\n y = Gemm<transB = 1>(xr, wr) }";
  const std::string start =
      "<ir_version: 7, opset_import: [\"\" : 13]>\ng (int8[N, 4] x) => (float[N, 2] y)\n<float s = ";
  const QuantizedModel bytes = Read(FileOf(start + "{1}, int8" + rest));
  EXPECT_FALSE(bytes.real_input);
  EXPECT_EQ(Answers(bytes, {1, 0, 0, 0}), (std::vector<float>{1, 5}));
  EXPECT_TRUE(Read(FileOf(start + "{0.5}, int8" + rest)).needs_input_scaling);
}

// QONNX by its definition: clip(x / scale + zero point), rounded, in real numbers.
TEST(OnnxForms, QonnxIsReadAsItsDefinitionSays) {
  const std::string opsets = "\"\" : 13, \"qonnx.custom_op.general\" : 1";
  const std::string constants =
      ", float[3, 4] r = {0.24, -0.5, 0.75, -1.01, 1.25, 1.4, -1.75, 9, 0.01, 0.25, 0.5, -9}, float zero = {0}, float "
      "four = "
      "{4}, float three = {3}, float two = {2}, float sixteen = {16}, float[3] b = {0.3, -0.2, 1.1}, float bs = "
      "{0.125}, float as = {4}";
  const std::string text = Network(
      constants,
      "wr = qonnx.custom_op.general.Quant<signed = 1, narrow = 1, rounding_mode = \"ROUND\">(r, ws, zero, four)\n"
      "br = qonnx.custom_op.general.Quant<signed = 1, narrow = 0>(b, bs, zero, sixteen)\n"
      "t = Gemm<transB = 1>(xr, wr, br)\n a = Relu(t)\n"
      "q = qonnx.custom_op.general.Quant<signed = 0, narrow = 0>(a, as, zero, three)\n y = Identity(q)",
      "float[N, 3] y", opsets);
  const QuantizedModel model = Read(FileOf(text));
  EXPECT_TRUE(model.format.starts_with("ONNX (QONNX)"));
  EXPECT_EQ(model.profile, model::Profile::kOnnx);
  const model::Parameter& weight = ParameterNamed(model, "r.codes");
  EXPECT_EQ(weight.format.codes.bits, 4);
  EXPECT_TRUE(weight.format.codes.narrow);
  const int codes[12] = {1, -2, 3, -4, 5, 6, -7, 7, 0, 1, 2, -7};
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(weight.code(i), codes[i]) << i;
  EXPECT_EQ(ParameterNamed(model, "b.codes").integer(2), 9);
  EXPECT_EQ(model.value(model.nodes[0].output).coding->bits, 3);
  const float biases[3] = {0.25f, -0.25f, 1.125f};
  std::vector<float> expected;
  for (size_t image = 0; image < 4; ++image) {
    for (size_t o = 0; o < 3; ++o) {
      float sum = biases[o];
      for (size_t i = 0; i < 4; ++i) sum += 0.125f * static_cast<float>(codes[o * 4 + i] * (kCodes[image * 4 + i] - 3));
      expected.push_back(4 * std::clamp(std::nearbyint(sum / 4), 0.0f, 7.0f));
    }
  }
  EXPECT_EQ(Answers(model, kCodes), expected);
}

TEST(OnnxForms, QonnxOfOneBitHasNoZero) {
  const std::string text = Network(", float[3, 4] r = {0.24, -0.5, 0, -1.01, 1.25, 1.4, -1.75, 9, 0.01, 0.25, 0.5, -9}",
                                   "wr = qonnx.custom_op.general.BipolarQuant(r, ws)\n y = Gemm<transB = 1>(xr, wr)",
                                   "float[N, 3] y", "\"\" : 13, \"qonnx.custom_op.general\" : 1");
  const QuantizedModel model = Read(FileOf(text));
  EXPECT_EQ(ParameterNamed(model, "r.codes").format.codes.bits, 1);
  const int levels[12] = {1, -1, 1, -1, 1, 1, -1, 1, 1, 1, 1, -1};
  std::vector<float> expected;
  for (size_t image = 0; image < 4; ++image) {
    for (size_t o = 0; o < 3; ++o) {
      int sum = 0;
      for (size_t i = 0; i < 4; ++i) sum += levels[o * 4 + i] * (kCodes[image * 4 + i] - 3);
      expected.push_back(0.125f * static_cast<float>(sum));
    }
  }
  EXPECT_EQ(Answers(model, kCodes), expected);
}

TEST(OnnxForms, WhatIsNotUnderstoodIsNamed) {
  const std::string qonnx = "\"\" : 13, \"qonnx.custom_op.general\" : 1";
  const std::string constants =
      ", float[3, 4] r = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, float zero = {0}, float one = {1}, float "
      "bits = {4}, float many = {9}";
  const auto error = [&](const std::string& node) { return ErrorOf(Network(constants, node, "float[N, 3] y", qonnx)); };
  EXPECT_NE(error("y = qonnx.custom_op.general.Trunc(xr, ws, zero, bits, bits)").find("Trunc): cuts off low bits"),
            std::string::npos);
  EXPECT_NE(error("y = qonnx.custom_op.general.Quant(r, ws, zero, many)").find("weights of 9 bits"), std::string::npos);
  EXPECT_NE(error("y = qonnx.custom_op.general.Quant(xr, ws, one, bits)").find("with a zero point"), std::string::npos);
  EXPECT_NE(error("y = qonnx.custom_op.general.Quant<rounding_mode = \"FLOOR\">(xr, ws, zero, bits)").find("by FLOOR"),
            std::string::npos);
  EXPECT_NE(error("y = qonnx.custom_op.general.Quant<odd = 1>(xr, ws, zero, bits)").find("attribute 'odd'"),
            std::string::npos);
  EXPECT_NE(error("y = qonnx.custom_op.general.BipolarQuant(xr, ws)").find("activations of -1 and 1"),
            std::string::npos);
  EXPECT_NE(error("a, b, c = DynamicQuantizeLinear(xr)\n y = Identity(a)").find("quantizes dynamically"),
            std::string::npos);
}

// Files that fuzzing found, which crashed a reader once (make fuzz).
TEST(DamagedFiles, AreReadOrRefusedByName) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(STEADFAST_SOURCE_DIR) / "tests" / "damaged")) {
    const std::vector<uint8_t> bytes = ReadFile(entry.path());
    const std::function<void()> readers[] = {[&] { model::FromOnnx(bytes, "damaged"); },
                                             [&] { model::FromTflite(bytes, "damaged"); },
                                             [&] { network::FloatGraphOf(bytes, "damaged", "."); }};
    for (const auto& read : readers) {
      try {
        read();
      } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("damaged"), std::string::npos) << entry.path() << ": " << error.what();
      }
    }
    ++files;
  }
  EXPECT_GT(files, 1);
}

// ---- ONNX Runtime ----

std::string Modules() {
  const char* modules = std::getenv("STEADFAST_ONNXRUNTIME");
  return modules != nullptr ? modules : STEADFAST_ONNXRUNTIME_MODULES;
}
#define SKIP_WITHOUT_ORACLE()                                    \
  if (!fs::exists(fs::path(Modules()) / "onnxruntime-web"))      \
  GTEST_SKIP() << "no ONNX Runtime for the web in " << Modules() \
               << ": STEADFAST_ORACLE=ON tools/install-dependencies gets it from npm"

int64_t CountFrom(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : ParseInt(text, variable, 1, 1'000'000);
}

// A file to run, and what it is held to.
struct Case {
  std::string name, bytes;
  std::vector<std::string> tensors;  // of codes, which the file gets as outputs
  QuantizedModel model;
  std::vector<uint8_t> codes;  // of the input [n, elements]
  std::string level = "disabled";
};

std::string WithOutputs(const Case& c) {
  onnx::ModelProto proto;
  proto.ParseFromString(c.bytes);
  for (const std::string& name : c.tensors) {
    auto* output = proto.mutable_graph()->add_output();
    output->set_name(name);
    for (const model::Value& value : c.model.values) {
      if (value.name == name && value.coding)
        output->mutable_type()->mutable_tensor_type()->set_elem_type(
            value.coding->is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8);
    }
  }
  return proto.SerializeAsString();
}

void RunOracle(const std::vector<Case>& cases, const fs::path& folder) {
  nlohmann::json jobs = nlohmann::json::array();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const fs::path own = folder / std::to_string(i);
    fs::create_directories(own);
    WriteFileWhole(own / "m.onnx", WithOutputs(c));
    const model::Value& input = c.model.value(0);
    std::vector<int64_t> dims = {static_cast<int64_t>(c.codes.size()) / input.shape.elements(), input.shape.channels};
    if (!input.shape.flat) dims.insert(dims.end(), {input.shape.height, input.shape.width});
    std::string raw;
    for (const uint8_t code : c.codes) {
      if (c.model.real_input) {
        const float real = model::RealOf(code, *input.coding);
        raw.append(reinterpret_cast<const char*>(&real), sizeof(real));
      } else {
        raw.push_back(static_cast<char>(code + input.coding->stored_offset()));
      }
    }
    WriteFileWhole(own / "input", raw);
    const char* type = c.model.real_input ? "float32" : input.coding->is_signed ? "int8" : "uint8";
    jobs.push_back({{"model", (own / "m.onnx").string()},
                    {"input", (own / "input").string()},
                    {"type", type},
                    {"dims", dims},
                    {"runtime", "web"},
                    {"level", c.level},
                    {"out", own.string()}});
  }
  WriteFileWhole(folder / "jobs.json", jobs.dump());
  const auto result = RunProcess("/usr/bin/env",
                                 {"node", std::string(STEADFAST_SOURCE_DIR) + "/tests/onnxruntime_run.cjs", Modules(),
                                  (folder / "jobs.json").string()},
                                 [](std::string_view) {});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
}

// All values of a network on all images, by the scalar rules from the input alone: codes as files have them, or reals.
std::vector<std::string> ValuesOf(const QuantizedModel& m, const std::vector<uint8_t>& images) {
  std::vector<std::vector<uint8_t>> codes(m.values.size());
  std::vector<std::string> stored(m.values.size());
  codes[0] = images;
  const auto n = static_cast<int64_t>(images.size()) / m.value(0).shape.elements();
  for (const model::Node& node : m.nodes) {
    const model::Value& output = m.value(node.output);
    const auto elements = static_cast<size_t>(output.shape.elements());
    const auto rule = node.operation.definition().scalar_rule(m, node);
    auto& own = codes[static_cast<size_t>(node.output)];
    own.resize(static_cast<size_t>(n) * elements);
    std::vector<float> reals(elements);
    for (int64_t i = 0; i < n; ++i) {
      std::vector<std::span<const uint8_t>> inputs;
      for (const int input : node.inputs) {
        const auto size = static_cast<size_t>(m.value(input).shape.elements());
        inputs.push_back(std::span(codes[static_cast<size_t>(input)]).subspan(static_cast<size_t>(i) * size, size));
      }
      rule(inputs, std::span(own).subspan(static_cast<size_t>(i) * elements, elements), reals);
      if (!output.coding)
        stored[static_cast<size_t>(node.output)].append(reinterpret_cast<const char*>(reals.data()),
                                                        reals.size() * sizeof(float));
    }
  }
  for (size_t v = 0; v < m.values.size(); ++v) {
    if (!m.values[v].coding) continue;
    for (const uint8_t code : codes[v])
      stored[v].push_back(static_cast<char>(code + m.values[v].coding->stored_offset()));
  }
  return stored;
}

struct Comparison {
  int64_t files = 0, refused = 0, codes = 0, differing = 0;
  bool must_agree = true;
  std::map<std::string, std::pair<int64_t, int64_t>> by_kind;  // values, and differing ones
};

// Every tensor of codes, each computed by us from the input alone.
void Compare(const Case& c, const fs::path& folder, Comparison& comparison, bool may_be_refused = false) {
  ++comparison.files;
  if (fs::exists(folder / "error")) {
    ++comparison.refused;
    if (!may_be_refused) ADD_FAILURE() << c.name << ": " << ReadTextFile(folder / "error");
    return;
  }
  const auto values = ValuesOf(c.model, c.codes);
  for (size_t v = 0; v < c.model.values.size(); ++v) {
    const model::Value& value = c.model.values[v];
    const bool is_asked = std::find(c.tensors.begin(), c.tensors.end(), value.name) != c.tensors.end();
    if (!is_asked) continue;
    const std::string theirs = ReadTextFile(folder / value.name);
    ASSERT_EQ(theirs.size(), values[v].size()) << c.name << " " << value.name;
    int64_t differing = 0;
    std::string first;
    for (size_t i = 0; i < theirs.size(); ++i) {
      if (theirs[i] == values[v][i]) continue;
      if (++differing == 1) first = fmt::format("{} here, {} there at {}", int{values[v][i]}, int{theirs[i]}, i);
    }
    const auto maker = std::find_if(c.model.nodes.begin(), c.model.nodes.end(),
                                    [&](const model::Node& node) { return node.output == static_cast<int>(v); });
    const std::string kind = maker == c.model.nodes.end() ? "input" : std::string(model::KindOf(*maker));
    comparison.codes += static_cast<int64_t>(theirs.size());
    comparison.differing += differing;
    auto& [values_of_kind, differing_of_kind] = comparison.by_kind[kind];
    ++values_of_kind;
    differing_of_kind += differing > 0;
    if (!comparison.must_agree) continue;
    EXPECT_EQ(differing, 0) << c.name << " " << value.name << " (" << kind << "): " << differing << " of "
                            << theirs.size() << ", the first " << first;
  }
}

void Print(const char* what, const Comparison& c) {
  std::printf("%s: %lld files, %lld of %lld codes differ from ONNX Runtime's\n", what, static_cast<long long>(c.files),
              static_cast<long long>(c.differing), static_cast<long long>(c.codes));
}

TEST(OnnxRuntimeForms, AgreesOnQOperatorNetworks) {
  SKIP_WITHOUT_ORACLE();
  const int64_t networks = CountFrom("STEADFAST_ORACLE_GRAPHS", 60);
  std::vector<Case> cases;
  for (int64_t seed = 0; seed < networks; ++seed) {
    const QOperatorNetwork network = MakeQOperatorNetwork(static_cast<uint64_t>(seed));
    Case c{fmt::format("network {}", seed), network.bytes, network.codes, Read(network.bytes), {}};
    c.codes = model::RandomImages(c.model, 6, static_cast<uint64_t>(seed));
    c.level = seed % 2 == 0 ? "disabled" : "all";
    cases.push_back(std::move(c));
  }
  const TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(RunOracle(cases, folder.path()));
  Comparison all;
  for (size_t i = 0; i < cases.size(); ++i)
    ASSERT_NO_FATAL_FAILURE(Compare(cases[i], folder.path() / std::to_string(i), all));
  Print("QOperator", all);
  EXPECT_GT(all.codes, networks * 500);
}

// QDQ files as ONNX Runtime fuses them into the same kernels.
TEST(OnnxRuntimeForms, AgreesOnFusedQdqNetworks) {
  SKIP_WITHOUT_ORACLE();
  const int64_t graphs = CountFrom("STEADFAST_ORACLE_GRAPHS", 100);
  std::vector<Case> cases;
  for (int64_t seed = 0; seed < graphs; ++seed) {
    const StyledModel styled = MakeStyledModel(static_cast<uint64_t>(seed));
    if (!styled.refused_for.empty()) continue;
    Case c{fmt::format("style {}", seed), styled.bytes, {}, Read(styled.bytes), {}, "all"};
    model::SetProfile(c.model, model::Profile::kOrt);
    c.codes = model::RandomImages(c.model, 6, static_cast<uint64_t>(seed));
    for (const std::string& name : styled.codes) {
      const bool is_ours = std::any_of(c.model.values.begin() + 1, c.model.values.end(),
                                       [&](const model::Value& value) { return value.name == name && value.coding; });
      if (is_ours) c.tensors.push_back(name);
    }
    cases.push_back(std::move(c));
  }
  const TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(RunOracle(cases, folder.path()));
  Comparison all;
  all.must_agree = false;
  for (size_t i = 0; i < cases.size(); ++i)
    ASSERT_NO_FATAL_FAILURE(Compare(cases[i], folder.path() / std::to_string(i), all, true));
  Print("fused QDQ", all);
  for (const auto& [kind, counts] : all.by_kind)
    std::printf("  %s: %lld values, %lld differ\n", kind.c_str(), static_cast<long long>(counts.first),
                static_cast<long long>(counts.second));
  // What ONNX Runtime leaves to float kernels (float biases, normalization), and what follows from their ties.
  EXPECT_LE(all.differing, all.codes / 300);
  EXPECT_GT(all.codes, graphs * 500);
}

// Single faults: the broken file, written by us and run by ONNX Runtime, against the prediction, every tensor. Of
// scales that are no positive finite number any more, kernels give what their machine's conversions give: counted
// apart.
TEST(OnnxRuntimeForms, FaultsAreAnsweredAsPredicted) {
  SKIP_WITHOUT_ORACLE();
  const int64_t networks = CountFrom("STEADFAST_ORACLE_FAULTY_GRAPHS", 3);
  constexpr int kFaults = 256;
  Comparison all;
  int64_t apart = 0, faults = 0;
  std::map<std::string, int64_t> by_role;
  for (int64_t seed = 0; seed < networks; ++seed) {
    const QOperatorNetwork network = MakeQOperatorNetwork(static_cast<uint64_t>(100 + seed));
    const QuantizedModel model = Read(network.bytes);
    std::mt19937_64 random(static_cast<uint64_t>(seed));
    std::map<model::Role, std::vector<int>> roles;
    for (size_t p = 0; p < model.parameters.size(); ++p) roles[model.parameters[p].role].push_back(static_cast<int>(p));
    std::vector<Case> cases;
    std::vector<bool> is_apart;
    for (int fault = 0; fault < kFaults; ++fault) {
      auto role = roles.begin();
      std::advance(role, fault % static_cast<int>(roles.size()));
      const int index = role->second[random() % role->second.size()];
      const model::Parameter& parameter = model.parameter(index);
      const auto element = static_cast<int64_t>(random() % static_cast<uint64_t>(parameter.elements()));
      const int bit = fault / static_cast<int>(roles.size()) % parameter.format.bits();
      const uint32_t old_bits = parameter.bits[static_cast<size_t>(element)];
      model::ModelChange change;
      change.changes.push_back({index, element, old_bits, old_bits ^ 1u << bit});
      const auto bytes = model::WithChange(BytesOf(network.bytes), "made.onnx", change);
      Case c{fmt::format("network {} fault {}: {} element {} bit {}", seed, fault, parameter.name, element, bit),
             std::string(bytes.begin(), bytes.end()),
             network.codes,
             model,
             {}};
      Apply(change, c.model);
      c.codes = model::RandomImages(model, 2, static_cast<uint64_t>(fault));
      if (c.model.real_input) c.tensors.erase(c.tensors.begin());  // images come as codes
      const bool is_scale = parameter.format.is_float();
      const float real = is_scale ? c.model.parameter(index).real(element) : 1;
      // A faulty scale of the input would quantize real images anew, and here they come as codes.
      if (c.model.real_input && index == model.value(0).scale) continue;
      is_apart.push_back(!(real > 0) || !std::isfinite(real));
      ++by_role[std::string(model::NameOf(role->first))];
      cases.push_back(std::move(c));
    }
    const TemporaryFolder folder;
    ASSERT_NO_FATAL_FAILURE(RunOracle(cases, folder.path()));
    faults += static_cast<int64_t>(cases.size());
    for (size_t i = 0; i < cases.size(); ++i) {
      const fs::path own = folder.path() / std::to_string(i);
      if (is_apart[i]) {
        ++apart;
        continue;
      }
      ASSERT_NO_FATAL_FAILURE(Compare(cases[i], own, all, true));
    }
  }
  Print("faults", all);
  std::printf("%lld faults, %lld of them scales that are no positive number, %lld refused by ONNX Runtime\n",
              static_cast<long long>(faults), static_cast<long long>(apart), static_cast<long long>(all.refused));
  for (const auto& [role, count] : by_role) std::printf("  %s: %lld\n", role.c_str(), static_cast<long long>(count));
  EXPECT_GT(faults - apart - all.refused, 200 * networks);
}

}  // namespace
}  // namespace steadfast
