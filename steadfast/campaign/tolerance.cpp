#include "steadfast/campaign/tolerance.h"

#include <fmt/format.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::campaign {

using nlohmann::json;

std::vector<double> RatesBetween(double from, double to, int64_t per_decade) {
  if (per_decade < 1) throw UsageError("--per-decade must be at least 1");
  if (!(from > 0 && from <= to && to <= 1)) throw UsageError("--from and --to: rates above 0 to 1, in ascending order");
  const double decades = std::log10(to / from);
  const auto count = static_cast<int64_t>(std::floor(decades * static_cast<double>(per_decade) + 1e-9));
  std::vector<double> rates;
  for (int64_t i = 0; i <= count; ++i) {
    const double rate = from * std::pow(10.0, static_cast<double>(i) / static_cast<double>(per_decade));
    rates.push_back(ParseDouble(fmt::format("{:.3g}", rate), "rate", 0, 1));
  }
  return rates;
}

ToleranceAnswer AskForTolerance(const ToleranceQuestion& question, CampaignSettings settings,
                                const std::filesystem::path& store,
                                const std::function<void(double rate, const CampaignProgress&)>& on_progress,
                                const Cancellation* cancellation) {
  if (!(question.yield > 0 && question.yield < 1)) throw UsageError("--yield must be above 0 and below 1");
  if (!(question.confidence > 0 && question.confidence < 1))
    throw UsageError("--confidence must be above 0 and below 1");
  if (!settings.faults.at(0).process().takes_rate())
    throw UsageError(fmt::format("--fault {}: the rate plays no part in it", memory::NameOf(settings.faults[0])));
  statistics::ToleranceSettings mean = {
      .floor = question.floor, .yield = {}, .confidence = question.confidence, .strengths = question.rates};
  statistics::ToleranceSettings yield = mean;
  yield.yield = question.yield;
  const double each = 1 - (1 - question.confidence) / static_cast<double>(statistics::MostSteps(question.rates.size()));
  mean.chips = yield.chips = question.chips > 0 ? question.chips : statistics::TrialsNeeded(question.yield, each, 2);
  ToleranceAnswer answer{.model = settings.models.at(0)};
  const auto accuracies = [&](double rate, int64_t chips) {
    settings.rates = {rate};
    settings.trials = chips;
    settings.extend = true;
    const CampaignResult result = RunCampaign(
        settings, store, [&](const CampaignProgress& progress) { on_progress(rate, progress); }, cancellation);
    answer.clean = result.models[0].accuracy();
    std::vector<double> shares;
    for (const store::TrialRow& trial : result.trials) shares.push_back(trial.accuracy());
    return shares;
  };
  answer.mean = statistics::FindTolerance(mean, accuracies);
  answer.yield = statistics::FindTolerance(yield, accuracies);
  return answer;
}

namespace {
json OfOne(const statistics::Tolerance& tolerance) {
  json steps = json::array();
  for (const auto& step : tolerance.steps)
    steps.push_back({{"rate", step.strength},
                     {"chips", step.chips},
                     {"below_floor", step.below},
                     {"mean_accuracy", step.mean},
                     {"lower_bound", step.bound},
                     {"holds", step.holds}});
  return {{"rate", tolerance.strength ? json(*tolerance.strength) : json()},
          {"confidence_each", tolerance.confidence_each},
          {"tried", steps}};
}
}  // namespace

json ToJson(const ToleranceAnswer& answer) {
  return {{"model", answer.model.string()},
          {"clean_accuracy", answer.clean},
          {"mean", OfOne(answer.mean)},
          {"yield", OfOne(answer.yield)}};
}

}  // namespace steadfast::campaign
