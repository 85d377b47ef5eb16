// The program as its users meet it: exit codes, messages, determinism, resuming, refusing, replaying.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/base/text.h"
#include "steadfast/data/dataset.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"
#include "steadfast/store/store.h"
#include "tests/program_fixture.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;
TEST_F(Program, NetworksAreListedAndWritten) {
  const Outcome list = RunSteadfast({"networks", "--json", "-"});
  ASSERT_EQ(list.exit_code, 0) << list.errors;
  EXPECT_GE(nlohmann::json::parse(list.output).size(), 8u);
  const std::string file = (folder_ / "resnet8.onnx").string();
  const Outcome one = RunSteadfast({"networks", "resnet8", "--classes", "7", "-o", file});
  EXPECT_NE(one.output.find("stage1.block1.conv1"), std::string::npos) << one.errors;
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(RunSteadfast({"networks", "resnet9"}).exit_code, 2);
  EXPECT_EQ(RunSteadfast({"networks", "resnet8", "--input", "3x32"}).exit_code, 2);
}

TEST_F(Program, ExplainsItself) {
  EXPECT_NE(RunSteadfast({}).output.find("steadfast study studies/quick.yaml"), std::string::npos);
  EXPECT_EQ(RunSteadfast({"--help"}).exit_code, 0);
  EXPECT_EQ(RunSteadfast({"help"}).output, RunSteadfast({"--help"}).output);
  for (const char* command :
       {"data", "train", "inspect", "inject", "sweep", "latency", "replay", "study", "report", "help"}) {
    const Outcome outcome = RunSteadfast({command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_NE(outcome.output.find("Example: steadfast"), std::string::npos) << command;
  }
  EXPECT_EQ(RunSteadfast({"--version"}).output.substr(0, 10), "steadfast ");
}

TEST_F(Program, CliDocumentIsFresh) {
  EXPECT_EQ(RunSteadfast({"help", "--markdown"}).output, ReadTextFile(fs::path(STEADFAST_SOURCE_DIR) / "docs/cli.md"))
      << "run: make docs";
}

TEST_F(Program, WrongUsageIsExitCode2OnStandardError) {
  for (const Arguments& arguments :
       {Arguments{"injct"}, Arguments{"inject"}, Arguments{"--nonsense"},
        Arguments{"inject", "x.onnx", "--store", "s", "--rate", "2"},
        Arguments{"inject", "x.onnx", "--store", "s", "--fault", "melt"}, Arguments{"help", "nothing"}}) {
    const Outcome outcome = RunSteadfast(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments[0] << outcome.errors;
    EXPECT_EQ(outcome.output, "");
    EXPECT_NE(outcome.errors.find("steadfast: "), std::string::npos);
  }
  EXPECT_NE(RunSteadfast({"injct"}).errors.find("did you mean inject?"), std::string::npos);
}

TEST_F(Program, OtherFailuresAreExitCode1AndNameTheFile) {
  WriteFileWhole(folder_ / "broken.onnx", "not a model");
  for (const Arguments& arguments :
       {Arguments{"inspect", Path("absent.onnx")}, Arguments{"inspect", Path("broken.onnx")},
        Arguments{"report", Path("absent.sqlite")}}) {
    const Outcome outcome = RunSteadfast(arguments);
    EXPECT_EQ(outcome.exit_code, 1) << outcome.errors;
    EXPECT_NE(outcome.errors.find(arguments[1]), std::string::npos) << outcome.errors;
  }
}

TEST_F(Program, InspectSpeaksJson) {
  const auto json = nlohmann::json::parse(RunSteadfast({"inspect", MakeModel("m.onnx", 1), "--json", "-"}).output);
  EXPECT_EQ(json["memory_bits"], 245880);
  EXPECT_EQ(json["layers"].size(), 8u);
}

TEST_F(ProgramWithData, NeverWritesOverItsInputs) {
  const std::string model = MakeModel("m.onnx", 1);
  const auto before = ReadFile(model);
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--csv", model})).exit_code, 2);
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--csv", Path("s")})).exit_code, 2);
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--csv", Path("x"), "--json", Path("./x")})).exit_code, 2);
  EXPECT_EQ(ReadFile(model), before);
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--seed", "-1"})).exit_code, 2);
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--fault-list", Path("f")})).exit_code, 2);  // beside --fault
}

TEST_F(ProgramWithData, AStoreThatHoldsMoreAnswersLess) {
  const std::string model = MakeModel("m.onnx", 1);
  ASSERT_EQ(RunSteadfast(Inject(model, Path("s"))).exit_code, 0);
  Arguments fewer = Inject(model, Path("s"), {"--csv", Path("s.csv")});
  *std::find(fewer.begin(), fewer.end(), "6") = "4";
  const Outcome outcome = RunSteadfast(fewer);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.errors.find("16 of 16 trials were already in"), std::string::npos) << outcome.errors;
}

TEST_F(ProgramWithData, ReportsOneStoreOrSeveral) {
  const std::string a = MakeModel("a.onnx", 1), b = MakeModel("b.onnx", 2);
  ASSERT_EQ(RunSteadfast(Inject(a, Path("1.sqlite"))).exit_code, 0);
  ASSERT_EQ(RunSteadfast(Inject(b, Path("2.sqlite"))).exit_code, 0);
  ASSERT_EQ(RunSteadfast({"latency", a, "--images", "64", "--store", Path("3.sqlite")}).exit_code, 0);
  // The same file by another name is the same model.
  fs::copy_file(a, Path("copy.onnx"));
  ASSERT_EQ(RunSteadfast({"latency", Path("copy.onnx"), "--images", "64", "--store", Path("1.sqlite")}).exit_code, 0);
  EXPECT_EQ(store::Store::OpenForReading(Path("1.sqlite")).Models().size(), 1u);
  const Outcome terminal = RunSteadfast({"report", Path("1.sqlite"), Path("2.sqlite")});
  EXPECT_EQ(terminal.exit_code, 0) << terminal.errors;
  EXPECT_NE(terminal.output.find("Memory faults in 2 quantized networks"), std::string::npos);
  EXPECT_NE(terminal.output.find("== 2: 1 networks, 24 trials, 500 test images"), std::string::npos);
  const Outcome page = RunSteadfast({"report", Path("1.sqlite"), Path("2.sqlite"), "-o", Path("r.html"), "--figures",
                                     Path("figures"), "--tie", Path("t.csv")});
  EXPECT_EQ(page.exit_code, 0) << page.errors;
  EXPECT_NE(ReadTextFile(Path("r.html")).find("steadfast report " + Path("1.sqlite")), std::string::npos);
  const auto spec = nlohmann::json::parse(ReadTextFile(Path("figures") + "/accuracy-1.vl.json"));
  EXPECT_EQ(spec["data"]["values"], ReadTextFile(Path("figures") + "/accuracy-1.csv"));
  // The same network on other images is not the same evidence.
  const Outcome mixed = RunSteadfast({"report", Path("1.sqlite"), Path("3.sqlite")});
  EXPECT_EQ(mixed.exit_code, 1);
  EXPECT_NE(mixed.errors.find("on other images"), std::string::npos) << mixed.errors;
  EXPECT_NE(RunSteadfast({"report", Path("3.sqlite")}).output.find("Latency by layer"), std::string::npos);
  EXPECT_EQ(RunSteadfast({"report", Path("1.sqlite"), "-o", Path("1.sqlite")}).exit_code, 2);
}

TEST_F(Program, NoticesThatNobodyReads) {
  const ProcessResult result =
      RunProcess("/bin/sh", {"-c", std::string(STEADFAST_PROGRAM) + " help > /dev/full"}, [](std::string_view) {});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("cannot write to standard output"), std::string::npos);
}

TEST_F(ProgramWithData, ThreadsChangeNoNumber) {
  const std::string model = MakeModel("m.onnx", 1), other = MakeModel("n.onnx", 2);
  for (const char* threads : {"1", "2", "3"}) {
    const std::string t = threads;
    const Outcome outcome = RunSteadfast(
        Inject(model, Path("s" + t), {other, "--threads", t, "--csv", Path(t + ".csv"), "--json", Path(t + ".json")}));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  }
  for (const char* ending : {".csv", ".json"}) {
    EXPECT_EQ(ReadTextFile(folder_ / (std::string("1") + ending)), ReadTextFile(folder_ / (std::string("2") + ending)));
    EXPECT_EQ(ReadTextFile(folder_ / (std::string("1") + ending)), ReadTextFile(folder_ / (std::string("3") + ending)));
  }
}

TEST_F(ProgramWithData, RefusesAStoreOfOtherSettings) {
  const std::string model = MakeModel("m.onnx", 1);
  ASSERT_EQ(RunSteadfast(Inject(model, Path("s"))).exit_code, 0);
  Outcome outcome = RunSteadfast(Inject(model, Path("s"), {"--seed", "7"}));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.errors.find("seed: 1 there, 7 here"), std::string::npos) << outcome.errors;
  EXPECT_EQ(RunSteadfast(Inject(model, Path("s"), {"--seed", "7", "--extend"})).exit_code, 1);
  MakeModel("m.onnx", 2);
  outcome = RunSteadfast(Inject(model, Path("s")));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.errors.find("models.m: "), std::string::npos) << outcome.errors;
}

