// Up to which fault rate a network's accuracy stays above a floor: campaigns, of as many chips as the answer takes.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "steadfast/base/cancellation.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/statistics/tolerance.h"

namespace steadfast::campaign {

struct ToleranceQuestion {
  double floor = 0.85;  // of accuracy, as a share
  double yield = 0.99, confidence = 0.95;
  int64_t chips = 0;          // at each rate at most; 0: so many that two of them may fall below the floor
  std::vector<double> rates;  // ascending, of which bisection tries some
};
// From `from` to `to`, so many in each factor of ten, as numbers that can be typed. Throws UsageError.
std::vector<double> RatesBetween(double from, double to, int64_t per_decade);

// The fault-free accuracy, and how far each answer reaches: on average, and on that share of chips.
struct ToleranceAnswer {
  std::filesystem::path model;
  double clean = 0;
  statistics::Tolerance mean, yield;
};

// settings: one model, fault and encoding; rates, trials and `extend` are the question's. Trials are inject's, kept in
// the store. Throws UsageError where the question is impossible, and what RunCampaign throws.
ToleranceAnswer AskForTolerance(const ToleranceQuestion& question, CampaignSettings settings,
                                const std::filesystem::path& store,
                                const std::function<void(double rate, const CampaignProgress&)>& on_progress,
                                const Cancellation* cancellation);

nlohmann::json ToJson(const ToleranceAnswer& answer);

}  // namespace steadfast::campaign
