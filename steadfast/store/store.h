// The store: one SQLite file that holds what a campaign did and what a report needs, without the models at hand.
//
// docs/formats.md describes the tables column by column. Whatever was reported as done is in the file (WAL, synchronous
// FULL, commits in groups): `kill -9` at any moment loses no finished trial.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/store/database.h"

namespace steadfast::store {

// New in 2: sweeps; in 3: sharpness and latency; in 4: conditions of trials; in 5: classes.
inline constexpr int kSchemaVersion = 5;

struct LayerRow {
  std::string name, kind;
  std::string output_shape;  // "6x28x28"
  std::string weight_shape;  // "6x1x5x5", or empty
  int64_t weight_bits, activation_bits;
  int64_t macs, memory_bits;
  std::optional<double> zero_share;  // of the output's codes on the test set
};

struct EpochRow {
  int64_t epoch;
  double loss, validation_loss, validation_accuracy, learning_rate;
};

struct ModelRow {
  int64_t id = 0;      // given by the store
  std::string label;   // unique in the store
  std::string sha256;  // of the file
  std::string path;    // where the file was
  std::string network;
  std::string recipe;  // its name: "as-saq"; empty for other people's models
  std::string recipe_json;
  int64_t seed = 0;
  double rho = 0, lambda = 0;
  int64_t weight_bits = 0, activation_bits = 0;
  std::string layout;  // of the weight memory: names, counts, widths
  int64_t memory_bits = 0, macs = 0;
  int64_t images = 0, correct = 0;       // fault-free, on the test images
  int64_t margin_sum = 0, loss_sum = 0;  // in units of 2^-20
  std::optional<double> zero_share;
  std::string sharpness_json, accuracy_json;
  int64_t reading = 1;  // number of the rules by which the file was read; 2: reading 1 was wrong for it
  std::vector<LayerRow> layers;
  std::vector<EpochRow> epochs;

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
};

struct TrialRow {
  std::string id;     // 16 hexadecimal digits, a hash of all that decides the trial
  int64_t model = 0;  // ModelRow::id
  std::string fault;  // "flip", "mixed:0.5", or "list:HASH"
  std::string encoding;
  double rate = 0;
  int64_t trial = 0;
  int64_t faulty_bits = 0;    // cells that were faulty
  int64_t changed_codes = 0;  // codes that really changed
  int64_t images = 0, correct = 0, changed = 0, broken = 0, repaired = 0;
  int64_t margin_sum = 0, loss_sum = 0;  // in units of 2^-20
  int64_t condition = 0;                 // what else decided the trial: a key of Store::Conditions; 0: not kept

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
  bool operator==(const TrialRow&) const = default;
};

struct ClaimRow {
  std::string id, verdict, unit;
  double effect = 0, low = 0, high = 0;
  std::string detail_json;
};

// The rules of rounding by which results were computed; ArithmeticOf adds the reading of the file where it is not 1.
inline constexpr const char* kArithmetic = "float32, half to even";
std::string ArithmeticOf(int64_t reading);

bool IsOfPairs(const std::string& kind);  // of SweepRow::kind

// What a sweep has faults of.
struct SweptArray {
  std::string tensor, role;  // role: as --where has it
  int64_t faults = 0;        // of the whole array; of bits that can fail
  // Where its cells lie: {memory, first_word, word_bits, elements_per_word, words_per_row, rows_per_bank, banks,
  // interleaving, order} (docs/formats.md).
  nlohmann::json place;
  bool operator==(const SweptArray&) const = default;
};

// An exhaustive evaluation of the faults of a model's memory.
struct SweepRow {
  int64_t id = 0;     // given by the store
  int64_t model = 0;  // ModelRow::id
  std::string kind;   // "bits": every bit alone ("bits-sa0", "bits-sa1": stuck, where values are swept);
                      // "pairs-in-word": every two bits of a word together; then, where they are not weights,
                      // ":biases", and where images are scaled, "@" and how
  std::string encoding;
  int64_t word_bits = 32;
  int64_t images = 0;
  std::string dataset, data_sha256;
  bool margins = true;  // false: decisions alone were computed, and margin_delta is 0 everywhere
  std::string arithmetic = kArithmetic;
  std::vector<SweptArray> arrays;  // none: of a store that an earlier version wrote
  bool of_pairs() const { return IsOfPairs(kind); }
  std::string fault_of_values() const;  // "flip", "sa0" or "sa1": which fault of activations was evaluated
  bool operator==(const SweepRow&) const = default;
};

// What the flips of some bits of one tensor do, one element a fault, in the order of the cells (or of the pairs: words
// in order, then the lower bit, then the higher one).
struct SweepPart {
  std::string tensor;
  int64_t bits = 0;   // of a code
  int64_t codes = 0;  // of the tensor
  int64_t first = 0;  // number of the part's first fault in the tensor
  struct Fault {
    uint32_t changed = 0;      // predictions that differ from the fault-free ones
    uint32_t broken = 0;       // right before, wrong now
    uint32_t repaired = 0;     // wrong before, right now
    int64_t margin_delta = 0;  // summed over the images, in units of 2^-20
    uint8_t held = 0;          // what the bit held before (of a pair: the higher one's times 2 is added), or one of:
    static constexpr uint8_t kDiffers = 0xfe;  // from image to image
    static constexpr uint8_t kLeftOut = 0xff;  // the fault was not evaluated, since it cannot be
    bool is_left_out() const { return held == kLeftOut; }
    bool operator==(const Fault&) const = default;
  };
  std::vector<Fault> faults;
};

// One measurement of how sharply a model's loss rises around its weights (docs/formats.md names the measures).
struct SharpnessRow {
  int64_t id = 0;        // given by the store
  int64_t model = 0;     // ModelRow::id
  std::string key;       // a hash of what decides the numbers, beside the model: settings, training images
  std::string settings;  // JSON
  std::string dataset, data_sha256;
  int64_t images = 0;             // training images
  double loss = 0, accuracy = 0;  // fault-free, on these images
  struct Value {
    std::string measure;
    std::string layer;     // a weight tensor, or empty: the whole network
    double parameter = 0;  // radius, fault rate, or rank of an eigenvalue
    double value = 0;      // NaN: could not be measured
    double error = 0;      // standard error, or the residual of an eigenvalue
    bool operator==(const Value&) const = default;
  };
  struct Node {  // of the spectral density
    int64_t probe = 0;
    double value = 0, weight = 0;
    bool operator==(const Node&) const = default;
  };
  struct Point {  // of a loss surface
    std::string surface;
    double x = 0, y = 0, loss = 0, accuracy = 0;
    bool operator==(const Point&) const = default;
  };
  std::vector<Value> values;
  std::vector<Node> density;
  std::vector<Point> points;
  bool operator==(const SharpnessRow&) const = default;
};

struct RunRow {
  int64_t id = 0;
  std::string started, finished;  // UTC; finished is empty for an interrupted run
  std::string command, settings, version, machine;
};

class Store {
 public:
  // Opens or makes a store. Throws IoError, and InputError where the file is not a store, or has another schema
  // version.
  static Store Create(const std::filesystem::path& path);
  static Store OpenForReading(const std::filesystem::path& path);
  static Store OpenForWriting(const std::filesystem::path& path);

