// Other people's kinds of files, made after public reports (tests/outside/README.md names them), and files and stores
// of earlier versions: the right values are ONNX Runtime's with optimizations off, or by hand.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/text.h"
#include "steadfast/data/npy.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/store/store.h"
#include "tests/program_fixture.h"
#include "tests/tflite_networks.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

const fs::path kOutside = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "outside";
const fs::path kEarlier = fs::path(STEADFAST_SOURCE_DIR) / "tests" / "earlier";

class OutsideFiles : public ProgramWithData {
 protected:
  std::string Model(const std::string& name) const { return (kOutside / (name + ".onnx")).string(); }

  struct Answer {
    int64_t correct = -1;
    double margin = 0;
  };
  // What the first trial of an injection gives.
  Answer InjectOnce(const std::string& model, Arguments more) {
    static int number = 0;
    const std::string csv = Path("t" + std::to_string(++number) + ".csv");
    Arguments arguments = {"inject", model, "--dataset", "fashion-mnist", "--store", csv + ".sqlite", "--csv", csv};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = RunSteadfast(arguments);
    errors_ = outcome.errors;
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    if (outcome.exit_code != 0) return {};
    const auto rows = ParseCsv(ReadTextFile(csv), csv);
    return {std::atoll(rows.at(1).fields.at(10).c_str()), std::atof(rows.at(1).fields.at(15).c_str())};
  }
  Answer FaultFree(const std::string& name, Arguments more = {}) {
    Arguments arguments = {"--images", "1000", "--rate", "0", "--trials", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return InjectOnce(Model(name), arguments);
  }

  std::string errors_;
};

// Features that are no images: int8 codes, or real numbers, of a TFLite network whose input has a scale of its own.
TEST_F(OutsideFiles, CodesAndRealNumbersAreWhatBytesStandFor) {
  const TfliteNetwork network = RandomTflite(3);
  WriteFileWhole(Path("net.tflite"), std::string(network.bytes.begin(), network.bytes.end()));
  const model::QuantizedModel model = model::ReadModel(Path("net.tflite"));
  const model::ValueShape shape = model.value(0).shape;
  const model::ActivationCoding coding = *model.value(0).coding;
  const std::vector<uint8_t> codes = model::RandomImages(model, 40, 3);
  data::NpyArray labels{"|u1", {40}, {}};
  data::NpyArray as_codes{"|i1", {40, shape.channels, shape.height, shape.width}, {}},
      as_reals{"<f4", as_codes.shape, {}};
  if (shape.flat) as_codes.shape = as_reals.shape = {40, shape.channels};
  for (int i = 0; i < 40; ++i) labels.bytes.push_back(static_cast<uint8_t>(i % model.classes()));
  for (const uint8_t code : codes) {
    as_codes.bytes.push_back(static_cast<uint8_t>(code + coding.stored_offset()));
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>(code - coding.zero_point) * coding.scale);
    for (int byte = 0; byte < 4; ++byte) as_reals.bytes.push_back(static_cast<uint8_t>(bits >> 8 * byte));
  }
  const std::vector<float> logits = engine::RunReference(model, codes);
  int64_t right = 0;
  for (size_t i = 0; i < 40; ++i) {
    const auto first = logits.begin() + static_cast<std::ptrdiff_t>(i) * model.classes();
    right += std::max_element(first, first + model.classes()) - first == labels.bytes[i];
  }
  std::set<std::string> ids;
  for (data::NpyArray* array : {&as_codes, &as_reals}) {
    const std::string folder = Path(array->type == "|i1" ? "codes" : "reals");
    for (const std::string split : {"train", "test"}) {
      for (const auto& [name, one] : {std::pair{"_images.npy", array}, std::pair{"_labels.npy", &labels}}) {
        const std::vector<uint8_t> bytes = data::ToNpy(*one);
        WriteFileWhole(std::filesystem::path(folder) / (split + name), std::string(bytes.begin(), bytes.end()));
      }
    }
    ASSERT_EQ(RunSteadfast({"inject", Path("net.tflite"), "--dataset", "npy", "--data", folder, "--rate", "0",
                            "--trials", "1", "--store", folder + "/s.sqlite"})
                  .exit_code,
              0);
    const auto trials = store::Store::OpenForReading(folder + "/s.sqlite").Trials();
    ASSERT_EQ(trials.size(), 1u);
    EXPECT_EQ(trials[0].correct, right) << folder;
    ids.insert(trials[0].id);
    const Outcome replayed = RunSteadfast({"replay", folder + "/s.sqlite", trials[0].id, "--data", folder});
    EXPECT_EQ(replayed.exit_code, 0) << replayed.errors;
    const Outcome scaled = RunSteadfast({"inject", Path("net.tflite"), "--dataset", "npy", "--data", folder,
                                         "--input-scale", "1", "--store", folder + "/t.sqlite"});
    EXPECT_EQ(scaled.exit_code, 2);
    EXPECT_NE(scaled.errors.find("say what bytes are"), std::string::npos) << scaled.errors;
  }
  EXPECT_EQ(ids.size(), 2u);
}

