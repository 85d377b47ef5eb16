// What the figures of a report share: scales, colours, filters. Not for others.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/report/evidence.h"

namespace steadfast::report {

// Groups in the order of their first model.
std::vector<std::string> GroupsOf(const Evidence& evidence, const std::vector<int64_t>& models);
std::vector<int64_t> AllModels(const Evidence& evidence);
// From each group, the model of the lowest seed among those for which has(model) is true.
template <typename Has>
std::vector<int64_t> FirstOfEachGroup(const Evidence& evidence, Has has) {
  std::vector<int64_t> firsts;
  for (const auto& model : evidence.models) {
    if (!has(model)) continue;
    bool taken = false;
    for (int64_t& first : firsts) {
      const auto& other = evidence.model(first);
      if (evidence.GroupName(other) != evidence.GroupName(model)) continue;
      taken = true;
      if (model.seed < other.seed) first = model.id;
    }
    if (!taken) firsts.push_back(model.id);
  }
  return firsts;
}

// Encodings of the field "group": colours that colour-blind readers tell apart (Okabe and Ito, 2008), and dashes or
// shapes beside them, so that nothing hangs on colour alone.
nlohmann::json GroupColor(const std::vector<std::string>& groups, const std::string& title = "recipe");
nlohmann::json GroupDash(const std::vector<std::string>& groups);
nlohmann::json GroupShape(const std::vector<std::string>& groups);
// The parameter that makes the legend a filter, and the opacity that obeys it.
nlohmann::json LegendFilter();
nlohmann::json FilteredOpacity(double shown = 1.0);

nlohmann::json Quantitative(const std::string& field, const std::string& title);
nlohmann::json Logarithmic(const std::string& field, const std::string& title);
// A logarithmic axis with ticks at these fault rates, ascending.
nlohmann::json Rates(const std::string& field, const std::vector<double>& rates);
// One panel for each value of a field.
nlohmann::json Panels(const std::string& field, const std::vector<std::string>& order);
nlohmann::json TooltipOf(const std::vector<std::pair<std::string, std::string>>& fields);  // field, title
// A choice beneath the figure. ids and titles run side by side.
nlohmann::json Choice(const std::string& name, const std::string& text, const std::vector<std::string>& ids,
                      const std::vector<std::string>& titles);

// The commands that these runs were started with, each once; `otherwise` where none of them is of this kind (KindOf).
std::string CommandsOf(const std::vector<store::RunRow>& runs, const std::string& kind, const std::string& otherwise);
// The same over all stores.
std::string CommandsOf(const Evidence& evidence, const std::string& kind, const std::string& otherwise);
// "steadfast report a.sqlite b.sqlite --figures DIR": all figures of this report.
std::string FiguresCommand(const Evidence& evidence);

// A number for CSV; empty where it is not finite.
std::string CsvNumber(double value, const char* format = "{:.6g}");

}  // namespace steadfast::report