  // The settings that all trials of this store share, or null.
  nlohmann::json settings() const;
  // One transaction: `decide` gets the settings in the store (or null), and returns those to keep, or throws. When
  // programs start together, one claims the store, and the others see what it claimed.
  void ClaimSettings(const std::function<nlohmann::json(const nlohmann::json& there)>& decide);

  bool HasTrials() const;

  // What decided trials besides their own columns, as JSON: seed, images, data, sampler, arithmetic; where unusual,
  // also the reading of the file, how bytes became real inputs, and which parameters can fail.
  int64_t AddCondition(const nlohmann::json& condition);
  std::map<int64_t, nlohmann::json> Conditions() const;

  // Throws InputError where another model has this label.
  void CheckLabel(const std::string& label, const std::string& sha256) const;
  // Adds a model with its layers and epochs, or gives the id of the one with this label. Throws InputError where that
  // is another model, or was evaluated on other images. Where it was read by older rules, what the file says now takes
  // its place; trials of the older reading stay, and are stale.
  int64_t AddModel(const ModelRow& model);
  std::vector<ModelRow> Models() const;  // in the order in which they were added

  int64_t BeginRun(const std::string& command, const nlohmann::json& settings);
  // Marks the run as finished and folds the write-ahead log into the file, which then is whole by itself.
  void FinishRun(int64_t run);

