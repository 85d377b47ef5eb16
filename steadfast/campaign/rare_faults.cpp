#include "steadfast/campaign/rare_faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "steadfast/base/elementary.h"
#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/campaign/sweep.h"  // ChipInKind
#include "steadfast/memory/fault_list.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/statistics/bounded_mean.h"

namespace steadfast::campaign {
namespace {

constexpr double kMostExpected = 100;

// Numbers in (0, 1), one after another.
class Uniforms {
 public:
  Uniforms(PhiloxKey key, uint64_t stream) : key_(key), stream_(stream) {}
  double Next() {
    constexpr uint32_t kRare = 0x52415245;
    const PhiloxOutput random =
        Philox4x32({static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32), number_++, kRare}, key_);
    return OpenUnit(random[0], random[1]);
  }
  int64_t Below(int64_t count) {
    return std::min(count - 1, static_cast<int64_t>(Next() * static_cast<double>(count)));
  }

 private:
  PhiloxKey key_;
  uint64_t stream_;
  uint32_t number_ = 0;
};

}  // namespace

CriticalSets::CriticalSets(std::vector<double> criticality) : criticality_(std::move(criticality)) {
  double sum = 0;
  for (const double one : criticality_) sums_.push_back(sum += one);
  for (double& one : criticality_) one = sum > 0 ? one / sum : 1 / static_cast<double>(size());
  if (sum > 0) return;
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = static_cast<double>(i + 1);
}

CriticalSets::Drawn CriticalSets::Draw(PhiloxKey key, uint64_t draw, int64_t count) const {
  Uniforms uniforms(key, draw);
  std::set<int64_t> bits;
  if (uniforms.Next() < kPlainShare) {
    bits.insert(uniforms.Below(size()));
  } else {
    const double at = uniforms.Next() * sums_.back();
    bits.insert(std::min(size() - 1, std::upper_bound(sums_.begin(), sums_.end(), at) - sums_.begin()));
  }
  while (static_cast<int64_t>(bits.size()) < std::min(count, size())) bits.insert(uniforms.Below(size()));
  Drawn drawn{{bits.begin(), bits.end()}, 0};
  drawn.weight = WeightOf(drawn.bits);
  return drawn;
}

double CriticalSets::WeightOf(const std::vector<int64_t>& bits) const {
  const auto all = static_cast<double>(size());
  double sum = 0;
  for (const int64_t bit : bits) sum += kPlainShare / all + (1 - kPlainShare) * criticality_[static_cast<size_t>(bit)];
  return std::min(1 / kPlainShare, static_cast<double>(bits.size()) / all / sum);  // but for rounding it is less
}

SeveralFaults::SeveralFaults(int64_t bits, double rate) {
  if (!(rate > 0 && rate < 1)) throw UsageError(fmt::format("--rate: {}, expected above 0 and below 1", rate));
  const auto n = static_cast<double>(bits);
  if (n * rate > kMostExpected)
    throw UsageError(fmt::format(
        "--rate {}: {:.0f} of {} bits are faulty on average, and this is for at most {:.0f}; use `steadfast inject`",
        rate, n * rate, bits, kMostExpected));
  const double all_right = PortableLog1p(-rate);
  none_ = PortableExp(n * all_right);
  one_ = n * rate * PortableExp((n - 1) * all_right);
  double probability = n * (n - 1) / 2 * rate * rate * PortableExp((n - 2) * all_right);
  for (double count = 2; count <= n; ++count) {
    sums_.push_back(several_ += probability);
    probability *= (n - count) / (count + 1) * rate / (1 - rate);
    if (count > n * rate && probability < several_ * 1e-18) break;
  }
}

int64_t SeveralFaults::CountAt(double uniform) const {
  const auto found = std::upper_bound(sums_.begin(), sums_.end(), uniform * several_);
  return 2 + std::min<int64_t>(found - sums_.begin(), static_cast<int64_t>(sums_.size()) - 1);
}