TEST_F(ProgramWithData, ExtendsAStoreOnlyWhenAsked) {
  const std::string model = MakeModel("m.onnx", 1);
  ASSERT_EQ(RunSteadfast(Inject(model, Path("s"))).exit_code, 0);
  Arguments more = Inject(model, Path("s"), {"--csv", Path("s.csv")});
  *std::find(more.begin(), more.end(), "6") = "8";
  const Outcome refused = RunSteadfast(more);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.errors.find("--extend"), std::string::npos);
  more.push_back("--extend");
  const Outcome extended = RunSteadfast(more);
  EXPECT_EQ(extended.exit_code, 0) << extended.errors;
  EXPECT_NE(extended.errors.find("24 of 32 trials were already in"), std::string::npos) << extended.errors;
  // The extended store equals one that was made whole.
  Arguments whole = Inject(model, Path("w"), {"--csv", Path("w.csv")});
  *std::find(whole.begin(), whole.end(), "6") = "8";
  ASSERT_EQ(RunSteadfast(whole).exit_code, 0);
  EXPECT_EQ(ReadTextFile(folder_ / "s.csv"), ReadTextFile(folder_ / "w.csv"));
}

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

// How many trials are safe in a store; 0 where it has no tables yet.
int64_t TrialsIn(const fs::path& path) {
  try {
    return fs::exists(path) ? static_cast<int64_t>(store::Store::OpenForReading(path).Trials().size()) : 0;
  } catch (const std::exception&) {
    return 0;
  }
}

