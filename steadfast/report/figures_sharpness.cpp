// Figures of why it breaks: sharpness, spectrum, surfaces, the tie; and the list of all figures.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "steadfast/base/text.h"
#include "steadfast/report/contour.h"
#include "steadfast/report/figure.h"
#include "steadfast/report/figure_parts.h"
#include "steadfast/report/sharpness_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/summary.h"

namespace steadfast::report {

using nlohmann::json;

namespace {

std::string MeasuredBy(const Evidence& evidence) {
  return CommandsOf(evidence, "sharpness", "steadfast sharpness MODEL... --store STORE");
}

const store::SharpnessRow* RowOf(const Evidence& evidence, int64_t model) {
  for (const auto& row : evidence.sharpness) {
    if (row.model == model) return &row;
  }
  return nullptr;
}

std::vector<int64_t> FirstWithSharpness(const Evidence& evidence) {
  return FirstOfEachGroup(evidence, [&](const store::ModelRow& m) { return RowOf(evidence, m.id) != nullptr; });
}

// "as, seed 0"; the label itself if no model has that label, or the model has no recipe.
std::string ShortName(const Evidence& evidence, const std::string& label) {
  for (const auto& model : evidence.models) {
    if (model.label == label && !model.recipe.empty())
      return fmt::format("{}, seed {}", evidence.GroupName(model), model.seed);
  }
  return label;
}

std::string SurfaceTitle(const std::string& surface) {
  static const std::map<std::string, std::string> titles = {{"filter", "a random filter-normalized direction"},
                                                            {"eigenvector-1", "the top eigenvector"},
                                                            {"eigenvector-2", "the second eigenvector"},
                                                            {"filter-plane", "two random filter-normalized directions"},
                                                            {"eigenvector-plane", "the two top eigenvectors"}};
  const auto found = titles.find(surface);
  return found == titles.end() ? surface : found->second;
}

}  // namespace

json WholeSpec(const Figure& figure) {
  json spec = figure.spec;
  spec["$schema"] = "https://vega.github.io/schema/vega-lite/v6.json";
  spec["description"] = figure.description;
  spec["data"] = {{"values", figure.csv}, {"format", {{"type", "csv"}}}};
  return spec;
}

std::optional<Figure> SharpnessFigure(const Evidence& evidence) {
  if (evidence.sharpness.empty()) return std::nullopt;
  std::vector<std::string> ids, titles;
  std::string csv = "group,network,measure,value,error\n";
  std::vector<int64_t> models;
  for (const auto& row : evidence.sharpness) models.push_back(row.model);
  for (const MeasureKey& key : MeasuresOf(evidence.sharpness)) {
    const std::string id = fmt::format("{} {}", key.measure, FormatShortest(key.parameter));
    ids.push_back(id);
    titles.push_back(TitleOf(key));
    for (const auto& row : evidence.sharpness) {
      for (const auto& v : row.values) {
        if (v.measure != key.measure || v.parameter != key.parameter || !v.layer.empty() || !std::isfinite(v.value))
          continue;
        csv += fmt::format("{},{},{},{},{}\n", CsvField(evidence.GroupName(evidence.model(row.model))),
                           CsvField(evidence.model(row.model).label), id, CsvNumber(v.value),
                           CsvNumber(v.error, "{:.3g}"));
      }
    }
  }
  const auto preferred = std::find(ids.begin(), ids.end(), "sam-relative 0.02");
  json choice = Choice("measure", "measure", ids, titles);
  if (preferred != ids.end()) choice["value"] = *preferred;
  const auto groups = GroupsOf(evidence, models);
  const json y = {
      {"field", "group"}, {"type", "nominal"}, {"sort", groups}, {"title", nullptr}, {"axis", {{"labelLimit", 170}}}};
  const json only = {{{"filter", "datum.measure == measure"}}};
  json color = GroupColor(groups);
  color["legend"] = nullptr;  // the axis says it
  const json spec = {{"params", {choice}},
                     {"height", 24 * groups.size()},
                     {"transform", only},
                     {"layer",
                      {{{"mark", {{"type", "point"}, {"filled", true}, {"size", 46}, {"opacity", 0.75}}},
                        {"encoding",
                         {{"x", Quantitative("value", "value of the measure")},
                          {"y", y},
                          {"color", color},
                          {"tooltip", TooltipOf({{"network", "network"}, {"value", "value"}, {"error", "error"}})}}}},
                       {{"mark", {{"type", "tick"}, {"thickness", 2}, {"size", 20}}},
                        {"encoding",
                         {{"x", {{"aggregate", "mean"}, {"field", "value"}, {"type", "quantitative"}}},
                          {"y", y},
                          {"color", color}}}}}}};
  return Figure{
      "sharpness",
      "Sharpness by recipe",
      "One point a network, a tick at the mean. SAM sharpness is the largest increase of the loss that gradient "
      "ascent found within the radius; average sharpness that of random perturbations as long; the Hessian is "
      "of the loss in the quantized weights, with rounding passed straight through.",
      fmt::format("Strips of points of {} measures for {} recipes; choose the measure below the figure.", ids.size(),
                  groups.size()),
      MeasuredBy(evidence),
      spec,
      csv};
}

std::optional<Figure> SpectrumFigure(const Evidence& evidence) {
  std::vector<int64_t> models = FirstOfEachGroup(evidence, [&](const store::ModelRow& m) {
    const auto* row = RowOf(evidence, m.id);
    return row != nullptr && !row->density.empty();
  });
  if (models.empty()) return std::nullopt;
  double low = 0, high = 0;
  for (int64_t id : models) {
    for (const auto& node : RowOf(evidence, id)->density) {
      if (!std::isfinite(node.value)) continue;
      low = std::min(low, node.value);
      high = std::max(high, node.value);
    }
  }
  // The quadrature's nodes, each as a normal bell.
  constexpr int kPlaces = 240;
  const double width = std::max((high - low) * 0.008, 1e-12), from = low - 4 * width, to = high + 4 * width;
  std::string csv = "group,network,eigenvalue,density\n";
  for (int64_t id : models) {
    for (int i = 0; i <= kPlaces; ++i) {
      const double x = from + (to - from) * i / kPlaces;
      double density = 0;
      for (const auto& node : RowOf(evidence, id)->density) {
        if (!std::isfinite(node.value) || !std::isfinite(node.weight)) continue;
        const double z = (x - node.value) / width;
        density += node.weight * std::exp(-z * z / 2) / (width * std::sqrt(2 * std::numbers::pi));
      }
      if (density < 1e-7) density = 1e-7;
      csv += fmt::format("{},{},{:.4g},{:.4g}\n", CsvField(evidence.GroupName(evidence.model(id))),
                         CsvField(evidence.model(id).label), x, density);
    }
  }
  const auto groups = GroupsOf(evidence, models);
  json y = Logarithmic("density", "density of eigenvalues");
  y["scale"]["domainMin"] = 1e-7;
  const json spec = {
      {"height", 260},
      {"params", {LegendFilter()}},
      {"mark", {{"type", "line"}, {"strokeWidth", 1.8}}},
      {"encoding",
       {{"x", Quantitative("eigenvalue", "eigenvalue of the Hessian")},
        {"y", y},
        {"color", GroupColor(groups)},
        {"strokeDash", GroupDash(groups)},
        {"opacity", FilteredOpacity()},
        {"tooltip", TooltipOf({{"network", "network"}, {"eigenvalue", "eigenvalue"}, {"density", "density"}})}}}};
  return Figure{
      "spectrum",
      "Spectrum of the Hessian",
      fmt::format("Stochastic Lanczos quadrature (Ghorbani et al., 2019), each node drawn as a bell of width "
                  "{:.2g}; the first network of each recipe. A tail further to the right is a sharper minimum.",
                  width),
      fmt::format("Density of eigenvalues between {:.3g} and {:.3g} for {} networks.", low, high, models.size()),
      MeasuredBy(evidence),
      spec,
      csv};
}

std::optional<Figure> SurfaceFigure(const Evidence& evidence) {
  const auto models = FirstWithSharpness(evidence);
  std::vector<std::string> panels;
  std::vector<int64_t> drawn;
  std::string csv = "group,network,panel,x,loss,accuracy\n";
  for (int64_t id : models) {
    for (const auto& p : RowOf(evidence, id)->points) {
      if (p.surface.starts_with("line:") || p.surface.ends_with("-plane") || !(p.loss > 0)) continue;
      const std::string panel = SurfaceTitle(p.surface);
      if (std::find(panels.begin(), panels.end(), panel) == panels.end()) panels.push_back(panel);
      if (drawn.empty() || drawn.back() != id) drawn.push_back(id);
      csv += fmt::format("{},{},{},{:.5g},{:.5g},{:.2f}\n", CsvField(evidence.GroupName(evidence.model(id))),
                         CsvField(evidence.model(id).label), CsvField(panel), p.x, p.loss, 100 * p.accuracy);
    }
  }
  if (panels.empty()) return std::nullopt;
  const auto groups = GroupsOf(evidence, drawn);
  const json spec = {
      {"facet", Panels("panel", panels)},
      {"resolve", {{"scale", {{"x", "independent"}}}}},
      {"spec",
       {{"height", 220},
        {"params", {LegendFilter()}},
        {"mark", {{"type", "line"}, {"strokeWidth", 1.8}}},
        {"encoding",
         {{"x", Quantitative("x", "way along it")},
          {"y", Logarithmic("loss", "loss")},
          {"color", GroupColor(groups)},
          {"strokeDash", GroupDash(groups)},
          {"opacity", FilteredOpacity()},
          {"tooltip",
           TooltipOf({{"network", "network"}, {"x", "way"}, {"loss", "loss"}, {"accuracy", "accuracy, %"}})}}}}}};
  return Figure{
      "surface-lines",
      "The loss along directions",
      "From each network (0) both ways; the first network of each recipe. Random directions have, filter by "
      "filter, the norm of the weights (Li et al., 2018); along eigenvectors the unit is the norm of all weights.",
      fmt::format("Curves of the loss along {} directions for {} networks.", panels.size(), drawn.size()),
      MeasuredBy(evidence),
      spec,
      csv};
}

std::optional<Figure> BetweenFigure(const Evidence& evidence) {
  std::vector<std::string> pairs;
  std::string csv = "group,x,quantity,value\n";
  for (const auto& row : evidence.sharpness) {
    for (const auto& p : row.points) {
      if (!p.surface.starts_with("line:") || !std::isfinite(p.loss)) continue;
      const std::string pair = fmt::format("{} → {}", ShortName(evidence, evidence.model(row.model).label),
                                           ShortName(evidence, p.surface.substr(5, p.surface.rfind('@') - 5)));
      if (std::find(pairs.begin(), pairs.end(), pair) == pairs.end()) pairs.push_back(pair);
      csv += fmt::format("{},{:.5g},loss,{:.5g}\n{},{:.5g},\"accuracy, %\",{:.2f}\n", CsvField(pair), p.x, p.loss,
                         CsvField(pair), p.x, 100 * p.accuracy);
    }
  }
  if (pairs.empty()) return std::nullopt;
  json color = GroupColor(pairs, "networks");
  color["legend"]["columns"] = 1;
  const json spec = {
      {"facet", Panels("quantity", {"loss", "accuracy, %"})},
      {"resolve", {{"scale", {{"y", "independent"}}}}},
      {"spec",
       {{"height", 200},
        {"params", {LegendFilter()}},
        {"mark", {{"type", "line"}, {"strokeWidth", 1.8}}},
        {"encoding",
         {{"x", Quantitative("x", "from the first network (0) to the second (1)")},
          {"y", Quantitative("value", "")},
          {"color", color},
          {"opacity", FilteredOpacity()},
          {"tooltip",
           TooltipOf({{"group", "networks"}, {"x", "way"}, {"quantity", "quantity"}, {"value", "value"}})}}}}}};
  return Figure{
      "surface-between",
      "On the straight line between two networks",
      "Quantized weights, biases and activation scales all move together. A hill between two networks means that "
      "they lie in different valleys.",
      fmt::format("Loss and accuracy on {} lines.", pairs.size()),
      MeasuredBy(evidence),
      spec,
      csv};
}

std::optional<Figure> PlaneFigure(const Evidence& evidence) {
  std::vector<std::string> ids, titles, surfaces, surface_titles;
  std::string csv = "kind,network,surface,x,y,x2,y2,loss,accuracy,line,place\n";
  int line = 0;
  for (int64_t id : FirstWithSharpness(evidence)) {
    std::map<std::string, std::vector<const store::SharpnessRow::Point*>> planes;
    for (const auto& p : RowOf(evidence, id)->points) {
      if (p.surface.ends_with("-plane")) planes[p.surface].push_back(&p);
    }
    if (planes.empty()) continue;
    const std::string name = fmt::format("n{}", id);
    ids.push_back(name);
    titles.push_back(evidence.model(id).label);
    for (const auto& [surface, points] : planes) {
      if (std::find(surfaces.begin(), surfaces.end(), surface) == surfaces.end()) {
        surfaces.push_back(surface);
        surface_titles.push_back(SurfaceTitle(surface));
      }
      std::set<double> xs, ys;
      std::vector<double> logs;
      double lowest = INFINITY, highest = -INFINITY;
      for (const auto* p : points) {
        xs.insert(p->x);
        ys.insert(p->y);
        const double loss = std::max(p->loss, 1e-6);
        logs.push_back(std::log10(loss));
        lowest = std::min(lowest, logs.back());
        highest = std::max(highest, logs.back());
      }
      const std::vector<double> x(xs.begin(), xs.end()), y(ys.begin(), ys.end());
      if (x.size() < 2 || y.size() < 2 || logs.size() != x.size() * y.size()) continue;
      const double half_x = (x[1] - x[0]) / 2, half_y = (y[1] - y[0]) / 2;
      for (const auto* p : points) {
        if (!std::isfinite(p->loss)) continue;
        csv += fmt::format("cell,{},{},{:.5g},{:.5g},{:.5g},{:.5g},{:.4g},{:.2f},,\n", name, CsvField(surface),
                           p->x - half_x, p->y - half_y, p->x + half_x, p->y + half_y, std::max(p->loss, 1e-6),
                           100 * p->accuracy);
      }
      std::vector<double> levels;
      for (int k = 1; k <= 8; ++k) levels.push_back(lowest + (highest - lowest) * k / 9);
      for (const ContourLine& contour : Contours(x, y, logs, levels)) {
        ++line;
        int place = 0;
        for (const auto& [px, py] : contour.points) {
          csv += fmt::format("line,{},{},{:.4g},{:.4g},,,{:.4g},,{},{:04}\n", name, CsvField(surface), px, py,
                             std::pow(10.0, contour.level), line, place++);
        }
      }
    }
  }
  if (ids.empty() || surfaces.empty()) return std::nullopt;
  const auto where = [](const char* kind) {
    return json({{{"filter",
                   fmt::format("datum.kind == '{}' && datum.network == network && datum.surface == surface", kind)}}});
  };
  const json x = {{"field", "x"},
                  {"type", "quantitative"},
                  {"title", "first direction"},
                  {"scale", {{"nice", false}, {"zero", false}}}};
  const json y = {{"field", "y"},
                  {"type", "quantitative"},
                  {"title", "second direction"},
                  {"scale", {{"nice", false}, {"zero", false}}}};
  const json spec = {
      {"params", {Choice("network", "network", ids, titles), Choice("surface", "plane", surfaces, surface_titles)}},
      {"usermeta", {{"widest", 520}}},
      {"height", 400},
      {"layer",
       {{{"transform", where("cell")},
         {"mark", {{"type", "rect"}}},
         {"encoding",
          {{"x", x},
           {"x2", {{"field", "x2"}}},
           {"y", y},
           {"y2", {{"field", "y2"}}},
           {"color",
            {{"field", "loss"},
             {"type", "quantitative"},
             {"title", "loss"},
             {"scale", {{"type", "log"}, {"scheme", "viridis"}}},
             {"legend", {{"orient", "bottom"}, {"gradientLength", 180}, {"format", ".3~r"}}}}},
           {"tooltip", TooltipOf({{"loss", "loss"}, {"accuracy", "accuracy, %"}})}}}},
        {{"transform", where("line")},
         {"mark", {{"type", "line"}, {"strokeWidth", 1.3}, {"color", "white"}, {"opacity", 0.85}}},
         {"encoding",
          {{"x", x},
           {"y", y},
           {"detail", {{"field", "line"}}},
           {"order", {{"field", "place"}, {"type", "quantitative"}}}}}}}}};
  return Figure{
      "surface-planes",
      "The loss on planes",
      "Each network lies in the middle. Lines join points of equal loss, evenly spaced in its logarithm; closer "
      "lines are a steeper wall. Random directions have, filter by filter, the norm of the weights; along eigenvectors "
      "the unit is the norm of all weights.",
      fmt::format("Contours of the loss on {} planes for {} networks; choose below the figure.", surfaces.size(),
                  ids.size()),
      MeasuredBy(evidence),
      spec,
      csv};
}

std::optional<Figure> TieFigure(const Evidence& evidence, const Tie& tie) {
  if (tie.rows.empty()) return std::nullopt;
  std::vector<std::string> scopes, damages, damage_titles, kinds, kind_titles;
  std::string csv = "scope,damage,kind,predictor,value,low,high,networks\n";
  for (const TieRow& row : tie.rows) {
    if (std::find(scopes.begin(), scopes.end(), row.scope) == scopes.end()) scopes.push_back(row.scope);
    const std::string damage = fmt::format("d{}", row.damage);
    if (std::find(damages.begin(), damages.end(), damage) == damages.end()) {
      damages.push_back(damage);
      damage_titles.push_back(tie.damages[row.damage].title);
    }
    const std::tuple<const char*, const char*, const Correlation*> all[] = {
        {"spearman", "Spearman", &row.spearman},
        {"kendall", "Kendall", &row.kendall},
        {"within", "within recipes", &row.within},
        {"partial", "sparsity and norm held", &row.partial}};
    for (const auto& [kind, title, c] : all) {
      if (!std::isfinite(c->value)) continue;
      if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
        kinds.emplace_back(kind);
        kind_titles.emplace_back(title);
      }
      csv += fmt::format("{},{},{},{},{:.3f},{},{},{}\n", row.scope, damage, kind,
                         CsvField(tie.predictors[row.predictor].title), c->value, CsvNumber(c->interval.low, "{:.3f}"),
                         CsvNumber(c->interval.high, "{:.3f}"), row.networks);
    }
  }
  json params = {Choice("damage", "damage", damages, damage_titles), Choice("kind", "correlation", kinds, kind_titles)};
  if (scopes.size() > 1) params.push_back(Choice("scope", "networks", scopes, scopes));
  const std::string filter = std::string("datum.damage == damage && datum.kind == kind") +
                             (scopes.size() > 1 ? " && datum.scope == scope" : "");
  const json y = {{"field", "predictor"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", {{"field", "value"}, {"op", "mean"}, {"order", "descending"}}},
                  {"axis", {{"labelLimit", 260}}}};
  const json scale = {{"domain", {-1, 1}}};
  const json spec = {
      {"params", params},
      {"transform", {{{"filter", filter}}}},
      {"height", 19 * tie.predictors.size()},
      {"layer",
       {{{"mark", {{"type", "rule"}, {"color", "#888888"}, {"strokeDash", {4, 4}}}},
         {"encoding", {{"x", {{"datum", 0}}}}}},
        {{"mark", {{"type", "rule"}, {"strokeWidth", 2.5}, {"color", "#56B4E9"}}},
         {"encoding",
          {{"y", y},
           {"x", {{"field", "low"}, {"type", "quantitative"}, {"title", "rank correlation"}, {"scale", scale}}},
           {"x2", {{"field", "high"}}}}}},
        {{"mark", {{"type", "point"}, {"filled", true}, {"size", 60}, {"color", "#0072B2"}, {"opacity", 1}}},
         {"encoding",
          {{"y", y},
           {"x", {{"field", "value"}, {"type", "quantitative"}, {"scale", scale}}},
           {"tooltip", TooltipOf({{"predictor", "predictor"},
                                  {"value", "correlation"},
                                  {"low", "95 % from"},
                                  {"high", "95 % to"},
                                  {"networks", "networks"}})}}}}}}};
  return Figure{"tie",
                "What predicts fault damage?",
                "Rank correlation of each measure with the accuracy lost to faults, over networks; lines are 95 % "
                "intervals of a bootstrap over recipes and networks. Right of zero: more of it, more damage.",
                fmt::format("Forest plot of the rank correlations of {} measures with {} kinds of damage.",
                            tie.predictors.size(), damages.size()),
                FiguresCommand(evidence),
                spec,
                csv};
}

std::optional<Figure> TieScatterFigure(const Evidence& evidence, const Tie& tie) {
  if (tie.rows.empty()) return std::nullopt;
  // The interval of a network's damage is over its trials; for a mean over rates, over the means of its trials.
  std::map<std::pair<int64_t, std::string>, std::map<int64_t, std::vector<double>>> trials;  // model, damage; trial
  for (const auto& t : evidence.trials) {
    if (t.encoding != "twos") continue;
    trials[{t.model, fmt::format("{} {}", t.fault, FormatShortest(t.rate))}][t.trial].push_back(100 * t.accuracy());
    const auto rates = tie.mean_rates.find(t.fault);
    if (rates != tie.mean_rates.end() &&
        std::find(rates->second.begin(), rates->second.end(), t.rate) != rates->second.end())
      trials[{t.model, t.fault + " mean"}][t.trial].push_back(100 * t.accuracy());
  }
  std::string csv = "group,network";
  for (size_t p = 0; p < tie.predictors.size(); ++p) csv += fmt::format(",p{}", p);
  for (size_t d = 0; d < tie.damages.size(); ++d) csv += fmt::format(",d{},l{},h{}", d, d, d);
  csv += "\n";
  std::vector<int64_t> models;
  for (size_t n = 0; n < tie.networks.size(); ++n) {
    const auto& network = tie.networks[n];
    models.push_back(network.model);
    csv += fmt::format("{},{}", CsvField(evidence.GroupName(evidence.model(network.model))), CsvField(network.label));
    for (const auto& predictor : tie.predictors) csv += fmt::format(",{}", CsvNumber(predictor.values[n], "{:.4g}"));
    for (const auto& damage : tie.damages) {
      const double value = damage.values[n];
      double half = 0;
      const auto found = trials.find({network.model, damage.name});
      if (found != trials.end() && found->second.size() > 1) {
        std::vector<double> means;
        for (const auto& [trial, values] : found->second) means.push_back(statistics::Mean(values));
        const auto interval = statistics::StudentInterval(means);
        half = (interval.high - interval.low) / 2;
      }
      csv += fmt::format(",{},{},{}", CsvNumber(value, "{:.3f}"), CsvNumber(value - half, "{:.3f}"),
                         CsvNumber(value + half, "{:.3f}"));
    }
    csv += "\n";
  }
  const auto ids = [](const char* letter, size_t count) {
    std::vector<std::string> list;
    for (size_t i = 0; i < count; ++i) list.push_back(fmt::format("{}{}", letter, i));
    return list;
  };
  const auto titles = [](const std::vector<TieColumn>& columns) {
    std::vector<std::string> list;
    for (const auto& column : columns) list.push_back(column.title);
    return list;
  };
  json predictor = Choice("predictor", "across", ids("p", tie.predictors.size()), titles(tie.predictors));
  const auto best = RankedFor(tie, "all", 0);
  if (!best.empty()) predictor["value"] = fmt::format("p{}", best.front().predictor);
  const auto groups = GroupsOf(evidence, models);
  const json x = {
      {"field", "across"}, {"type", "quantitative"}, {"title", "the measure"}, {"scale", {{"zero", false}}}};
  const json spec = {{"params",
                      {predictor, Choice("damage", "up", ids("d", tie.damages.size()), titles(tie.damages)),
                       Choice("shown", "measure as", {"rank", "value"}, {"ranks", "values"})}},
                     {"transform",
                      {{{"calculate", "toNumber(datum[predictor])"}, {"as", "x"}},
                       {{"calculate", "toNumber(datum[damage])"}, {"as", "y"}},
                       {{"calculate", "toNumber(datum[replace(damage, 'd', 'l')])"}, {"as", "low"}},
                       {{"calculate", "toNumber(datum[replace(damage, 'd', 'h')])"}, {"as", "high"}},
                       {{"filter", "isValid(datum.x) && isValid(datum.y)"}},
                       {{"window", {{{"op", "rank"}, {"as", "rank"}}}}, {"sort", {{{"field", "x"}}}}},
                       {{"calculate", "shown == 'rank' ? datum.rank : datum.x"}, {"as", "across"}}}},
                     {"height", 320},
                     {"layer",
                      {{{"mark", {{"type", "rule"}}},
                        {"encoding",
                         {{"x", x},
                          {"y",
                           {{"field", "low"},
                            {"type", "quantitative"},
                            {"title", "points of accuracy lost"},
                            {"scale", {{"zero", false}}}}},
                          {"y2", {{"field", "high"}}},
                          {"color", GroupColor(groups)},
                          {"opacity", FilteredOpacity(0.4)}}}},
                       {{"params", {LegendFilter()}},
                        {"mark", {{"type", "point"}, {"filled", true}, {"size", 65}}},
                        {"encoding",
                         {{"x", x},
                          {"y", {{"field", "y"}, {"type", "quantitative"}}},
                          {"color", GroupColor(groups)},
                          {"shape", GroupShape(groups)},
                          {"opacity", FilteredOpacity(0.9)},
                          {"tooltip", TooltipOf({{"network", "network"},
                                                 {"x", "measure"},
                                                 {"y", "points lost"},
                                                 {"low", "95 % from"},
                                                 {"high", "95 % to"}})}}}}}}};
  return Figure{"tie-scatter",
                "Measure against damage, network by network",
                "One point a network; lines are 95 % t intervals over its trials. Choose both axes below, and the "
                "measure as ranks (1: smallest), which is what the correlations see, or as values.",
                fmt::format("Scatter of {} networks.", tie.networks.size()),
                FiguresCommand(evidence),
                spec,
                csv};
}

std::vector<Figure> AllFigures(const Evidence& evidence, const Tie& tie) {
  std::vector<Figure> figures;
  const auto add = [&](std::optional<Figure> figure) {
    if (figure) figures.push_back(std::move(*figure));
  };
  for (const Source& source : evidence.sources) {
    add(AccuracyFigure(evidence, source));
    add(TargetFigure(evidence, source));
    add(DifferencesFigure(evidence, source));
  }
  add(SparsityFigure(evidence));
  add(SparsityDamageFigure(evidence));
  add(SharpnessFigure(evidence));
  add(SpectrumFigure(evidence));
  add(SurfaceFigure(evidence));
  add(BetweenFigure(evidence));
  add(PlaneFigure(evidence));
  add(TieFigure(evidence, tie));
  add(TieScatterFigure(evidence, tie));
  add(CriticalityFigure(evidence));
  add(BankFigure(evidence));
  add(ClassFigure(evidence));
  add(LatencyFigure(evidence));
  add(TrainingFigure(evidence));
  return figures;
}

}  // namespace steadfast::report
