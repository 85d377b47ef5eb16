// Accuracy over fault rates, group by group: what a figure and a terminal draw.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "steadfast/report/evidence.h"

namespace steadfast::report {

struct CurvePoint {
  std::string group;            // Evidence::GroupName
  std::string fault, encoding;  // fault "none": the fault-free networks, rate 0
  double rate;
  double accuracy, low, high;  // percent; 95 % t interval over networks (trials, if there is one network), or NaN
  int64_t networks, trials;    // the largest number of trials that any network has
};

// Of one store, in the order of its models, faults, encodings and rates.
std::vector<CurvePoint> AccuracyCurves(const Evidence& evidence, const Source& source);

// What a part of memory costs when it alone fails: of trials whose fault says where it is ("flip@weights").
struct TargetDamage {
  std::string group, fault, target;  // "flip", "weights"
  double rate;
  double damage, low, high;  // points of accuracy lost; interval as CurvePoint's
};
std::vector<TargetDamage> DamageByTarget(const Evidence& evidence, const Source& source);
// "memory of chip systolic", or "plain memory".
std::string MemoryOf(const Source& source);

// "bit flips", "stuck-at-0"; "bit flips (gray)" where the store has several encodings.
std::string FaultTitle(const std::string& fault);
std::string FaultTitle(const std::string& fault, const std::string& encoding, bool several_encodings);
bool HasSeveralEncodings(const std::vector<CurvePoint>& curves);

}  // namespace steadfast::report
