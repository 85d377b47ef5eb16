#include "steadfast/report/sweep_report.h"
#include "steadfast/base/score_unit.h"
#include "steadfast/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "steadfast/report/text_table.h"

namespace steadfast::report {
namespace {

using store::SweepPart;

// The pairs of a tensor's cells from number `first` on, `count` of them, in the order of a sweep of pairs.
template <typename Visit>
void ForEachPair(const SweepPart& part, int64_t word_bits, const Visit& visit) {
  const int64_t per_word = word_bits / part.bits * part.bits, cells = part.codes * part.bits;
  const int64_t of_word = per_word * (per_word - 1) / 2, count = static_cast<int64_t>(part.faults.size());
  int64_t number = part.first / of_word * of_word;
  for (int64_t word = part.first / of_word * per_word; number < part.first + count && word < cells; word += per_word) {
    const int64_t end = std::min(cells, word + per_word);
    for (int64_t low = word; low < end; ++low) {
      for (int64_t high = low + 1; high < end; ++high, ++number) {
        if (number >= part.first && number < part.first + count &&
            !part.faults[static_cast<size_t>(number - part.first)].is_left_out())
          visit(part.faults[static_cast<size_t>(number - part.first)], low, high);
      }
    }
  }
}

SweptFault Named(const SweepPart& part, const std::string& kind, int64_t correct, const SweepPart::Fault& fault,
                 bool active) {
  SweptFault swept;
  swept.tensor = part.tensor;
  swept.kind = kind;
  swept.active = active;
  swept.correct = correct;
  if (!active) return swept;
  swept.correct += static_cast<int64_t>(fault.repaired) - static_cast<int64_t>(fault.broken);
  swept.changed = fault.changed;
  swept.broken = fault.broken;
  swept.repaired = fault.repaired;
  swept.margin_delta = fault.margin_delta;
  return swept;
}

// Lower accuracy, then more changed predictions, then a smaller margin, then the earlier place.
auto Criticality(const SweptFault& f) {
  return std::tuple(f.correct, -f.changed, f.margin_delta, f.kind, f.tensor, f.index, f.bit, f.second_index,
                    f.second_bit);
}

}  // namespace

int64_t EvaluatedFaults(const SweepPart& part) {
  return std::count_if(part.faults.begin(), part.faults.end(),
                       [](const SweepPart::Fault& fault) { return !fault.is_left_out(); });
}

SweptBits BitsOf(const store::SweepRow& sweep, const std::vector<SweepPart>& parts) {
  SweptBits bits;
  std::map<std::string, int64_t> cells;
  for (const SweepPart& part : parts) {
    cells[part.tensor] = part.bits * part.codes;
    bits.flipped += EvaluatedFaults(part);
  }
  for (const store::SweptArray& array : sweep.arrays) {
    const auto found = cells.find(array.tensor);
    if (found != cells.end()) found->second = array.faults;
  }
  for (const auto& [tensor, count] : cells) bits.all += count;
  return bits;
}

std::string WhatWasSwept(const store::SweepRow& sweep) {
  const size_t first = sweep.kind.find_first_of(":@");
  std::string what = first == std::string::npos ? "" : sweep.kind.substr(first + 1);
  if (sweep.of_pairs()) what = what.empty() ? "pairs" : "pairs, " + what;
  if (const std::string fault = sweep.fault_of_values(); fault != "flip")
    what = fault + (what.empty() ? "" : ", " + what);
  return what;
}

void ForEachFault(const store::ModelRow& model, const store::SweepRow& sweep, const std::vector<SweepPart>& parts,
                  const std::vector<std::string>& kinds, const std::function<void(const SweptFault&)>& visit) {
  for (const auto& kind : kinds) {
    for (const SweepPart& part : parts) {
      if (!sweep.of_pairs()) {
        for (size_t f = 0; f < part.faults.size(); ++f) {
          if (part.faults[f].is_left_out()) continue;
          const bool differs = part.faults[f].held == SweepPart::Fault::kDiffers, held = part.faults[f].held != 0;
          if (differs && kind != sweep.fault_of_values()) continue;
          const bool active = differs || kind == "flip" || (kind == "sa0" && held) || (kind == "sa1" && !held);
          SweptFault swept = Named(part, kind, model.correct, part.faults[f], active);
          const int64_t cell = part.first + static_cast<int64_t>(f);
          swept.index = cell / part.bits;
          swept.bit = static_cast<int>(cell % part.bits);
          visit(swept);
        }
        continue;
      }
      ForEachPair(part, sweep.word_bits, [&](const SweepPart::Fault& fault, int64_t low, int64_t high) {
        SweptFault swept = Named(part, kind, model.correct, fault, true);
        swept.index = low / part.bits;
        swept.bit = static_cast<int>(low % part.bits);
        swept.second_index = high / part.bits;
        swept.second_bit = static_cast<int>(high % part.bits);
        visit(swept);
      });
    }
  }
}

SweepReport MakeSweepReport(const store::ModelRow& model, const store::SweepRow& sweep,
                            const std::vector<SweepPart>& parts, const std::vector<std::string>& kinds,
                            int64_t critical) {
  SweepReport report{model, sweep, kinds, sweep.of_pairs() ? SweptBits{} : BitsOf(sweep, parts), {}, {}};
  struct Sums {
    int64_t faults = 0, correct = 0, worst = 0, harmless = 0, changed = 0, margin = 0;
  };
  std::vector<std::tuple<std::string, std::string, int>> order;  // kind, tensor, bit
  std::map<std::tuple<std::string, std::string, int>, Sums> sums;
  const auto add = [&](const SweptFault& fault, int bit) {
    const auto [at, added] = sums.try_emplace({fault.kind, fault.tensor, bit});
    if (added) order.push_back(at->first);
    Sums& s = at->second;
    s.worst = added ? fault.correct : std::min(s.worst, fault.correct);
    ++s.faults;
    s.correct += fault.correct;
    s.harmless += fault.changed == 0;
    s.changed += fault.changed;
    s.margin += fault.margin_delta;
  };
  const auto less = [](const SweptFault& a, const SweptFault& b) { return Criticality(a) < Criticality(b); };
  std::vector<SweptFault>& worst = report.most_critical;  // a heap, the least critical on top
  ForEachFault(model, sweep, parts, kinds, [&](const SweptFault& fault) {
    if (!sweep.of_pairs()) add(fault, fault.bit);
    add(fault, -1);
    if (critical <= 0 || fault.changed == 0) return;
    if (static_cast<int64_t>(worst.size()) == critical && !less(fault, worst.front())) return;
    worst.push_back(fault);
    std::push_heap(worst.begin(), worst.end(), less);
    if (static_cast<int64_t>(worst.size()) <= critical) return;
    std::pop_heap(worst.begin(), worst.end(), less);
    worst.pop_back();
  });
  std::sort_heap(worst.begin(), worst.end(), less);
  // Tensors in the order of the parts, bits ascending, the whole tensor last.
  std::map<std::string, size_t> place;
  for (const SweepPart& part : parts) place.try_emplace(part.tensor, place.size());
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    const auto key = [&](const auto& k) {
      return std::tuple(std::get<0>(k), place.at(std::get<1>(k)), std::get<2>(k) < 0 ? 99 : std::get<2>(k));
    };
    return key(a) < key(b);
  });
  for (const auto& key : order) {
    const Sums& s = sums.at(key);
    const double faults = static_cast<double>(s.faults), images = static_cast<double>(sweep.images);
    report.positions.push_back({std::get<1>(key), std::get<0>(key), std::get<2>(key), s.faults,
                                static_cast<double>(s.correct) / faults / images, static_cast<double>(s.worst) / images,
                                static_cast<double>(s.harmless) / faults, static_cast<double>(s.changed) / faults,
                                static_cast<double>(s.margin) * kScoreUnit / faults / images});
  }
  return report;
}

