// A sweep: every single-bit fault of the memory that holds a model's parameters, on all test images, exactly.
//
// What is evaluated is the flip of each bit. A stuck-at fault of one bit either is that flip or changes nothing,
// depending on the bit's value, which is kept with the result. A bit of a buffer of activations holds another value for
// each image: there one kind of fault is evaluated, as if the cell failed for every image. Numbers depend on model,
// data and memory layout alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/campaign/loaded_model.h"  // DataChoice
#include "steadfast/memory/fault_map.h"       // FaultKind
#include "steadfast/memory/memory_image.h"    // Encoding, MemoryImage
#include "steadfast/store/store.h"

namespace steadfast::campaign {

struct SweepSettings {
  std::filesystem::path model;
  memory::Encoding encoding = memory::Encoding::kTwosComplement;
  int word_bits = 32;
  bool pairs_in_word = false;   // every two bits of a word together, instead of every bit
  bool decisions_only = false;  // no margins; images whose decision provably cannot change stop early
  memory::Where where;          // what can fail
  // Of buffers of activations: a flip, or stuck. Nothing: there must be none.
  std::optional<memory::FaultKind> fault_of_values = memory::FaultKind::kFlip;
  std::optional<memory::Chip> chip;  // where they lie; without: on a plain one, of words of word_bits
  std::vector<std::string> tensors;  // those of them to sweep, weights with or without ".weight"; empty: all
  std::string layers;                // the same as a user types them, comma-separated
  // Only this share of the outputs of each tensor (of the pieces that the work is cut into, at least two), chosen by
  // chance but always the same: a larger share holds all of a smaller one. 1: all.
  double sample = 1;
  // About so many faults alone, drawn by chance within each bit position of each tensor, in proportion to its bits but
  // at least two. 0: all.
  int64_t drawn_faults = 0;
  uint64_t draw_seed = 1;
  DataChoice data;
  int threads = 0;                          // 0: all cores. Changes no number.
  int64_t memory_bytes = int64_t{2} << 30;  // for what is kept of the fault-free run. Changes no number.
  std::string command;                      // for the record
};

struct SweepProgress {
  std::string tensor;  // being worked on
  double share;        // of the faults' work done, of this and earlier runs
  int64_t faults_done, faults;
};

// What a sample stands for: a tensor's faults, in all.
struct SweepStratum {
  std::string tensor;
  int64_t parts = 0, faults = 0;
};

// A bit position of an array, from which faults were drawn.
struct DrawnPosition {
  std::string tensor, role;
  int bit = 0;
  int64_t faults = 0;  // in all
};

struct SweepResult {
  store::ModelRow model;
  store::SweepRow sweep;
  std::vector<store::SweepPart> parts;  // in the order of the model's tensors
  std::vector<SweepStratum> strata;     // in the same order
  std::vector<DrawnPosition> drawn;     // with drawn_faults: by tensor and bit
  std::vector<double> part_seconds;     // [part] of a thread; below 0 where it was in the store
  int threads = 1;
  int64_t resumed_faults = 0;                        // how many were already in the store
  double seconds = 0;                                // of this run's evaluation, fault-free run included
  std::shared_ptr<const memory::MemoryImage> image;  // what was swept
};

// Without a store (empty path) nothing is kept between runs. Throws InputError where the store holds another model of
// this name, UsageError for unknown tensors, too many pairs, or too little memory, InterruptedError when cancelled
// (finished parts are kept).
SweepResult RunSweep(const SweepSettings& settings, const std::filesystem::path& store,
                     const std::function<void(const SweepProgress&)>& on_progress = {},
                     const Cancellation* cancellation = nullptr);

// By which part of its kind a sweep on this chip is known.
std::string ChipInKind(const std::optional<memory::Chip>& chip);

// The bits of a fault of a sweep: cells of the tensor, the lower one first.
std::vector<int64_t> CellsOfFault(const std::string& kind, int64_t fault, int64_t bits, int64_t codes, int word_bits);

}  // namespace steadfast::campaign
