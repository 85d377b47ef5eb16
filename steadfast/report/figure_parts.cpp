#include "steadfast/report/figure_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace steadfast::report {

using nlohmann::json;

namespace {

constexpr const char* kPalette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"};
const json kDashes = {json::array({1, 0}), json::array({6, 3}), json::array({2, 2}), json::array({8, 3, 2, 3})};
constexpr const char* kShapes[] = {"circle", "square", "triangle-up", "diamond", "cross", "triangle-down"};

}  // namespace

std::vector<int64_t> AllModels(const Evidence& evidence) {
  std::vector<int64_t> ids;
  for (const auto& model : evidence.models) ids.push_back(model.id);
  return ids;
}

std::vector<std::string> GroupsOf(const Evidence& evidence, const std::vector<int64_t>& models) {
  std::vector<std::string> groups;
  for (int64_t id : models) {
    const std::string name = evidence.GroupName(evidence.model(id));
    if (std::find(groups.begin(), groups.end(), name) == groups.end()) groups.push_back(name);
  }
  return groups;
}

json GroupColor(const std::vector<std::string>& groups, const std::string& title) {
  json range = json::array();
  for (size_t g = 0; g < groups.size(); ++g) range.push_back(kPalette[g % std::size(kPalette)]);
  return {{"field", "group"},
          {"type", "nominal"},
          {"title", title},
          {"scale", {{"domain", groups}, {"range", range}}},
          {"legend", {{"orient", "bottom"}, {"symbolLimit", 60}, {"labelLimit", 0}, {"symbolOpacity", 1}}}};
}

json GroupDash(const std::vector<std::string>& groups) {
  json range = json::array();
  for (size_t g = 0; g < groups.size(); ++g) range.push_back(kDashes[g % kDashes.size()]);
  return {{"field", "group"},
          {"type", "nominal"},
          {"title", "recipe"},
          {"scale", {{"domain", groups}, {"range", range}}},
          {"legend", {{"orient", "bottom"}, {"symbolLimit", 60}, {"labelLimit", 0}, {"symbolOpacity", 1}}}};
}

json GroupShape(const std::vector<std::string>& groups) {
  json range = json::array();
  for (size_t g = 0; g < groups.size(); ++g) range.push_back(kShapes[g % std::size(kShapes)]);
  return {{"field", "group"},
          {"type", "nominal"},
          {"title", "recipe"},
          {"scale", {{"domain", groups}, {"range", range}}},
          {"legend", {{"orient", "bottom"}, {"symbolLimit", 60}, {"labelLimit", 0}, {"symbolOpacity", 1}}}};
}

json LegendFilter() {
  return {{"name", "pick"}, {"select", {{"type", "point"}, {"fields", {"group"}}}}, {"bind", "legend"}};
}
json FilteredOpacity(double shown) {
  return {{"condition", {{"param", "pick"}, {"value", shown}}}, {"value", 0.04}};
}

json Quantitative(const std::string& field, const std::string& title) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}, {"scale", {{"zero", false}}}};
}
json Logarithmic(const std::string& field, const std::string& title) {
  return {{"field", field},
          {"type", "quantitative"},
          {"title", title},
          {"scale", {{"type", "log"}}},
          {"axis", {{"format", "~g"}, {"grid", true}, {"tickCount", 4}}}};
}

json Panels(const std::string& field, const std::vector<std::string>& order) {
  return {{"field", field}, {"type", "nominal"}, {"title", nullptr}, {"sort", order}};
}

json Rates(const std::string& field, const std::vector<double>& rates) {
  json x = Logarithmic(field, "faulty bits, share");
  x["axis"]["values"] = rates;
  x["axis"]["labelOverlap"] = "greedy";
  const double room = rates.front() == rates.back() ? 2.0 : 1.0;  // a single rate stands in the middle
  x["scale"]["domain"] = {rates.front() / room, rates.back() * room};
  x["scale"]["nice"] = false;
  x["scale"]["padding"] = 8;
  return x;
}

json TooltipOf(const std::vector<std::pair<std::string, std::string>>& fields) {
  json list = json::array();
  for (const auto& [field, title] : fields) list.push_back({{"field", field}, {"title", title}});
  return list;
}

json Choice(const std::string& name, const std::string& text, const std::vector<std::string>& ids,
            const std::vector<std::string>& titles) {
  return {{"name", name},
          {"value", ids.front()},
          {"bind", {{"input", "select"}, {"options", ids}, {"labels", titles}, {"name", text + " "}}}};
}

std::string CsvNumber(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "";
}

std::string CommandsOf(const std::vector<store::RunRow>& runs, const std::string& kind, const std::string& otherwise) {
  std::vector<std::string> commands;
  for (const auto& run : runs) {
    const std::string command = "steadfast " + run.command;
    if (KindOf(run) == kind && !run.command.empty() &&
        std::find(commands.begin(), commands.end(), command) == commands.end())
      commands.push_back(command);
  }
  return commands.empty() ? otherwise : fmt::format("{}", fmt::join(commands, "; "));
}

std::string CommandsOf(const Evidence& evidence, const std::string& kind, const std::string& otherwise) {
  std::vector<store::RunRow> runs;
  for (const Source& source : evidence.sources) runs.insert(runs.end(), source.runs.begin(), source.runs.end());
  return CommandsOf(runs, kind, otherwise);
}

std::string FiguresCommand(const Evidence& evidence) {
  std::string command = "steadfast report";
  for (const Source& source : evidence.sources) command.append(" ").append(source.path);
  return command + " --figures DIR";
}

}  // namespace steadfast::report