  // One transaction. Rows already there are left as they are.
  void AddTrials(int64_t run, const std::vector<TrialRow>& trials);
  std::vector<TrialRow> Trials() const;  // those of the models' newest reading
  int64_t StaleTrials() const;           // how many others there are
  std::optional<TrialRow> Trial(const std::string& id) const;

  void AddFaultList(const std::string& name, const std::string& csv);
  std::optional<std::string> FaultList(const std::string& name) const;

  // Adds a sweep, or gives the id of the one with these settings.
  int64_t AddSweep(const SweepRow& sweep);
  std::vector<SweepRow> Sweeps() const;  // of the models' newest reading
  // One transaction.
  void AddSweepPart(int64_t run, int64_t sweep, const SweepPart& part);
  std::vector<SweepPart> SweepParts(int64_t sweep) const;  // by tensor, then by first fault

  // One transaction. Replaces what the store has for this model and key.
  void AddSharpness(int64_t run, const SharpnessRow& sharpness);
  std::vector<SharpnessRow> Sharpness() const;  // by model, then as they were added

  // What `steadfast latency` measured of a model (docs/formats.md), replacing what was there.
  void SetLatency(int64_t run, int64_t model, const nlohmann::json& latency);
  std::vector<std::pair<int64_t, nlohmann::json>> Latencies() const;

  // What faults do to each class of a model (`steadfast evaluate`; docs/formats.md), replacing what was there.
  void SetClasses(int64_t run, int64_t model, const nlohmann::json& classes);
  std::vector<std::pair<int64_t, nlohmann::json>> Classes() const;
  // Of a sweep: how much the bits of each part of the banks matter (docs/formats.md); the last one of each model.
  void SetBankMap(int64_t run, int64_t model, const nlohmann::json& map);
  std::vector<std::pair<int64_t, nlohmann::json>> BankMaps() const;

  std::vector<RunRow> Runs() const;

  void SetClaims(const std::vector<ClaimRow>& claims);
  std::vector<ClaimRow> Claims() const;

 private:
  Store(const std::filesystem::path& path, Database::Mode mode);
  void CheckSchema();
  void Upgrade();
  void ReplaceModel(int64_t id, const ModelRow& model);
  void AddLayersAndEpochs(int64_t id, const ModelRow& model);
  std::vector<std::pair<int64_t, nlohmann::json>> DocumentsOf(const char* table, const char* column) const;
  nlohmann::json ParseStored(const std::string& text, const char* what) const;
  std::string TrialColumns() const;
  std::vector<TrialRow> AllTrials() const;
  std::function<bool(const TrialRow&)> IsStale() const;
  std::vector<SweepRow> AllSweeps() const;
  void AddSweptArrays(int64_t sweep, const std::vector<SweptArray>& arrays);
  bool HasTable(const char* name) const;
  bool HasTables() const;
  bool HasColumn(const char* table, const char* column) const;

  std::string path_;
  Database database_;
};

// Each way in which two settings differ: "seed: 1 there, 2 here". Objects are compared key by key, by path.
std::vector<std::string> Differences(const nlohmann::json& there, const nlohmann::json& here,
                                     const std::string& path = "");

}  // namespace steadfast::store