TEST_F(OutsideFiles, ClipBoundsAsAttributes) {
  const Answer answer = FaultFree("clip-attributes");
  EXPECT_EQ(answer.correct, 801);
  EXPECT_NEAR(answer.margin, 2.59287, 2e-5);
}

TEST_F(OutsideFiles, TiesWithAnOddZeroPoint) {
  const Answer answer = FaultFree("ties-odd-zero-point");
  EXPECT_EQ(answer.correct, 102);
  EXPECT_NEAR(answer.margin, -12.05261, 4e-5);
}

TEST_F(OutsideFiles, AFaultsIndexIsTheFilesOwn) {
  WriteFileWhole(Path("l.csv"), "trial,tensor,index,bit,kind\n0,fc.weight,5,7,flip\n");
  const Answer answer = InjectOnce(Model("fault-index-transposed"), {"--images", "500", "--fault-list", Path("l.csv")});
  EXPECT_EQ(answer.correct, 405);
  EXPECT_NEAR(answer.margin, 2.6879, 1e-4);
}

TEST_F(OutsideFiles, FloatInput) {
  EXPECT_EQ(FaultFree("float-input").correct, 801);
  EXPECT_NE(errors_.find("bytes enter as pixel/255"), std::string::npos) << errors_;
  // The same, said: no word about it. The product rounds otherwise than the quotient, on few pixels.
  EXPECT_NEAR(static_cast<double>(FaultFree("float-input", {"--input-scale", "0.00392156862745098"}).correct), 801, 2);
  EXPECT_EQ(errors_.find("bytes enter as"), std::string::npos) << errors_;
  // Images as another network was trained on are other images.
  EXPECT_LT(FaultFree("float-input", {"--mean", "0.9", "--std", "0.05"}).correct, 700);
  const Outcome refused = RunSteadfast({"inject", Model("float-input"), "--dataset", "fashion-mnist", "--mean", "1,2",
                                        "--store", Path("s.sqlite"), "--images", "64"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.errors.find("--mean: 2 values"), std::string::npos) << refused.errors;
  const Outcome bytes = RunSteadfast({"inject", Model("clip-attributes"), "--dataset", "fashion-mnist", "--mean", "1",
                                      "--store", Path("s.sqlite"), "--images", "64"});
  EXPECT_EQ(bytes.exit_code, 2);
  EXPECT_NE(bytes.errors.find("takes raw bytes"), std::string::npos) << bytes.errors;
}

TEST_F(OutsideFiles, WhatBytesBecomeIsKept) {
  const auto inject = [&](Arguments more) {
    Arguments arguments = {
        "inject", Model("float-input"), "--dataset", "fashion-mnist", "--images",      "64", "--rate",
        "1e-3",   "--trials",           "2",         "--store",       Path("s.sqlite")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunSteadfast(arguments);
  };
  ASSERT_EQ(inject({}).exit_code, 0);
  const Outcome other = inject({"--mean", "0.3"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.errors.find("inputs.float-input: \"pixel/255\" there, \"(pixel/255-0.3)\" here"), std::string::npos)
      << other.errors;
  const std::string id = store::Store::OpenForReading(Path("s.sqlite")).Trials().at(0).id;
  EXPECT_EQ(RunSteadfast({"replay", Path("s.sqlite"), id}).exit_code, 0);
  const Outcome replay = RunSteadfast({"replay", Path("s.sqlite"), id, "--mean", "0.3"});
  EXPECT_NE(replay.errors.find("enter as pixel/255"), std::string::npos) << replay.errors;
}

TEST_F(OutsideFiles, SignedActivations) {
  EXPECT_EQ(FaultFree("int8-activations").correct, 801);
}

TEST_F(OutsideFiles, PairsAroundOperatorsThatMoveCodes) {
  EXPECT_EQ(FaultFree("qdq-around-shape-ops").correct, 801);
}

// A job array: one task a seed, one store that does not exist yet.
TEST_F(OutsideFiles, OfSeedsThatStartTogetherOneWins) {
  std::vector<pid_t> children;
  for (int seed = 1; seed <= 4; ++seed) {
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      dup2(null, 2);
      const std::string model = Model("store-race-seeds"), store = Path("d.sqlite"), text = std::to_string(seed);
      execl(STEADFAST_PROGRAM, "steadfast", "inject", model.c_str(), "--dataset", "fashion-mnist", "--images", "200",
            "--threads", "1", "--trials", "20", "--rate", "1e-2", "--seed", text.c_str(), "--store", store.c_str(),
            nullptr);
      _exit(127);
    }
    children.push_back(child);
  }
  int won = 0;
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 1);
    won += WEXITSTATUS(status) == 0;
  }
  EXPECT_EQ(won, 1);
  const auto trials = store::Store::OpenForReading(Path("d.sqlite")).Trials();
  EXPECT_EQ(trials.size(), 20u);
  for (size_t i = 0; i < trials.size(); i += 7)
    EXPECT_EQ(RunSteadfast({"replay", Path("d.sqlite"), trials[i].id}).exit_code, 0);
}