// Ends the program with a signal, which it must heed within the 2 seconds that users are promised.
void End(pid_t child, int signal) {
  kill(child, signal);
  const auto start = std::chrono::steady_clock::now();
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST_F(ProgramWithData, KilledAtAnyMomentItResumesToTheSameEnd) {
  const std::string model = MakeModel("m.onnx", 1);
  const auto arguments = [&](const std::string& name) {
    return Arguments{"inject",   model, "--store",  Path(name), "--rate", "1e-3,1e-2,1e-1",
                     "--trials", "60",  "--images", "1000",     "--csv",  Path(name + ".csv")};
  };
  ASSERT_EQ(RunSteadfast(arguments("whole")).exit_code, 0);
  // First at moments that may fall before the store has its tables, then each time once more trials are in it.
  for (int milliseconds : {2, 10, 30, 60}) {
    const pid_t child = Start(arguments("killed"));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    End(child, SIGKILL);
  }
  int64_t last = TrialsIn(folder_ / "killed");
  for (int signal : {SIGKILL, SIGTERM, SIGKILL}) {
    const pid_t child = Start(arguments("killed"));
    for (int tries = 0; tries < 3000 && TrialsIn(folder_ / "killed") <= last; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    End(child, signal);
    const int64_t done = TrialsIn(folder_ / "killed");
    EXPECT_GT(done, last);
    last = done;
    if (last == 180) break;  // it was done before it could be killed
  }
  const Outcome outcome = RunSteadfast(arguments("killed"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_EQ(ReadTextFile(folder_ / "killed.csv"), ReadTextFile(folder_ / "whole.csv"));
}

TEST_F(ProgramWithData, ReplaysATrialAndNoticesATamperedStore) {
  const std::string model = MakeModel("m.onnx", 1);
  ASSERT_EQ(RunSteadfast(Inject(model, Path("s"), {"--csv", Path("s.csv")})).exit_code, 0);
  const std::string id = Split(Split(ReadTextFile(folder_ / "s.csv"), '\n')[9], ',')[0];
  const Outcome agrees = RunSteadfast({"replay", Path("s"), id});
  EXPECT_EQ(agrees.exit_code, 0) << agrees.errors;
  EXPECT_NE(agrees.output.find("agrees"), std::string::npos);
  store::Database(folder_ / "s", store::Database::Mode::kReadWrite)
      .Execute("UPDATE trials SET correct = correct + 1 WHERE id = '" + id + "'");
  EXPECT_EQ(RunSteadfast({"replay", Path("s"), id}).exit_code, 1);
  EXPECT_EQ(RunSteadfast({"replay", Path("s"), "0000000000000000"}).exit_code, 2);
}

TEST_F(ProgramWithData, FaultListsGiveTheSameRowsAsTheFaultsTheyHold) {
  const std::string model = MakeModel("m.onnx", 1);
  const Arguments sampled = {"inject",          model,        "--store",  Path("s"), "--rate", "1e-2",
                             "--trials",        "3",          "--images", "500",     "--csv",  Path("s.csv"),
                             "--export-faults", Path("f.csv")};
  ASSERT_EQ(RunSteadfast(sampled).exit_code, 0);
  const Outcome listed = RunSteadfast({"inject", model, "--store", Path("l"), "--images", "500", "--csv", Path("l.csv"),
                                       "--fault-list", Path("f.csv")});
  ASSERT_EQ(listed.exit_code, 0) << listed.errors;
  const auto numbers = [&](const std::string& name) {
    std::vector<Arguments> rows;
    for (const auto& line : Split(ReadTextFile(folder_ / name), '\n')) {
      auto fields = Split(line, ',');
      if (fields.size() > 10 && fields[0] != "id") rows.emplace_back(fields.begin() + 6, fields.end());
    }
    return rows;
  };
  EXPECT_EQ(numbers("s.csv").size(), 3u);
  EXPECT_EQ(numbers("s.csv"), numbers("l.csv"));
}

// The accuracies of a CSV of trials, in the order of the file.
std::vector<std::string> AccuraciesOf(const fs::path& csv) {
  std::vector<std::string> accuracies;
  size_t column = 0;
  for (const auto& line : Split(ReadTextFile(csv), '\n')) {
    const auto fields = Split(line, ',');
    if (fields[0] == "id")
      column = static_cast<size_t>(std::find(fields.begin(), fields.end(), "accuracy") - fields.begin());
    else if (fields.size() > column)
      accuracies.push_back(fields[column]);
  }
  return accuracies;
}

// A map that is sampled on a chip, as places in JSON and words in CSV, does what the model does that it is of; trials
// of all kinds of models are replayed from what the store keeps.
TEST_F(ProgramWithData, FaultsOfAChipTravelAndAreReplayed) {
  const std::string model = MakeModel("m.onnx", 1);
  const std::string chip = Path("chip.yaml");
  WriteFileWhole(
      chip,
      "chip: two memories\nmemories:\n  - {name: a, holds: weights, word_bits: 64, words_per_row: 4, "
      "interleaving: 4, cell_bits: 2}\n  - {name: b, holds: 'all,activations', rows: 64, order: alternate}\n");
  const std::string mixture = "0.5*row+0.3*cluster:0.5:16x16@b_is_not_a_name";
  EXPECT_EQ(RunSteadfast({"inject", model, "--store", Path("x"), "--chip", chip, "--fault", mixture}).exit_code, 2);
  const std::string fault = "0.5*row+0.5*drift@weights";
  const Arguments common = {"--chip", chip, "--images", "300"};
  const auto run = [&](Arguments arguments) {
    arguments.insert(arguments.end(), common.begin(), common.end());
    const Outcome outcome = RunSteadfast(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  };
  run({"inject", model, "--store", Path("s"), "--fault", fault, "--rate", "0.02", "--trials", "3", "--csv",
       Path("s.csv")});
  for (const char* map : {"map.json", "map.csv"}) {
    const Outcome faults = RunSteadfast({"faults", "--model", model, "--chip", chip, "--fault", fault, "--rate", "0.02",
                                         "--trials", "3", "-o", Path(map), "--form",
                                         std::string(map) == "map.json" ? "place" : "word", "--svg", Path("map.svg")});
    ASSERT_EQ(faults.exit_code, 0) << faults.errors;
    EXPECT_NE(faults.output.find("3 trials"), std::string::npos);
    run({"inject", model, "--store", Path(std::string(map) + ".s"), "--fault-list", Path(map), "--csv", Path("l.csv")});
    EXPECT_EQ(AccuraciesOf(folder_ / "l.csv"), AccuraciesOf(folder_ / "s.csv"));
  }
  EXPECT_NE(ReadTextFile(folder_ / "map.svg").find("a, bank 0"), std::string::npos);

  WriteFileWhole(folder_ / "rates.csv", "tensor,index,bit,rate\nconv1.weight,0,3,1\nfc3.weight,5,3,0.5\n");
  const std::string kinds =
      "table:" + Path("rates.csv") +
      ",transient:flip@activations,burst:~3@activations,exactly:4@(biases,scales),drift,column:sa1";
  run({"inject", model, "--store", Path("k"), "--fault", kinds, "--rate", "0.01", "--trials", "2", "--csv",
       Path("k.csv")});
  fs::remove(folder_ / "rates.csv");
  fs::remove(chip);
  int replayed = 0;
  for (const char* csv : {"k.csv", "l.csv"}) {
    for (const auto& line : Split(ReadTextFile(folder_ / csv), '\n')) {
      const std::string id = Split(line, ',')[0];
      if (id.size() != 16) continue;
      const Outcome again = RunSteadfast({"replay", Path(std::string(csv) == "k.csv" ? "k" : "map.csv.s"), id});
      EXPECT_EQ(again.exit_code, 0) << again.errors << line;
      ++replayed;
    }
  }
  EXPECT_EQ(replayed, 12 + 3);
}

// Every row of a chip: as often as rows hold something, and the worst first; the same as injecting that row's cells.
TEST_F(ProgramWithData, EveryRowIsSwept) {
  const std::string model = MakeModel("m.onnx", 1);
  const Arguments common = {"--images", "200", "--chip", "systolic", "--where", "fc2.weight"};
  Arguments sweep = {"sweep",   model,     "--every", "row",         "--fault", "sa1",
                     "--store", Path("s"), "--csv",   Path("s.csv"), "--json",  "-"};
  sweep.insert(sweep.end(), common.begin(), common.end());
  const Outcome rows = RunSteadfast(sweep);
  ASSERT_EQ(rows.exit_code, 0) << rows.errors;
  const auto document = nlohmann::json::parse(rows.output);
  // 10,080 codes of 4 bits, 16 to a word, 16 words to a row: words 3,160 to 3,789 are in rows 197 to 236.
  EXPECT_EQ(document["units"].size(), 40u);
  int64_t cells = 0;
  double last = 0;
  for (const auto& unit : document["units"]) {
    cells += unit["cells"].get<int64_t>();
    EXPECT_LE(last, unit["accuracy"].get<double>());
    last = unit["accuracy"];
  }
  EXPECT_EQ(cells, 4 * 10'080);
  EXPECT_EQ(RunSteadfast(sweep).output, rows.output) << "from the store";
  // All cells of a whole row (the first and last one are shared with other layers), by their places.
  const auto whole = std::find_if(document["units"].begin(), document["units"].end(),
                                  [](const auto& unit) { return unit["cells"] == 1024; });
  ASSERT_NE(whole, document["units"].end());
  const std::string row = Split((*whole)["unit"].get<std::string>(), ' ').back();
  std::string list = "trial,memory,bank,row,column,kind\n";
  for (int column = 0; column < 1024; ++column)
    list += "0,weight-buffer,0," + row + "," + std::to_string(column) + ",sa1\n";
  WriteFileWhole(folder_ / "row.csv", list);
  const Outcome alone = RunSteadfast({"inject", model, "--images", "200", "--chip", "systolic", "--fault-list",
                                      Path("row.csv"), "--store", Path("r"), "--csv", Path("r.csv")});
  ASSERT_EQ(alone.exit_code, 0) << alone.errors;
  EXPECT_EQ(std::stod(AccuraciesOf(folder_ / "r.csv").at(0)), (*whole)["accuracy"].get<double>());
  EXPECT_EQ(RunSteadfast({"sweep", model, "--every", "rows"}).exit_code, 2);
  EXPECT_EQ(RunSteadfast({"sweep", model, "--every", "row", "--fault", "all"}).exit_code, 2);
  // A cell of an activation, at the plain memory of 32-bit words.
  const Outcome activations = RunSteadfast(
      {"sweep", model, "--images", "100", "--every", "cell", "--where", "activations:fc2.codes", "--json", "-"});
  ASSERT_EQ(activations.exit_code, 0) << activations.errors;
  EXPECT_EQ(nlohmann::json::parse(activations.output)["units"].size(), 84u * 4);
}

TEST_F(ProgramWithData, VoltagesAreRates) {
  const std::string model = MakeModel("m.onnx", 1);
  WriteFileWhole(folder_ / "v.csv", "voltage,rate\n0.6,1e-2\n0.8,1e-4\n");
  const Arguments common = {"inject", model, "--images", "200", "--trials", "2"};
  const auto run = [&](Arguments more) {
    more.insert(more.begin(), common.begin(), common.end());
    return RunSteadfast(more);
  };
  const Outcome by_voltage =
      run({"--voltage", "0.6", "--voltage-table", Path("v.csv"), "--store", Path("a"), "--csv", Path("a.csv")});
  ASSERT_EQ(by_voltage.exit_code, 0) << by_voltage.errors;
  EXPECT_NE(by_voltage.errors.find("0.6 V: 0.01 faults per bit"), std::string::npos) << by_voltage.errors;
  ASSERT_EQ(run({"--rate", "1e-2", "--store", Path("b"), "--csv", Path("b.csv")}).exit_code, 0);
  EXPECT_EQ(ReadTextFile(folder_ / "a.csv"), ReadTextFile(folder_ / "b.csv"));
  EXPECT_EQ(run({"--voltage", "0.5", "--voltage-table", Path("v.csv"), "--store", Path("c")}).exit_code, 2);
  EXPECT_EQ(run({"--voltage", "0.6", "--store", Path("c")}).exit_code, 2);
  const std::string zoo = (fs::path(STEADFAST_SOURCE_DIR) / "models/lenet5-w4a4-standard.onnx").string();
  const Arguments tolerance = {"tolerance", zoo, "--images", "200", "--floor", "50", "--yield", "0.8", "--json", "-"};
  Arguments by_table = tolerance;
  by_table.insert(by_table.end(), {"--voltage-table", Path("v.csv"), "--voltage-step", "0.1"});
  const Outcome lowest = RunSteadfast(by_table);
  ASSERT_EQ(lowest.exit_code, 0) << lowest.errors;
  const auto document = nlohmann::json::parse(lowest.output);
  ASSERT_EQ(document["voltages"].size(), 3u);
  EXPECT_EQ(document["voltages"][1]["voltage"], 0.7);
  EXPECT_NEAR(document["voltages"][1]["rate"].get<double>(), 1e-3, 1e-9);
  EXPECT_NEAR(document["models"][0]["mean"]["rate"].get<double>(), 1e-2, 1e-9);
  by_table.insert(by_table.end(), {"--from", "1e-3"});
  EXPECT_EQ(RunSteadfast(by_table).exit_code, 2);
}

// Each single-bit fault of a sweep against a campaign over the same fault, which evaluates the whole network anew: 100
// faults of every layer and bit position.
TEST_F(Program, SaysHowManyFaultsToDraw) {
  const std::string model = (std::filesystem::path(STEADFAST_SOURCE_DIR) / "models/lenet5-w4a4-standard.onnx").string();
  const Outcome result = RunSteadfast({"samples", model, "--json", "-"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto document = nlohmann::json::parse(result.output);
  EXPECT_EQ(document["bits"], 245880);
  EXPECT_EQ(document["faults"], 9243);  // 245,880 / (1 + 0.01^2 * 245,879 / (1.96^2 / 4))
  EXPECT_EQ(document["arrays"].size(), 5u);
  EXPECT_EQ(document["arrays"][0]["faults"], 565);  // of 600
  EXPECT_EQ(document["arrays"][0]["faults_of_each_bit_position"], 148);
  const Outcome text = RunSteadfast({"samples", model});
  EXPECT_NE(text.output.find("9243 faults for the network as a whole"), std::string::npos) << text.output;
  EXPECT_EQ(RunSteadfast({"samples", model, "--margin", "0"}).exit_code, 2);
}

TEST_F(ProgramWithData, TrialsEndWhenTheMeanIsKnownWellEnough) {
  const std::string model = (std::filesystem::path(STEADFAST_SOURCE_DIR) / "models/lenet5-w4a4-standard.onnx").string();
  const auto run = [&](const std::string& store, const Arguments& more) {
    Arguments arguments = {"inject", model,   "--images",  "100",     "--rate",    "1e-3,3e-2", "--json",
                           "-",      "--csv", Path("csv"), "--store", Path(store), "--until",   "width<3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunSteadfast(arguments);
  };
  const Outcome first = run("a.sqlite", {"--threads", "1"});
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  const std::string csv = ReadTextFile(Path("csv"));
  std::map<int64_t, int> counts;
  const auto document = nlohmann::json::parse(first.output);
  for (const auto& cell : document["cells"]) {
    const auto interval = cell["accuracy"]["sequence"];
    EXPECT_LT(interval[1].get<double>() - interval[0].get<double>(), 0.03);
    EXPECT_LE(interval[0].get<double>(), cell["accuracy"]["mean"].get<double>());
    EXPECT_GE(interval[1].get<double>(), cell["accuracy"]["mean"].get<double>());
    ++counts[cell["trials"].get<int64_t>()];
  }
  EXPECT_EQ(counts.size(), 2u);  // each rate takes as many as it needs
  run("b.sqlite", {"--threads", "2"});
  EXPECT_EQ(ReadTextFile(Path("csv")), csv);
  run("a.sqlite", {"--threads", "2"});  // nothing is left to do
  EXPECT_EQ(ReadTextFile(Path("csv")), csv);
  // With no more than so many trials, the interval stays as wide as it is.
  const Outcome few = run("c.sqlite", {"--trials", "20"});
  ASSERT_EQ(few.exit_code, 0) << few.errors;
  const auto cell = nlohmann::json::parse(few.output)["cells"][0];
  EXPECT_EQ(cell["trials"], 20);
  EXPECT_GT(cell["accuracy"]["sequence"][1].get<double>() - cell["accuracy"]["sequence"][0].get<double>(), 0.08);
  EXPECT_EQ(RunSteadfast({"inject", model, "--until", "width", "--store", Path("d.sqlite")}).exit_code, 2);
}

TEST_F(ProgramWithData, SweepAgreesWithInjectingFaultByFault) {
  const std::string model = MakeModel("model.onnx", 5);
  ASSERT_EQ(RunSteadfast({"sweep", model, "--images", "140", "--csv", Path("bits.csv")}).exit_code, 0);
  std::map<std::string, std::vector<std::string>> strata;  // by tensor and bit
  for (const auto& line : Split(ReadTextFile(Path("bits.csv")), '\n')) {
    const auto cells = Split(line, ',');
    if (cells.size() == 15 && cells[0] != "tensor") strata[cells[0] + "," + cells[2]].push_back(line);
  }
  ASSERT_EQ(strata.size(), 20u);
  std::string list = "trial,tensor,index,bit,kind\n";
  std::vector<std::vector<std::string>> expected;
  for (const auto& [name, lines] : strata) {
    for (size_t i = 0; i < 100; ++i) {
      const auto cells = Split(lines[i * lines.size() / 100], ',');
      list += std::to_string(expected.size()) + "," + cells[0] + "," + cells[1] + "," + cells[2] + ",flip\n";
      expected.push_back(cells);
    }
  }
  WriteFileWhole(Path("faults.csv"), list);
  ASSERT_EQ(RunSteadfast({"inject", model, "--images", "140", "--fault-list", Path("faults.csv"), "--store",
                          Path("t.sqlite"), "--memory", "0"})
                .exit_code,
            0);
  const auto store = store::Store::OpenForReading(Path("t.sqlite"));
  const auto golden = store.Models()[0];
  const auto trials = store.Trials();
  ASSERT_EQ(trials.size(), 2000u);
  for (const auto& trial : trials) {
    const auto& cells = expected[static_cast<size_t>(trial.trial)];
    ASSERT_EQ(std::stod(cells[5]), static_cast<double>(trial.correct) / 140) << trial.trial;
    ASSERT_EQ(cells[6], std::to_string(trial.changed));
    ASSERT_EQ(cells[7], std::to_string(trial.broken));
    ASSERT_EQ(cells[8], std::to_string(trial.repaired));
    ASSERT_EQ(std::stod(cells[9]), static_cast<double>(trial.margin_sum - golden.margin_sum) * 0x1p-20 / 140);
  }
}

// Right answers of all trials: in the confusion matrix of evaluate, and in the rows of inject.
int64_t CorrectOf(const nlohmann::json& evaluated) {
  int64_t diagonal = 0;
  for (size_t c = 0; c < 10; ++c) diagonal += evaluated["faulty"]["confusion"][c][c].get<int64_t>();
  return diagonal;
}
int64_t CorrectIn(const std::string& csv) {
  std::istringstream rows(ReadTextFile(csv));
  std::string line;
  std::getline(rows, line);
  const auto header = Split(line, ',');
  const auto correct_at = std::find(header.begin(), header.end(), "correct") - header.begin();
  int64_t correct = 0;
  while (std::getline(rows, line)) correct += std::stoll(Split(line, ',')[static_cast<size_t>(correct_at)]);
  return correct;
}

// Scales of activations change what all operators have worked out, residual additions, Softmax and layer normalization
// too.
TEST_F(ProgramWithData, EvaluateAgreesWithInjectOnScalesOfActivations) {
  const std::string vit = std::string(STEADFAST_SOURCE_DIR) + "/models/vit-w4a4-standard.onnx";
  const Arguments faults = {"--fault", "flip",     "--rate", "5e-3",    "--trials",
                            "3",       "--images", "96",     "--where", "activation-scales"};
  Arguments evaluate = {"evaluate", vit, "--json", "-"}, inject = {"inject", vit, "--json", "-"};
  evaluate.insert(evaluate.end(), faults.begin(), faults.end());
  inject.insert(inject.end(), faults.begin(), faults.end());
  inject.insert(inject.end(), {"--store", Path("trials.sqlite"), "--csv", Path("trials.csv")});
  const Outcome evaluated = RunSteadfast(evaluate), injected = RunSteadfast(inject);
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  ASSERT_EQ(injected.exit_code, 0) << injected.errors;
  EXPECT_EQ(CorrectOf(nlohmann::json::parse(evaluated.output)), CorrectIn(Path("trials.csv")));
}

// Class by class, what the same trials of inject give altogether.
TEST_F(ProgramWithData, EvaluateAgreesWithInject) {
  const std::string model = MakeModel("model.onnx", 5);
  const Arguments faults = {"--fault", "flip", "--rate", "3e-2", "--trials", "4", "--seed", "9", "--images", "300"};
  Arguments evaluate = {"evaluate", model, "--json", "-", "--csv", Path("confusion.csv")};
  Arguments inject = {"inject", model, "--store", Path("trials.sqlite"), "--csv", Path("trials.csv")};
  evaluate.insert(evaluate.end(), faults.begin(), faults.end());
  inject.insert(inject.end(), faults.begin(), faults.end());
  const Outcome outcome = RunSteadfast(evaluate);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  ASSERT_EQ(RunSteadfast(inject).exit_code, 0);
  const auto json = nlohmann::json::parse(outcome.output);
  int64_t all = 0;
  for (const auto& row : json["faulty"]["confusion"]) {
    for (const auto& count : row) all += count.get<int64_t>();
  }
  EXPECT_EQ(all, 4 * 300);
  EXPECT_EQ(CorrectOf(json), CorrectIn(Path("trials.csv")));
  EXPECT_EQ(json["clean"]["images"], 300);
  EXPECT_GE(json["clean"]["top_five"].get<double>(), json["clean"]["accuracy"].get<double>());
  EXPECT_NE(ReadTextFile(Path("confusion.csv")).find("faulty,"), std::string::npos);
  evaluate[2] = "--threads";  // changes no number
  evaluate[3] = "1";
  evaluate.insert(evaluate.end(), {"--store", Path("trials.sqlite")});  // beside inject's trials, for the report
  const Outcome text = RunSteadfast(evaluate);
  EXPECT_NE(text.output.find("recall under faults, %"), std::string::npos) << text.output << text.errors;
  const Outcome report = RunSteadfast({"report", Path("trials.sqlite")});
  EXPECT_NE(report.output.find("Class by class"), std::string::npos) << report.output << report.errors;
  EXPECT_NE(report.output.find("flip at 0.03"), std::string::npos);
  EXPECT_EQ(RunSteadfast({"evaluate", model, "--store", Path("trials.sqlite")}).exit_code, 2);
}

TEST_F(ProgramWithData, LatencyTimesTheWholeRunBesideTheLayers) {
  const Outcome outcome = RunSteadfast({"latency", MakeModel("model.onnx", 5), "--images", "64", "--json", "-"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const auto json = nlohmann::json::parse(outcome.output);
  EXPECT_GT(json["dense_ns_per_image"].get<double>(), 0);
  EXPECT_GT(json["bytes_of_values"].get<int64_t>(), 0);
  EXPECT_GE(json["bytes_of_packed_weights"].get<int64_t>(), 61470);
  ASSERT_EQ(json["layers"].size(), 7u);  // flattening is one: it has a time, and nothing to skip
  const auto flatten = std::find_if(json["layers"].begin(), json["layers"].end(),
                                    [](const auto& layer) { return layer["sparse_ns_per_image"].is_null(); });
  ASSERT_NE(flatten, json["layers"].end());
  EXPECT_TRUE((*flatten)["skipped_share"].is_null());
  EXPECT_TRUE((*flatten)["dense_ns_per_image"].is_number());
}

TEST_F(ProgramWithData, SampledSweepSaysWhatItStandsFor) {
  const std::string model = MakeModel("model.onnx", 5);
  const Outcome sampled = RunSteadfast(
      {"sweep", model, "--images", "10", "--sample", "0.1", "--store", Path("s.sqlite"), "--json", Path("s.json")});
  ASSERT_EQ(sampled.exit_code, 0) << sampled.errors;
  EXPECT_NE(sampled.output.find("Projected to all 245880 faults"), std::string::npos) << sampled.output;
  const auto projected = nlohmann::json::parse(ReadTextFile(Path("s.json")))["sample"]["projected"].back();
  ASSERT_EQ(
      RunSteadfast({"sweep", model, "--images", "10", "--store", Path("s.sqlite"), "--csv", Path("all.csv")}).exit_code,
      0);
  double sum = 0;
  int64_t faults = 0;
  for (const auto& line : Split(ReadTextFile(Path("all.csv")), '\n')) {
    const auto cells = Split(line, ',');
    if (cells.size() != 15 || cells[0] == "tensor") continue;
    sum += std::stod(cells[6]);
    ++faults;
  }
  ASSERT_EQ(faults, 245880);
  EXPECT_GE(sum / 245880, projected["changed_predictions"]["low"].get<double>());
  EXPECT_LE(sum / 245880, projected["changed_predictions"]["high"].get<double>());
  EXPECT_EQ(RunSteadfast({"sweep", model, "--sample", "1.5"}).exit_code, 2);
  EXPECT_EQ(RunSteadfast({"sweep", model, "--sample", "0"}).exit_code, 2);
}

// Whether what the fault-free run keeps fits in memory for all images, for some at a time, or not at all.
TEST_F(ProgramWithData, InjectingDoesNotDependOnMemory) {
  const std::string model = MakeModel("model.onnx", 5);
  for (const std::string memory : {"2048", "5", "0"}) {
    ASSERT_EQ(RunSteadfast({"inject", model, "--images", "200", "--fault", "flip", "--rate", "1e-5,1e-3", "--trials",
                            "130", "--threads", "2", "--store", Path(memory + ".sqlite"), "--csv",
                            Path(memory + ".csv"), "--memory", memory})
                  .exit_code,
              0);
    EXPECT_EQ(ReadTextFile(Path(memory + ".csv")), ReadTextFile(Path("2048.csv"))) << memory;
  }
}

// Killed with SIGKILL in the middle, a sweep goes on from its store and ends as if undisturbed.
TEST_F(ProgramWithData, KilledSweepResumes) {
  const std::string model = MakeModel("model.onnx", 6);
  const Arguments sweep = {"sweep", model, "--images", "550", "--layer", "fc1,fc2", "--fault", "all"};
  const auto with = [&](const std::string& name) {
    Arguments arguments = sweep;
    arguments.insert(arguments.end(), {"--store", Path(name + ".sqlite"), "--csv", Path(name + ".csv")});
    return arguments;
  };
  ASSERT_EQ(RunSteadfast(with("whole")).exit_code, 0);
  const pid_t child = Start(with("killed"));
  const auto parts = [&]() -> size_t {
    try {
      const auto store = store::Store::OpenForReading(Path("killed.sqlite"));
      return store.Sweeps().empty() ? 0 : store.SweepParts(1).size();
    } catch (const Error&) {
      return 0;  // not there yet, or busy
    }
  };
  while (parts() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const Outcome resumed = RunSteadfast(with("killed"));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_NE(resumed.errors.find("faults were already in"), std::string::npos) << resumed.errors;
  EXPECT_EQ(ReadTextFile(Path("killed.csv")), ReadTextFile(Path("whole.csv")));
}

TEST_F(ProgramWithData, SweepRefusesAnotherModelOfTheSameName) {
  const std::string model = MakeModel("model.onnx", 7);
  const Arguments sweep = {"sweep", model, "--images", "64", "--layer", "fc3", "--store", Path("s.sqlite")};
  ASSERT_EQ(RunSteadfast(sweep).exit_code, 0);
  MakeModel("model.onnx", 8);
  const Outcome refused = RunSteadfast(sweep);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.errors.find("another model named model"), std::string::npos) << refused.errors;
  // A campaign in the same store must not take the other model's place either, nor the same one on other images.
  const auto inject = [&](const char* images) {
    return RunSteadfast(
        {"inject", model, "--images", images, "--trials", "1", "--rate", "1e-3", "--store", Path("s.sqlite")});
  };
  EXPECT_NE(inject("64").errors.find("another model named model"), std::string::npos);
  MakeModel("model.onnx", 7);
  EXPECT_EQ(inject("64").exit_code, 0);
  EXPECT_NE(inject("65").errors.find("images: 64 there, 65 here"), std::string::npos);
}

}  // namespace
}  // namespace steadfast
