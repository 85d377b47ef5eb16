// What stores found, in a reader's order, as plain data: the page and the terminal tell the same story.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "steadfast/report/evidence.h"
#include "steadfast/report/tie.h"

namespace steadfast::report {

// A table for the page or the terminal: headers that start with '>' are numbers.
struct StoryTable {
  std::string caption;
  std::vector<std::string> headers;
  std::vector<std::vector<std::string>> rows;
};

struct Verdict {
  std::string id, statement, verdict;  // "holds", "does not hold", "undecided"
  std::string effect;                  // "as-saq minus standard: +1.23 points (95 % interval +0.50 to +1.96)"
};

std::string TitleOf(const Evidence& evidence);
std::string QuestionOf(const Evidence& evidence);
std::vector<Verdict> VerdictsOf(const Source& source);
// "12 networks, 5,400 trials, 10,000 test images"
// How much what is stored where costs when it alone fails; no rows where no fault says where it is.
StoryTable TargetTable(const Evidence& evidence, const Source& source);
std::string ExtentOf(const Evidence& evidence, const Source& source);

StoryTable AccuracyTable(const Evidence& evidence, const Source& source);
StoryTable SparsityTable(const Evidence& evidence);
StoryTable SharpnessByGroup(const Evidence& evidence);  // mean over networks, by group
StoryTable SharpnessByLayer(const Evidence& evidence);  // trace and largest eigenvalue of each layer's block
StoryTable TieStoryTable(const Tie& tie, const std::string& scope, size_t damage);
std::vector<std::string> ScopesOf(const Tie& tie);
StoryTable CriticalityTable(const Evidence& evidence, const SweptModel& swept);
StoryTable ClassTable(const Evidence& evidence);
StoryTable LatencyTable(const Evidence& evidence);
StoryTable TrainingTable(const Evidence& evidence);  // what differs between recipes
std::string TrainedAlike(const Evidence& evidence);  // what is the same, in a sentence
StoryTable ModelTable(const Evidence& evidence);
StoryTable RunTable(const Source& source);
// One sentence on what predicts fault damage best; empty where there is no tie.
std::string TieSentence(const Tie& tie);

// ▁▂▃▄▅▆▇█ for values between low and high; a space where a value is not finite.
std::string Sparkline(const std::vector<double>& values, double low, double high);

// The whole story for a terminal.
std::string ToTerminal(const Evidence& evidence, const Tie& tie);

}  // namespace steadfast::report