// The same settings may run together: every trial once.
TEST_F(OutsideFiles, EqualSettingsShareAStore) {
  const std::string model = MakeModel("m.onnx", 3);
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      dup2(null, 2);
      execl(STEADFAST_PROGRAM, "steadfast", "inject", model.c_str(), "--images", "128", "--threads", "1", "--trials",
            "40", "--rate", "1e-2", "--store", Path("d.sqlite").c_str(), nullptr);
      _exit(127);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(store::Store::OpenForReading(Path("d.sqlite")).Trials().size(), 40u);
}

// Whether a user who may write nothing here can read a store.
bool CanBeReadByNobody(const std::string& store) {
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(126);
    execl(STEADFAST_PROGRAM, "steadfast", "report", store.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(OutsideFiles, AnInterruptedStoreCanBeReadWhereNothingMayBeWritten) {
  fs::permissions(folder_, fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add);
  const std::string model = MakeModel("m.onnx", 3);
  for (const int signal : {SIGINT, SIGKILL}) {
    const std::string name = signal == SIGINT ? "stopped" : "killed";
    fs::create_directories(folder_ / name);
    const std::string store = (folder_ / name / "d.sqlite").string();
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      dup2(null, 2);
      execl(STEADFAST_PROGRAM, "steadfast", "inject", model.c_str(), "--trials", "100000", "--rate", "1e-2",
            "--threads", "1", "--store", store.c_str(), nullptr);
      _exit(127);
    }
    int64_t seen = 0;
    for (int i = 0; i < 5000 && seen == 0; ++i) {
      usleep(20000);
      try {
        seen = static_cast<int64_t>(store::Store::OpenForReading(store).Trials().size());
      } catch (const Error&) {
        // It has no tables yet.
      }
    }
    const bool read_while_written = CanBeReadByNobody(store);
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_GT(seen, 0);
    EXPECT_TRUE(read_while_written);
    // As the files lie there, in a folder that is not to be written to; and copied to another.
    const fs::path copy = folder_ / (name + "-copy");
    fs::copy(folder_ / name, copy);
    for (const fs::path& folder : {folder_ / name, copy}) {
      for (const auto& entry : fs::directory_iterator(folder)) chmod(entry.path().c_str(), 0444);
      chmod(folder.c_str(), 0555);
      EXPECT_TRUE(CanBeReadByNobody((folder / "d.sqlite").string())) << folder;
      chmod(folder.c_str(), 0755);
    }
    for (const auto& entry : fs::directory_iterator(copy)) chmod(entry.path().c_str(), 0644);
    EXPECT_GE(static_cast<int64_t>(store::Store::OpenForReading(copy / "d.sqlite").Trials().size()), seen);
  }
}

TEST_F(OutsideFiles, NamesWithCommas) {
  const std::string model = Model("comma-names");
  const std::string layer = "StatefulPartitionedCall/net/dense/MatMul;net/dense/Cast[0,1]";
  ASSERT_EQ(RunSteadfast({"inject", model, "--dataset", "fashion-mnist", "--images", "64", "--rate", "1e-3", "--trials",
                          "2", "--store", Path("a.sqlite"), "--export-faults", Path("f.csv")})
                .exit_code,
            0);
  const std::string list = ReadTextFile(Path("f.csv"));
  EXPECT_NE(list.find("\"" + layer), std::string::npos) << "quoted";
  const auto by_list = [&](const std::string& file) {
    return RunSteadfast({"inject", model, "--dataset", "fashion-mnist", "--images", "64", "--fault-list", file,
                         "--store", file + ".sqlite"});
  };
  EXPECT_EQ(by_list(Path("f.csv")).exit_code, 0);
  // As other tools, and we before, wrote it.
  std::string bare = list;
  std::erase(bare, '"');
  WriteFileWhole(Path("g.csv"), bare);
  EXPECT_EQ(by_list(Path("g.csv")).exit_code, 0);
  const Outcome sweep = RunSteadfast({"sweep", model, "--dataset", "fashion-mnist", "--images", "5", "--layer", layer});
  EXPECT_EQ(sweep.exit_code, 0) << sweep.errors;
}

TEST_F(OutsideFiles, ImagesOfAnotherShapeAreRefused) {
  // Both take 784 bytes.
  const auto inject = [&](const model::ValueShape& shape) {
    model::QuantizedModel model;
    const model::ActivationCoding bytes{.bits = 8, .scale = 0.01f};
    model.values = {{"input", shape, bytes}};
    if (!shape.flat) model.values.push_back({"flat", {784, 1, 1, true}, bytes});
    model.values.push_back({"logits", {10, 1, 1, true}, std::nullopt});
    const int weight = model::AddWeights(model, "w", {10, 784}, {.bits = 4}, {0.1f}, std::vector<int16_t>(7840, 1));
    if (!shape.flat) model.nodes.push_back({"flatten", model::Flatten{}, {0}, 1});
    model.output = shape.flat ? 1 : 2;
    model.nodes.push_back({"fc", model::Linear{{weight, {}}}, {model.output - 1}, model.output});
    const std::string file = Path(shape.flat ? "flat.onnx" : "wide.onnx");
    model::WriteModel(model, file);
    return RunSteadfast({"inject", file, "--dataset", "fashion-mnist", "--images", "64", "--trials", "1", "--rate",
                         "1e-3", "--store", file + ".sqlite"});
  };
  const Outcome wide = inject({1, 14, 56});
  EXPECT_EQ(wide.exit_code, 1);
  EXPECT_NE(wide.errors.find("takes images of 1x14x56, and those of fashion-mnist are 1x28x28"), std::string::npos)
      << wide.errors;
  EXPECT_EQ(inject({784, 1, 1, true}).exit_code, 0);
}

TEST_F(OutsideFiles, ADecimalCommaIsRemarkedOn) {
  const std::string model = MakeModel("m.onnx", 3);
  const auto inject = [&](const char* rates, const char* store) {
    return RunSteadfast({"inject", model, "--images", "64", "--trials", "1", "--rate", rates, "--store", Path(store)});
  };
  EXPECT_NE(inject("0,1", "a.sqlite").errors.find("if 0.1 is meant"), std::string::npos);
  EXPECT_EQ(inject("0,0.1", "b.sqlite").errors.find("is meant"), std::string::npos);
}

// ---- files of earlier versions ----

TEST_F(OutsideFiles, AStoreOfSchemaThreeIsResumedWithTheSameIds) {
  fs::copy(kEarlier / "schema3.sqlite", folder_ / "s.sqlite");
  fs::copy(kEarlier / "lenet5.onnx", folder_ / "lenet5.onnx");
  const Arguments inject = {
      "inject",    Path("lenet5.onnx"), "--images",       "64",     "--trials", "3",       "--rate",
      "1e-3,1e-2", "--fault",           "flip,mixed:0.5", "--seed", "3",        "--store", Path("s.sqlite"),
      "--csv",     Path("t.csv")};
  const Outcome resumed = RunSteadfast(inject);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_NE(resumed.errors.find("12 of 12 trials were already in"), std::string::npos) << resumed.errors;
  EXPECT_EQ(ReadTextFile(Path("t.csv")), ReadTextFile(kEarlier / "schema3.csv"));
  // And computed anew they are the same, ids and all.
  Arguments anew = inject;
  for (std::string& argument : anew) {
    if (argument == Path("s.sqlite")) argument = Path("new.sqlite");
    if (argument == Path("t.csv")) argument = Path("new.csv");
  }
  ASSERT_EQ(RunSteadfast(anew).exit_code, 0);
  EXPECT_EQ(ReadTextFile(Path("new.csv")), ReadTextFile(kEarlier / "schema3.csv"));
  const store::Store store = store::Store::OpenForReading(Path("s.sqlite"));
  EXPECT_EQ(store.Conditions().at(store.Trials().at(0).condition).at("seed"), 3);
  EXPECT_EQ(
      RunSteadfast({"replay", Path("s.sqlite"), store.Trials().at(5).id, "--model", Path("lenet5.onnx")}).exit_code, 0);
  // Its sweep is complete.
  const Outcome sweep = RunSteadfast(
      {"sweep", Path("lenet5.onnx"), "--images", "64", "--layer", "conv1,fc3", "--store", Path("s.sqlite")});
  EXPECT_NE(sweep.errors.find("3960 of 3960 faults were already in"), std::string::npos) << sweep.errors;
}

TEST_F(OutsideFiles, TrialsOfOtherWordWidthsAreRecognized) {
  fs::copy(kEarlier / "words16.sqlite", folder_ / "s.sqlite");
  fs::copy(kEarlier / "lenet5.onnx", folder_ / "lenet5.onnx");
  const Outcome resumed = RunSteadfast({"inject", Path("lenet5.onnx"), "--images", "64", "--trials", "2", "--rate",
                                        "1e-2", "--seed", "3", "--word-bits", "16", "--store", Path("s.sqlite")});
  EXPECT_NE(resumed.errors.find("2 of 2 trials were already in"), std::string::npos) << resumed.errors;
  for (const auto& trial : store::Store::OpenForReading(Path("s.sqlite")).Trials())
    EXPECT_EQ(RunSteadfast({"replay", Path("s.sqlite"), trial.id, "--model", Path("lenet5.onnx")}).exit_code, 0);
}

TEST_F(OutsideFiles, TrialsOfAModelThatWasReadWronglyAreStale) {
  fs::copy(kEarlier / "clip-attributes.sqlite", folder_ / "s.sqlite");
  fs::copy(kOutside / "clip-attributes.onnx", folder_ / "clip-attributes.onnx");
  const auto old = store::Store::OpenForReading(Path("s.sqlite")).Trials();
  ASSERT_EQ(old.size(), 3u);
  const Outcome again =
      RunSteadfast({"inject", Path("clip-attributes.onnx"), "--dataset", "fashion-mnist", "--images", "64", "--trials",
                    "3", "--rate", "1e-2", "--seed", "3", "--store", Path("s.sqlite")});
  ASSERT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.errors.find("already in"), std::string::npos) << "nothing is resumed";
  const store::Store store = store::Store::OpenForReading(Path("s.sqlite"));
  EXPECT_EQ(store.Trials().size(), 3u);
  EXPECT_EQ(store.StaleTrials(), 3);
  for (const auto& trial : store.Trials()) {
    for (const auto& stale : old) EXPECT_NE(trial.id, stale.id);
  }
  const Outcome replay = RunSteadfast({"replay", Path("s.sqlite"), old[0].id, "--model", Path("clip-attributes.onnx")});
  EXPECT_EQ(replay.exit_code, 1);
  EXPECT_NE(replay.errors.find("is stale: it was computed with reading 1"), std::string::npos) << replay.errors;
  EXPECT_NE(RunSteadfast({"report", Path("s.sqlite")}).output.find("3 trials of an older reading"), std::string::npos);
}