namespace {

// What single faults do to a bit that can fail.
struct SingleFaults {
  std::vector<memory::BitAddress> bits;
  std::vector<double> lost;  // accuracy
  double mean_lost = 0, mean_square = 0, below = 0;
};

// The faults of a sweep of the array; nothing where one that can be is missing.
std::optional<std::vector<store::SweepPart::Fault>> FaultsOfArray(const std::vector<store::SweepPart>& parts,
                                                                  const memory::MemoryImage& image, int array) {
  const memory::MemoryArray& of_memory = image.arrays()[static_cast<size_t>(array)];
  store::SweepPart::Fault missing;
  missing.held = store::SweepPart::Fault::kLeftOut;
  std::vector<store::SweepPart::Fault> faults(static_cast<size_t>(of_memory.cells()), missing);
  for (const store::SweepPart& part : parts) {
    if (part.tensor != of_memory.name || part.first + static_cast<int64_t>(part.faults.size()) > of_memory.cells())
      continue;
    std::copy(part.faults.begin(), part.faults.end(), faults.begin() + part.first);
  }
  for (int64_t cell = 0; cell < of_memory.cells(); ++cell) {
    if (image.CanFail({array, cell}) && faults[static_cast<size_t>(cell)].is_left_out()) return std::nullopt;
  }
  return faults;
}

std::optional<SingleFaults> SingleFaultsOf(const std::vector<store::SweepPart>& parts, const store::SweepRow& sweep,
                                           const memory::MemoryImage& image, const RareSettings& settings,
                                           int64_t clean_correct) {
  SingleFaults single;
  for (int array = 0; array < static_cast<int>(image.arrays().size()); ++array) {
    const auto faults = FaultsOfArray(parts, image, array);
    if (!faults) return std::nullopt;
    for (int64_t cell = 0; cell < static_cast<int64_t>(faults->size()); ++cell) {
      if (!image.CanFail({array, cell})) continue;
      const store::SweepPart::Fault& fault = (*faults)[static_cast<size_t>(cell)];
      const bool differs = fault.held == store::SweepPart::Fault::kDiffers;
      if (differs && sweep.fault_of_values() != memory::NameOf(settings.fault)) return std::nullopt;
      const bool active = differs || settings.fault == memory::FaultKind::kFlip ||
                          (settings.fault == memory::FaultKind::kStuckAt0) == (fault.held != 0);
      const int64_t fewer = active ? int64_t{fault.broken} - int64_t{fault.repaired} : 0;
      const auto images = static_cast<double>(sweep.images);
      const double lost = static_cast<double>(fewer) / images;
      single.bits.push_back({array, cell});
      single.lost.push_back(lost);
      single.mean_lost += lost;
      single.mean_square += lost * lost;
      single.below += static_cast<double>(clean_correct - fewer) / images < settings.floor ? 1 : 0;
    }
  }
  for (double* sum : {&single.mean_lost, &single.mean_square, &single.below})
    *sum /= static_cast<double>(single.bits.size());
  return single;
}

class Rare {
 public:
  explicit Rare(const RareSettings& settings)
      : settings_(settings),
        file_(model::ReadModelFile(settings.model, settings.data.reading)),
        image_(memory::ImageOn(settings.chip, file_.model, {settings.encoding, settings.word_bits}, settings.where)),
        single_(FromSweep()) {}

