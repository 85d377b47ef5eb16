#include "steadfast/report/campaign_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "steadfast/base/error.h"
#include "steadfast/base/score_unit.h"
#include "steadfast/base/text.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/bounded_mean.h"
#include "steadfast/statistics/mean_sequence.h"

namespace steadfast::report {
namespace {

using nlohmann::json;
using store::ModelRow;
using store::TrialRow;

constexpr double kDropPoints[] = {1.0, 5.0, 10.0};

using Key = std::tuple<int64_t, std::string, std::string, double>;  // model, fault, encoding, rate
Key KeyOf(const TrialRow& t) {
  return {t.model, t.fault, t.encoding, t.rate};
}

// Trials grouped by a key, groups in the order of their first trial.
std::vector<std::vector<const TrialRow*>> Group(const std::vector<TrialRow>& trials) {
  std::map<Key, size_t> index;
  std::vector<std::vector<const TrialRow*>> groups;
  for (const TrialRow& trial : trials) {
    const auto [found, added] = index.emplace(KeyOf(trial), groups.size());
    if (added) groups.emplace_back();
    groups[found->second].push_back(&trial);
  }
  return groups;
}

std::optional<statistics::Interval> SequenceOf(std::vector<const TrialRow*> trials, bool is_sequential) {
  if (!is_sequential) return std::nullopt;
  std::sort(trials.begin(), trials.end(), [](const TrialRow* a, const TrialRow* b) { return a->trial < b->trial; });
  statistics::MeanSequence sequence(0.95);
  for (const TrialRow* t : trials) sequence.Add(t->accuracy());
  return sequence.interval();
}

Outcomes OutcomesOf(const std::vector<const TrialRow*>& trials, const ModelRow& model, std::optional<double> floor) {
  Outcomes outcomes;
  if (floor) outcomes.critical = 0;
  std::vector<double> accuracies;
  for (const TrialRow* t : trials) {
    const auto images = static_cast<double>(t->images);
    accuracies.push_back(t->accuracy());
    outcomes.changed += static_cast<double>(t->changed) / images;
    outcomes.repaired += static_cast<double>(t->repaired) / images;
    const bool is_whole = t->images == model.images;  // otherwise the sums are of other images
    const bool is_still = is_whole && t->margin_sum == model.margin_sum && t->loss_sum == model.loss_sum;
    ++(t->changed > 0 ? outcomes.sdc1 : is_still ? outcomes.masked : outcomes.tolerable);
    outcomes.beneficial += t->repaired > t->broken;
    if (floor && t->accuracy() < *floor) ++*outcomes.critical;
  }
  const auto count = static_cast<double>(trials.size());
  outcomes.changed /= count;
  outcomes.repaired /= count;
  std::sort(accuracies.begin(), accuracies.end());
  accuracies.resize(std::max<size_t>(1, accuracies.size() / 20));
  outcomes.shortfall = statistics::Mean(accuracies);
  return outcomes;
}

Cell CellOf(const std::vector<const TrialRow*>& trials, const ModelRow& model, const ReportOptions& options) {
  std::vector<double> accuracies;
  double faulty = 0, codes = 0, predictions = 0, margin = 0, loss = 0, images = 0;
  for (const TrialRow* t : trials) {
    accuracies.push_back(t->accuracy());
    faulty += static_cast<double>(t->faulty_bits);
    codes += static_cast<double>(t->changed_codes);
    predictions += static_cast<double>(t->changed);
    margin += static_cast<double>(t->margin_sum) * kScoreUnit;
    loss += static_cast<double>(t->loss_sum) * kScoreUnit;
    images += static_cast<double>(t->images);
  }
  const auto n = static_cast<double>(trials.size());
  const TrialRow& first = *trials.front();
  return {first.model,
          first.fault,
          first.encoding,
          first.rate,
          statistics::Summarize(accuracies),
          SequenceOf(trials, options.is_sequential),
          statistics::BoundedMeanInterval(accuracies, 0, 1),
          faulty / n,
          codes / n,
          predictions / n,
          margin / images,
          loss / images,
          OutcomesOf(trials, model, options.floor)};
}

const ModelRow& ModelOf(const CampaignReport& report, int64_t id) {
  for (const auto& model : report.models) {
    if (model.id == id) return model;
  }
  throw InputError(fmt::format("a trial belongs to model {}, which is not there", id));
}

std::optional<double> RateOfDrop(double clean, std::vector<std::pair<double, double>> curve, double points) {
  const double target = clean - points / 100.0;
  std::sort(curve.begin(), curve.end());
  double last_rate = 0.0, last = clean;
  for (const auto& [rate, accuracy] : curve) {
    if (rate > 0 && accuracy <= target) {
      const double share = last > accuracy ? (last - target) / (last - accuracy) : 1.0;
      if (last_rate == 0.0) return rate * share;
      return std::exp(std::log(last_rate) + share * (std::log(rate) - std::log(last_rate)));
    }
    last_rate = rate;
    last = accuracy;
  }
  return std::nullopt;
}

std::vector<DropRate> DropsOf(const CampaignReport& report) {
  std::vector<std::tuple<int64_t, std::string, std::string>> order;
  std::map<std::tuple<int64_t, std::string, std::string>, std::vector<std::pair<double, double>>> curves;
  for (const Cell& cell : report.cells) {
    if (cell.fault.starts_with("list:")) continue;
    const auto key = std::make_tuple(cell.model, cell.fault, cell.encoding);
    if (!curves.contains(key)) order.push_back(key);
    curves[key].emplace_back(cell.rate, cell.accuracy.mean);
  }
  std::vector<DropRate> drops;
  for (const auto& key : order) {
    const auto& [model, fault, encoding] = key;
    for (double points : kDropPoints) {
      drops.push_back(
          {model, fault, encoding, points, RateOfDrop(ModelOf(report, model).accuracy(), curves[key], points)});
    }
  }
  return drops;
}

std::vector<PairedDifference> DifferencesOf(const CampaignReport& report) {
  std::map<std::pair<Key, int64_t>, double> accuracies;
  for (const TrialRow& t : report.trials) accuracies[{KeyOf(t), t.trial}] = t.accuracy();
  std::vector<PairedDifference> differences;
  for (size_t a = 0; a < report.models.size(); ++a) {
    for (size_t b = a + 1; b < report.models.size(); ++b) {
      for (const Cell& cell : report.cells) {
        if (cell.model != report.models[a].id) continue;
        std::vector<double> values;
        for (const TrialRow& t : report.trials) {
          if (t.model != cell.model || t.fault != cell.fault || t.encoding != cell.encoding || t.rate != cell.rate)
            continue;
          const auto other = accuracies.find({Key{report.models[b].id, t.fault, t.encoding, t.rate}, t.trial});
          if (other != accuracies.end()) values.push_back(100.0 * (t.accuracy() - other->second));
        }
        if (values.empty()) continue;
        differences.push_back({cell.model, report.models[b].id, cell.fault, cell.encoding, cell.rate,
                               statistics::Mean(values), statistics::StudentInterval(values)});
      }
    }
  }
  return differences;
}

std::string IntervalText(const statistics::Interval& interval, double factor) {
  if (!std::isfinite(interval.low)) return "(one trial)";
  return fmt::format("{:.2f} to {:.2f}", factor * interval.low, factor * interval.high);
}

}  // namespace

namespace {

std::string OutcomesText(const CampaignReport& report) {
  if (report.cells.empty()) return "";
  const bool has_floor = report.cells[0].outcomes.critical.has_value();
  std::vector<std::string> headers = {"model",   "fault",      "encoding", ">rate",
                                      ">masked", ">tolerable", ">SDC-1",   ">beneficial"};
  if (has_floor) headers.emplace_back(">critical");
  headers.insert(headers.end(), {">images changed", ">made right", ">worst trials"});
  TextTable table(headers);
  for (const Cell& cell : report.cells) {
    const Outcomes& o = cell.outcomes;
    const auto share = [&](int64_t count) {
      return Percent(static_cast<double>(count) / static_cast<double>(cell.accuracy.count));
    };
    std::vector<std::string> row = {ModelOf(report, cell.model).label,
                                    cell.fault,
                                    cell.encoding,
                                    FormatShortest(cell.rate),
                                    share(o.masked),
                                    share(o.tolerable),
                                    share(o.sdc1),
                                    share(o.beneficial)};
    if (has_floor) row.push_back(share(*o.critical));
    row.insert(row.end(), {Percent(o.changed), Percent(o.repaired), Percent(o.shortfall)});
    table.AddRow(row);
  }
  const std::string critical = has_floor ? "; critical: accuracy below the floor" : "";
  return "\nOutcomes, percent of trials (masked: no output moved; tolerable: outputs moved, classes stay; SDC-1: a "
         "class "
         "changed;\nbeneficial: more right than without faults" +
         critical + "), of images, and mean accuracy of the worst twentieth of trials\n\n" + table.Text();
}

}  // namespace

bool EndedAtChance(const ModelRow& model) {
  const json accuracy = json::parse(model.accuracy_json, nullptr, false);
  return accuracy.is_object() && accuracy.contains("at_chance") && accuracy["at_chance"] == true;
}

json JsonNumber(double value) {
  return std::isfinite(value) ? json(value) : json();
}

CampaignReport MakeCampaignReport(std::vector<ModelRow> models, std::vector<TrialRow> trials,
                                  const ReportOptions& options) {
  CampaignReport report{std::move(models), std::move(trials), {}, {}, {}};
  for (const auto& group : Group(report.trials))
    report.cells.push_back(CellOf(group, ModelOf(report, group.front()->model), options));
  report.drops = DropsOf(report);
  report.differences = DifferencesOf(report);
  return report;
}

// Where a few trials lose far more than the others, Student's t does not know how many more such there are.
std::string OutlierText(const CampaignReport& report) {
  constexpr double kFar = 4;  // standard deviations
  std::string text;
  for (const Cell& cell : report.cells) {
    const auto& s = cell.accuracy;
    if (cell.sequence || s.mean - s.minimum <= kFar * s.standard_deviation) continue;
    text += fmt::format("  {}, {} at {}: lowest {} %; whatever the law, the mean is within {}\n",
                        ModelOf(report, cell.model).label, cell.fault, FormatShortest(cell.rate), Percent(s.minimum),
                        IntervalText(cell.any_law, 100));
  }
  if (text.empty()) return text;
  return "A few trials lose far more than the others; the 95 % t interval may miss how many more such there are "
         "(--until and tolerance have\nbounds that hold for any law):\n" +
         text;
}

std::string ToText(const CampaignReport& report) {
  std::string text = "Accuracy under faults, in percent\n\n";
  TextTable table({"model", "fault", "encoding", ">rate", ">trials", ">mean", ">95 % interval", ">st.dev.", ">min",
                   ">5 %", ">median", ">faulty bits", ">changed codes"});
  bool any_at_chance = false;
  for (const ModelRow& model : report.models) {
    const bool at_chance = EndedAtChance(model);
    any_at_chance |= at_chance;
    table.AddRow({model.label + (at_chance ? " (chance)" : ""), "none", "", "0", "", Percent(model.accuracy()), "", "",
                  "", "", "", "0", "0"});
    for (const Cell& cell : report.cells) {
      if (cell.model != model.id) continue;
      const auto& s = cell.accuracy;
      table.AddRow({model.label, cell.fault, cell.encoding, FormatShortest(cell.rate), fmt::format("{}", s.count),
                    Percent(s.mean), IntervalText(cell.sequence.value_or(s.interval), 100),
                    Percent(s.standard_deviation), Percent(s.minimum), Percent(s.quantile05), Percent(s.median),
                    fmt::format("{:.1f}", cell.mean_faulty_bits), fmt::format("{:.1f}", cell.mean_changed_codes)});
    }
  }
  text += table.Text();
  if (std::any_of(report.cells.begin(), report.cells.end(), [](const Cell& cell) { return cell.sequence.has_value(); }))
    text +=
        "(Trials ended when the mean was known well enough: the intervals hold however often they are looked at.)\n";
  if (any_at_chance) text += kAtChance;
  text += OutlierText(report);
  text += OutcomesText(report);
  if (!report.drops.empty()) {
    text += "\nFault rate at which mean accuracy has dropped by 1, 5 and 10 points\n\n";
    TextTable drops({"model", "fault", "encoding", ">1 point", ">5 points", ">10 points"});
    for (size_t i = 0; i + 2 < report.drops.size(); i += 3) {
      const auto show = [&](size_t k) {
        return report.drops[k].rate ? fmt::format("{:.2g}", *report.drops[k].rate) : std::string("not reached");
      };
      drops.AddRow({ModelOf(report, report.drops[i].model).label, report.drops[i].fault, report.drops[i].encoding,
                    show(i), show(i + 1), show(i + 2)});
    }
    text += drops.Text();
  }
  if (!report.differences.empty()) {
    text += "\nPaired differences in accuracy, in points (first minus second, the same trials)\n\n";
    TextTable differences({"first", "second", "fault", "encoding", ">rate", ">difference", ">95 % interval"});
    for (const auto& d : report.differences) {
      differences.AddRow({ModelOf(report, d.model_a).label, ModelOf(report, d.model_b).label, d.fault, d.encoding,
                          FormatShortest(d.rate), fmt::format("{:+.2f}", d.mean), IntervalText(d.interval, 1)});
    }
    text += differences.Text();
  }
  return text;
}

std::string ToCsv(const CampaignReport& report) {
  std::string csv =
      "id,model,model_sha256,fault,encoding,rate,trial,faulty_bits,changed_codes,images,correct,accuracy,changed,"
      "broken,"
      "repaired,mean_margin,mean_loss\n";
  for (const TrialRow& t : report.trials) {
    const ModelRow& model = ModelOf(report, t.model);
    const auto images = static_cast<double>(t.images);
    csv += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", t.id, CsvField(model.label),
                       model.sha256, t.fault, t.encoding, FormatShortest(t.rate), t.trial, t.faulty_bits,
                       t.changed_codes, t.images, t.correct, FormatShortest(t.accuracy()), t.changed, t.broken,
                       t.repaired, FormatShortest(static_cast<double>(t.margin_sum) * kScoreUnit / images),
                       FormatShortest(static_cast<double>(t.loss_sum) * kScoreUnit / images));
  }
  return csv;
}