std::string ToText(const SweepReport& report) {
  std::string text = fmt::format("{}: {} of {} images right without faults ({} %); memory: {}, words of {} bits\n\n",
                                 Printable(report.model.label), report.model.correct, report.sweep.images,
                                 Percent(report.model.accuracy()), report.sweep.encoding, report.sweep.word_bits);
  if (!report.bits.is_whole())
    text += fmt::format("A sample: {} of the {} bits of these tensors were flipped.\n\n", report.bits.flipped,
                        report.bits.all);
  TextTable table({"fault", "tensor", ">bit", ">faults", ">mean accuracy %", ">worst %", ">harmless %",
                   ">predictions changed", ">margin change"});
  for (const auto& p : report.positions) {
    table.AddRow({p.kind, p.tensor, p.bit < 0 ? "all" : fmt::format("{}", p.bit), fmt::format("{}", p.faults),
                  fmt::format("{:.3f}", p.mean_accuracy * 100), Percent(p.worst_accuracy), Percent(p.harmless_share),
                  fmt::format("{:.1f}", p.mean_changed),
                  report.sweep.margins ? fmt::format("{:+.5f}", p.mean_margin_change) : ""});
  }
  text += table.Text();
  if (report.most_critical.empty()) return text;
  text += "\nMost critical:\n";
  const bool pairs = report.sweep.of_pairs();
  TextTable critical(
      {"fault", "tensor", ">code", ">bit", ">accuracy %", ">changed", ">broken", ">repaired", ">margin change"});
  for (const auto& f : report.most_critical) {
    const auto images = static_cast<double>(report.sweep.images);
    critical.AddRow(
        {f.kind, f.tensor, pairs ? fmt::format("{} {}", f.index, f.second_index) : fmt::format("{}", f.index),
         pairs ? fmt::format("{} {}", f.bit, f.second_bit) : fmt::format("{}", f.bit),
         Percent(static_cast<double>(f.correct) / images), fmt::format("{}", f.changed), fmt::format("{}", f.broken),
         fmt::format("{}", f.repaired),
         report.sweep.margins ? fmt::format("{:+.4f}", static_cast<double>(f.margin_delta) * kScoreUnit / images)
                              : ""});
  }
  return text + critical.Text();
}

