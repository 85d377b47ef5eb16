// The figures of a report: Vega-Lite specifications with their data inline.
//
// Each figure is a specification without data, and its data as CSV; docs of the grammar: vega.github.io/vega-lite. A
// figure has a description for those who do not see it and the commands that make its data.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/report/evidence.h"
#include "steadfast/report/tie.h"

namespace steadfast::report {

struct Figure {
  std::string id;  // "accuracy-trials": letters, digits, '-'
  std::string title;
  std::string caption;      // what is drawn, and how to read it
  std::string description;  // what it shows, in a sentence, for screen readers
  std::string made_by;      // the command that measures what it shows
  nlohmann::json spec;      // without data; {"facet": …, "spec": …} lays out as many columns as fit
  std::string csv;
};

// The specification with its data inline, as it stands by itself.
nlohmann::json WholeSpec(const Figure& figure);

// Of one store. Nothing where the store has nothing to draw.
std::optional<Figure> AccuracyFigure(const Evidence& evidence, const Source& source);
std::optional<Figure> DifferencesFigure(const Evidence& evidence, const Source& source);
std::optional<Figure> TargetFigure(const Evidence& evidence, const Source& source);

// Of all stores together.
std::optional<Figure> SparsityFigure(const Evidence& evidence);
std::optional<Figure> SparsityDamageFigure(const Evidence& evidence);
std::optional<Figure> SharpnessFigure(const Evidence& evidence);
std::optional<Figure> SpectrumFigure(const Evidence& evidence);
std::optional<Figure> SurfaceFigure(const Evidence& evidence);
std::optional<Figure> BetweenFigure(const Evidence& evidence);
std::optional<Figure> PlaneFigure(const Evidence& evidence);
std::optional<Figure> TieFigure(const Evidence& evidence, const Tie& tie);
std::optional<Figure> TieScatterFigure(const Evidence& evidence, const Tie& tie);
std::optional<Figure> CriticalityFigure(const Evidence& evidence);
std::optional<Figure> BankFigure(const Evidence& evidence);
std::optional<Figure> ClassFigure(const Evidence& evidence);
std::optional<Figure> LatencyFigure(const Evidence& evidence);
std::optional<Figure> TrainingFigure(const Evidence& evidence);

// All figures, in a reader's order.
std::vector<Figure> AllFigures(const Evidence& evidence, const Tie& tie);

}  // namespace steadfast::report