json ToJson(const CampaignReport& report, const json& settings) {
  json models = json::array(), cells = json::array(), drops = json::array(), differences = json::array();
  for (const ModelRow& m : report.models) {
    models.push_back({{"label", m.label},
                      {"sha256", m.sha256},
                      {"network", m.network},
                      {"recipe", m.recipe},
                      {"seed", m.seed},
                      {"memory_bits", m.memory_bits},
                      {"macs", m.macs},
                      {"images", m.images},
                      {"accuracy", m.accuracy()},
                      {"mean_margin", static_cast<double>(m.margin_sum) * kScoreUnit / static_cast<double>(m.images)},
                      {"mean_loss", static_cast<double>(m.loss_sum) * kScoreUnit / static_cast<double>(m.images)},
                      {"zero_share", m.zero_share ? json(*m.zero_share) : json()}});
  }
  for (const Cell& c : report.cells) {
    const auto& s = c.accuracy;
    cells.push_back({{"model", ModelOf(report, c.model).label},
                     {"fault", c.fault},
                     {"encoding", c.encoding},
                     {"rate", c.rate},
                     {"trials", s.count},
                     {"accuracy",
                      {{"mean", s.mean},
                       {"standard_deviation", s.standard_deviation},
                       {"interval", {JsonNumber(s.interval.low), JsonNumber(s.interval.high)}},
                       {"interval_of_any_law", {c.any_law.low, c.any_law.high}},
                       {"minimum", s.minimum},
                       {"maximum", s.maximum},
                       {"quantiles",
                        {{"0.05", s.quantile05},
                         {"0.25", s.quantile25},
                         {"0.5", s.median},
                         {"0.75", s.quantile75},
                         {"0.95", s.quantile95}}}}},
                     {"mean_faulty_bits", c.mean_faulty_bits},
                     {"mean_changed_codes", c.mean_changed_codes},
                     {"mean_changed_predictions", c.mean_changed_predictions},
                     {"mean_margin", c.mean_margin},
                     {"mean_loss", c.mean_loss},
                     {"outcomes",
                      {{"masked", c.outcomes.masked},
                       {"tolerable", c.outcomes.tolerable},
                       {"sdc1", c.outcomes.sdc1},
                       {"beneficial", c.outcomes.beneficial},
                       {"critical", c.outcomes.critical ? json(*c.outcomes.critical) : json()},
                       {"changed", c.outcomes.changed},
                       {"repaired", c.outcomes.repaired},
                       {"shortfall", c.outcomes.shortfall}}}});
    if (c.sequence) cells.back()["accuracy"]["sequence"] = {c.sequence->low, c.sequence->high};
  }
  for (const DropRate& d : report.drops) {
    drops.push_back({{"model", ModelOf(report, d.model).label},
                     {"fault", d.fault},
                     {"encoding", d.encoding},
                     {"points", d.points},
                     {"rate", d.rate ? json(*d.rate) : json()}});
  }
  for (const PairedDifference& d : report.differences) {
    differences.push_back({{"first", ModelOf(report, d.model_a).label},
                           {"second", ModelOf(report, d.model_b).label},
                           {"fault", d.fault},
                           {"encoding", d.encoding},
                           {"rate", d.rate},
                           {"points", d.mean},
                           {"interval", {JsonNumber(d.interval.low), JsonNumber(d.interval.high)}}});
  }
  return {{"schema", 1},    {"settings", settings}, {"models", models},
          {"cells", cells}, {"drop_rates", drops},  {"differences", differences}};
}

}  // namespace steadfast::report