  RareResult Run(const std::filesystem::path& store, const std::function<void(const CampaignProgress&)>& on_progress,
                 const Cancellation* cancellation) {
    std::vector<double> criticality;
    for (const double lost : single_.lost) criticality.push_back(std::max(0.0, lost));
    const CriticalSets sets(std::move(criticality));
    RareResult result{model_, sets.size(), {}};
    memory::FaultLists lists;
    std::vector<SeveralFaults> several;
    std::vector<double> weights;
    for (size_t r = 0; r < settings_.rates.size(); ++r) {
      several.emplace_back(sets.size(), settings_.rates[r]);
      for (int64_t t = 0; t < settings_.trials; ++t) {
        const auto number = static_cast<uint64_t>(static_cast<int64_t>(r) * settings_.trials + t);
        Uniforms uniforms(KeyOfSeed(settings_.seed), number << 1);
        const int64_t count = several.back().CountAt(uniforms.Next());
        const CriticalSets::Drawn drawn = sets.Draw(KeyOfSeed(settings_.seed), number << 1 | 1, count);
        weights.push_back(drawn.weight);
        for (const int64_t bit : drawn.bits)
          lists[number].faults.push_back({single_.bits[static_cast<size_t>(bit)], settings_.fault});
      }
    }
    const std::vector<store::TrialRow> trials = RunTrials(lists, store, on_progress, cancellation);
    for (size_t r = 0; r < settings_.rates.size(); ++r) {
      const size_t first = r * static_cast<size_t>(settings_.trials), count = static_cast<size_t>(settings_.trials);
      result.rates.push_back(EstimateOf(several[r], settings_.rates[r], std::span(trials).subspan(first, count),
                                        std::span(weights).subspan(first, count)));
    }
    return result;
  }

 private:
  SingleFaults FromSweep() {
    const auto store = store::Store::OpenForReading(settings_.sweep);
    const TestData data = LoadTestData(file_, settings_.data);
    std::string found = "none of this model";
    for (const store::ModelRow& model : store.Models()) {
      if (model.sha256 != file_.sha256) continue;
      for (const store::SweepRow& sweep : store.Sweeps()) {
        if (sweep.model != model.id || sweep.of_pairs()) continue;
        if (sweep.encoding != memory::NameOf(settings_.encoding) || sweep.data_sha256 != data.sha256 ||
            sweep.images != data.images.size()) {
          found = fmt::format("one of this model in encoding {} on {} images", sweep.encoding, sweep.images);
          continue;
        }
        if (!HasInputAndChip(sweep, data.images.elements)) {
          found = "one of this model with other --input-scale, --mean or --std, or of another --chip";
          continue;
        }
        model_ = model;
        if (auto single = SingleFaultsOf(store.SweepParts(sweep.id), sweep, image_, settings_, model.correct))
          return std::move(*single);
        found = "one of this model, encoding and images that lacks bits, or has them stuck otherwise";
      }
    }
    throw InputError(fmt::format(
        "{}: has no whole sweep of {} ({}) on these images; it has {}. Run `steadfast sweep` with the same --where, "
        "--encoding and --images, without --sample and --faults, into it",
        settings_.sweep.string(), memory::NameOf(settings_.where), memory::NameOf(settings_.encoding), found));
  }

  // Whether the sweep met the same numbers, and, where values share buffers, the same buffers.
  bool HasInputAndChip(const store::SweepRow& sweep, data::Elements elements) const {
    const std::string input = NameOf(settings_.data.input, file_.model, elements);
    if (!input.empty() && !sweep.kind.ends_with("@" + input)) return false;
    const bool shares = std::any_of(image_.arrays().begin(), image_.arrays().end(),
                                    [](const auto& array) { return array.parameter < 0 && !array.is_own_buffer; });
    return !shares || sweep.kind.find(ChipInKind(settings_.chip)) != std::string::npos;
  }