// ---- what can fail beside weights ----

TEST_F(OutsideFiles, BiasesFail) {
  const std::string model = MakeModel("m.onnx", 3);
  const Outcome sweep = RunSteadfast({"sweep", model, "--images", "32", "--where", "biases", "--csv", Path("b.csv")});
  ASSERT_EQ(sweep.exit_code, 0) << sweep.errors;
  const auto swept = ParseCsv(ReadTextFile(Path("b.csv")), "b");
  ASSERT_EQ(swept.size(), 1u + 32 * (6 + 16 + 120 + 84 + 10));
  EXPECT_EQ(swept.at(0).fields.at(2), "bit");
  EXPECT_EQ(swept.at(32 + 6).fields.at(1), "1");  // every bit alone, in order
  EXPECT_EQ(swept.at(32 + 6).fields.at(2), "5");
  // Faults of weights do not move when biases can fail beside them.
  const auto faulty_bits = [&](const char* where) {
    const std::string csv = Path(std::string(where) + ".csv");
    EXPECT_EQ(RunSteadfast({"inject", model, "--images", "32", "--trials", "1", "--rate", "1e-2", "--where", where,
                            "--export-faults", csv, "--store", csv + ".sqlite"})
                  .exit_code,
              0);
    std::vector<std::string> faults;
    for (const auto& row : ParseCsv(ReadTextFile(csv), csv)) {
      if (row.fields.at(1).ends_with(".weight"))
        faults.push_back(row.fields.at(1) + row.fields.at(2) + row.fields.at(3));
    }
    return faults;
  };
  EXPECT_EQ(faulty_bits("weights"), faulty_bits("weights,biases"));
  EXPECT_EQ(RunSteadfast({"inject", model, "--where", "bias", "--store", Path("x.sqlite")}).exit_code, 2);
}