nlohmann::json ToJson(const SweepReport& report, const PlaceOfBit& place_of) {
  const auto images = static_cast<double>(report.sweep.images);
  nlohmann::json positions = nlohmann::json::array(), critical = nlohmann::json::array();
  for (const auto& p : report.positions) {
    positions.push_back(
        {{"fault", p.kind},
         {"tensor", p.tensor},
         {"bit", p.bit < 0 ? nlohmann::json() : nlohmann::json(p.bit)},
         {"faults", p.faults},
         {"mean_accuracy", p.mean_accuracy},
         {"worst_accuracy", p.worst_accuracy},
         {"harmless_share", p.harmless_share},
         {"mean_changed_predictions", p.mean_changed},
         {"mean_margin_change", report.sweep.margins ? nlohmann::json(p.mean_margin_change) : nlohmann::json()}});
  }
  for (const auto& f : report.most_critical) {
    nlohmann::json bits = nlohmann::json::array();
    const auto add_bit = [&](int64_t index, int bit) {
      const SweptPlace place = place_of(f.tensor, index, bit);
      bits.push_back({{"index", index},
                      {"bit", bit},
                      {"memory", place.memory},
                      {"bank", place.bank},
                      {"row", place.row},
                      {"column", place.column}});
    };
    add_bit(f.index, f.bit);
    if (f.second_bit >= 0) add_bit(f.second_index, f.second_bit);
    critical.push_back(
        {{"fault", f.kind},
         {"tensor", f.tensor},
         {"bits", bits},
         {"accuracy", static_cast<double>(f.correct) / images},
         {"changed", f.changed},
         {"broken", f.broken},
         {"repaired", f.repaired},
         {"mean_margin_change", report.sweep.margins
                                    ? nlohmann::json(static_cast<double>(f.margin_delta) * kScoreUnit / images)
                                    : nlohmann::json()}});
  }
  return {{"schema", 1},
          {"model",
           {{"label", report.model.label}, {"sha256", report.model.sha256}, {"accuracy", report.model.accuracy()}}},
          {"sweep",
           {{"kind", report.sweep.kind},
            {"encoding", report.sweep.encoding},
            {"word_bits", report.sweep.word_bits},
            {"images", report.sweep.images},
            {"dataset", report.sweep.dataset},
            {"data_sha256", report.sweep.data_sha256},
            {"is_whole", report.bits.is_whole()}}},
          {"positions", positions},
          {"most_critical", critical}};
}

std::string SweepCsv(const store::ModelRow& model, const store::SweepRow& sweep, const std::vector<SweepPart>& parts,
                     const std::vector<std::string>& kinds, const PlaceOfBit& place_of) {
  const bool pairs = sweep.of_pairs();
  std::string csv = fmt::format(
      "tensor,index,bit,{}fault,active,accuracy,changed,broken,repaired,mean_margin_change,role,memory,bank,row,"
      "column{}\n",
      pairs ? "second_index,second_bit," : "", pairs ? ",second_column" : "");
  const auto images = static_cast<double>(sweep.images);
  std::map<std::string, std::string> roles;
  for (const store::SweptArray& array : sweep.arrays) roles[array.tensor] = array.role;
  ForEachFault(model, sweep, parts, kinds, [&](const SweptFault& f) {
    csv += fmt::format("{},{},{},", CsvField(f.tensor), f.index, f.bit);
    if (pairs) csv += fmt::format("{},{},", f.second_index, f.second_bit);
    csv += fmt::format("{},{},{},{},{},{},", f.kind, f.active ? 1 : 0, static_cast<double>(f.correct) / images,
                       f.changed, f.broken, f.repaired);
    if (sweep.margins) csv += fmt::format("{}", static_cast<double>(f.margin_delta) * kScoreUnit / images);
    const SweptPlace place = place_of(f.tensor, f.index, f.bit);
    csv += fmt::format(",{},{},{},{},{}", roles[f.tensor], CsvField(place.memory), place.bank, place.row, place.column);
    if (pairs) csv += fmt::format(",{}", place_of(f.tensor, f.second_index, f.second_bit).column);
    csv += "\n";
  });
  return csv;
}

}  // namespace steadfast::report
