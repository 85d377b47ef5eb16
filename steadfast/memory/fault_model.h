// Which cells of a memory are faulty, and how: independent cells, rows, columns, words, banks, bursts, clusters, cells
// that drift, measured rates, a fixed number, or several of these at once.
//
// A fault model is a text, as --fault and studies have it, and what it samples. Faults come from Philox by their place,
// never from what is stored, and those of a trial at one rate are among its faults at any higher rate (where two parts
// of a mixture meet in a cell, its kind may change). Without --chip a model that looks at rows and banks sees a plain
// chip (chip.h). To add one: a file in fault_models/, its record in fault_model.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "steadfast/base/philox.h"          // PhiloxKey
#include "steadfast/memory/fault_map.h"     // FaultMap
#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

// The cells of an image that a model may make faulty: all, or those that `only` holds.
struct Target {
  const MemoryImage& image;
  bool many_maps = false;  // of single images
  bool is_restricted = false;
  std::vector<std::vector<CellFilter>> only;  // [array] where restricted; no filter: no cell of it

  bool HoldsAnyOf(int array) const { return !is_restricted || !only[static_cast<size_t>(array)].empty(); }
  bool Holds(BitAddress bit) const {
    return image.CanFail(bit) &&
           (!is_restricted || (HoldsAnyOf(bit.array) && image.Holds(only[static_cast<size_t>(bit.array)], bit)));
  }
};

struct ImageRange {
  int64_t first, count;
};
using TakeMap = std::function<void(int64_t image, FaultMap map)>;

class FaultProcess {
 public:
  virtual ~FaultProcess() = default;
  virtual std::string text() const = 0;  // reads back as the same
  // Sorted as a FaultMap is. Bits that the target does not hold may be among them. rate: in [0, 1].
  virtual FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const = 0;
  // The further faults of each of some images, where reads are upset: drawn anew for each. key: of the trial.
  virtual void SampleImages(const Target&, PhiloxKey, uint32_t /*trial*/, double /*rate*/, ImageRange,
                            const TakeMap&) const {}
  virtual void Check(const Target&) const {}           // throws UsageError where the target has nothing for it
  virtual bool is_transient() const { return false; }  // whether images have any
  virtual bool sees_chip() const { return true; }      // whether faults depend on where things lie
  virtual bool takes_rate() const { return true; }     // whether they depend on the rate
  // Tables that the text names by their hash.
  virtual std::vector<std::pair<std::string, std::string>> tables() const { return {}; }
};

using FaultProcessPtr = std::shared_ptr<const FaultProcess>;
// The text of a table by the name that stands in a fault model's text.
using TableSource = std::function<std::string(const std::string& name)>;

struct FaultModelKind {
  std::string_view name;     // "row"
  std::string_view syntax;   // "row[:KIND]", as help texts show it; without commas
  std::string_view meaning;  // what the rate means
  std::string_view source;   // of the law
  FaultProcessPtr (*parse)(const std::vector<std::string>& pieces, const TableSource& tables);  // split at colons
};

// All but independent cells, whose laws are in fault_law.h.
const std::vector<FaultModelKind>& FaultModelKinds();
std::string FaultModelSyntax();  // "flip, sa0, …, row[:KIND], …"

class FaultModel {
 public:
  FaultModel();  // flip
  explicit FaultModel(FaultProcessPtr process) : process_(std::move(process)) {}
  const FaultProcess& process() const { return *process_; }
  bool operator==(const FaultModel& other) const { return process_->text() == other.process_->text(); }

 private:
  FaultProcessPtr process_;
};

std::string NameOf(const FaultModel& model);
// tables: files where nothing else is given. Throws UsageError, InputError for tables.
FaultModel ParseFaultModel(std::string_view text, const TableSource& tables = {});
// Models separated by commas; commas within brackets or quotes separate nothing.
std::vector<FaultModel> ParseFaultModels(std::string_view text, const TableSource& tables = {});

// Throws UsageError where the model cannot be had on this image: nothing is what stands behind its @, or no cell
// drifts.
void CheckFaultModel(const MemoryImage& image, const FaultModel& model);

// The faults of a trial: of cells that can fail. rate: in [0, 1]; throws UsageError outside.
FaultMap SampleFaults(PhiloxKey key, uint64_t trial, const MemoryImage& image, double rate, const FaultModel& model);

// The further faults of some images of the trial, in order, where the model is transient; otherwise none.
void SampleFaultsOfImages(PhiloxKey key, uint64_t trial, const MemoryImage& image, double rate, const FaultModel& model,
                          ImageRange images, const TakeMap& take);

// The pieces of a text outside brackets and double quotes.
std::vector<std::string> SplitOutside(std::string_view text, char separator);

}  // namespace steadfast::memory
