// What a sample of a sweep says of the whole: means of all faults with intervals, and how long the whole would take.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/statistics/cluster_sample.h"
#include "steadfast/store/store.h"

namespace steadfast::report {

// A tensor's faults in all, cut into parts.
struct SweptStratum {
  std::string tensor;
  int64_t parts = 0, faults = 0;
};

struct ProjectedMeans {
  std::string kind, tensor;  // no tensor: all of them together
  int64_t faults = 0, sampled_faults = 0;
  statistics::Estimate accuracy, harmless_share, changed;
};

struct SweepSample {
  std::vector<ProjectedMeans> means;  // by kind and tensor; then all together
  int64_t faults = 0, sampled_faults = 0;
  statistics::Estimate seconds{};  // of the whole sweep on as many threads
  bool is_timed = false;           // whether parts of every tensor were computed in this run
  int threads = 1;
};

// A bit position of a tensor, from which faults were drawn by chance.
struct SweptPosition {
  std::string tensor, role;
  int bit = 0;
  int64_t faults = 0;  // in all
};

// What drawn faults say of all: of a role, a tensor, or the bit positions of the same number of all tensors.
struct DrawnMeans {
  std::string kind, group, name;  // group: "role", "tensor", "bit" or "all"
  int64_t faults = 0, drawn_faults = 0;
  statistics::Estimate accuracy, harmless_share, changed;  // intervals: statistics/bounded_mean.h
};
// Post-stratified by tensor and bit position. Of stuck-at faults, those that change nothing count as harmless.
std::vector<DrawnMeans> ProjectDrawnFaults(const store::ModelRow& model, const store::SweepRow& sweep,
                                           const std::vector<store::SweepPart>& parts,
                                           const std::vector<SweptPosition>& positions,
                                           const std::vector<std::string>& kinds);
std::string ToText(const std::vector<DrawnMeans>& means);
nlohmann::json ToJson(const std::vector<DrawnMeans>& means);

// parts: of the strata, in their order; part_seconds: seconds of a thread, below 0 where it is not known.
SweepSample ProjectSweep(const store::ModelRow& model, const store::SweepRow& sweep,
                         const std::vector<store::SweepPart>& parts, const std::vector<SweptStratum>& strata,
                         const std::vector<double>& part_seconds, int threads, const std::vector<std::string>& kinds);

std::string ToText(const SweepSample& sample);
nlohmann::json ToJson(const SweepSample& sample);

}  // namespace steadfast::report