  std::vector<store::TrialRow> RunTrials(const memory::FaultLists& lists, const std::filesystem::path& store,
                                         const std::function<void(const CampaignProgress&)>& on_progress,
                                         const Cancellation* cancellation) const {
    const TemporaryFolder temporary;
    CampaignSettings campaign;
    campaign.models = {settings_.model};
    campaign.encodings = {settings_.encoding};
    campaign.word_bits = settings_.word_bits;
    campaign.where = settings_.where;
    campaign.chip = settings_.chip;
    campaign.data = settings_.data;
    campaign.threads = settings_.threads;
    campaign.memory_bytes = settings_.memory_bytes;
    campaign.command = settings_.command;
    campaign.fault_list = temporary.path() / "sets.csv";
    campaign.are_weighted = campaign.extend = true;
    WriteFileWhole(campaign.fault_list, memory::ToCsv(lists, image_));
    const CampaignResult result =
        RunCampaign(campaign, store.empty() ? temporary.path() / "trials.sqlite" : store, on_progress, cancellation);
    if (result.models[0].correct != model_.correct || result.models[0].images != model_.images)
      throw InputError(fmt::format("{}: says {} of {} images right without faults, and here it is {} of {}",
                                   settings_.sweep.string(), model_.correct, model_.images, result.models[0].correct,
                                   result.models[0].images));
    return result.trials;
  }

  // The mean of chips of which `several` have what the weighted values say, and the others what is known.
  statistics::Estimate Together(double known, double several, std::span<const double> values, double least,
                                double most) const {
    constexpr double kLargestWeight = 1 / CriticalSets::kPlainShare;
    double mean = 0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    const auto interval = statistics::BoundedMeanInterval(values, least * kLargestWeight, most * kLargestWeight);
    mean = std::clamp(mean, least, most);  // weights are 1 on average, not exactly
    return {known + several * mean,
            {known + several * std::max(least, interval.low), known + several * std::min(most, interval.high)}};
  }

  RareEstimate EstimateOf(const SeveralFaults& several, double rate, std::span<const store::TrialRow> trials,
                          std::span<const double> weights) const {
    const double clean = model_.accuracy();
    RareEstimate estimate{.rate = rate,
                          .none = several.none(),
                          .one = several.one(),
                          .several = several.several(),
                          .lost_by_one = single_.mean_lost,
                          .below_by_one = single_.below};
    std::vector<double> lost, below;
    double squares = 0;
    for (size_t t = 0; t < trials.size(); ++t) {
      const double one = clean - trials[t].accuracy();
      lost.push_back(weights[t] * one);
      below.push_back(weights[t] * (trials[t].accuracy() < settings_.floor ? 1 : 0));
      squares += weights[t] * one * one / static_cast<double>(trials.size());
    }
    estimate.lost = Together(several.one() * single_.mean_lost, several.several(), lost, clean - 1, clean);
    if (settings_.floor > 0) {
      const double known = several.one() * single_.below + (clean < settings_.floor ? several.none() : 0);
      estimate.below = Together(known, several.several(), below, 0, 1);
    }
    estimate.effective_sample_size = statistics::EffectiveSampleSize(weights);
    const double spread = statistics::StandardDeviation(lost) * several.several();
    const double of_plain =
        several.one() * single_.mean_square + several.several() * squares - estimate.lost.mean * estimate.lost.mean;
    if (spread > 0 && of_plain > 0)
      estimate.plain_trials = of_plain / (spread * spread / static_cast<double>(trials.size()));
    return estimate;
  }

  const RareSettings& settings_;
  const model::ModelFile file_;
  const memory::MemoryImage image_;
  store::ModelRow model_;
  const SingleFaults single_;
};

}  // namespace

RareResult RunRare(const RareSettings& settings, const std::filesystem::path& store,
                   const std::function<void(const CampaignProgress&)>& on_progress, const Cancellation* cancellation) {
  for (size_t r = 1; r < settings.rates.size(); ++r) {
    if (std::find(settings.rates.begin(), settings.rates.begin() + static_cast<std::ptrdiff_t>(r), settings.rates[r]) !=
        settings.rates.begin() + static_cast<std::ptrdiff_t>(r))
      throw UsageError(fmt::format("--rate: {} stands there twice", settings.rates[r]));
  }
  if (settings.trials < 2) throw UsageError(fmt::format("--trials: {}, expected at least 2", settings.trials));
  return Rare(settings).Run(store, on_progress, cancellation);
}

}  // namespace steadfast::campaign