TEST_F(OutsideFiles, ListsLieInNarrowWordsToo) {
  WriteFileWhole(Path("l.csv"), "trial,tensor,index,bit,kind\n0,fc3.weight,5,3,flip\n");
  const std::string model = MakeModel("m.onnx", 3);
  const Answer narrow = InjectOnce(model, {"--images", "64", "--fault-list", Path("l.csv"), "--word-bits", "16"});
  const Answer wide = InjectOnce(model, {"--images", "64", "--fault-list", Path("l.csv")});
  EXPECT_EQ(narrow.margin, wide.margin);
}

TEST_F(OutsideFiles, AsymmetricFaults) {
  const std::string model = MakeModel("m.onnx", 3);
  const auto correct = [&](const char* fault) {
    return InjectOnce(model, {"--images", "64", "--trials", "1", "--rate", "1e-2", "--fault", fault});
  };
  const Answer both = correct("asymmetric:1:1"), flip = correct("flip"), up = correct("asymmetric:1:0"),
               sa1 = correct("sa1");
  EXPECT_EQ(both.margin, flip.margin);
  EXPECT_EQ(up.margin, sa1.margin);
  EXPECT_EQ(RunSteadfast({"inject", model, "--fault", "asymmetric:2:0", "--store", Path("x.sqlite")}).exit_code, 2);
}

}  // namespace
}  // namespace steadfast
