#include "steadfast/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "steadfast/base/version.h"
#include "steadfast/report/assets.h"
#include "steadfast/report/figure.h"
#include "steadfast/report/figure_parts.h"  // FiguresCommand
#include "steadfast/report/html.h"
#include "steadfast/report/story.h"

namespace steadfast::report {
namespace {

using html::Escape;
using html::Paragraph;

constexpr size_t kMostCriticalTables = 3;

std::string Safe(const std::string& id) {
  std::string safe;
  for (char c : id) safe += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
  return safe;
}

std::string TableOf(const StoryTable& table) {
  return table.rows.empty() ? "" : html::Table(table.caption, table.headers, table.rows);
}

// A long table behind a line that opens it.
std::string FoldedTable(const StoryTable& table, size_t open_rows) {
  if (table.rows.size() <= open_rows) return TableOf(table);
  return "<details><summary>" + Escape(table.caption) + fmt::format(" ({} rows)", table.rows.size()) + "</summary>" +
         TableOf(table) + "</details>\n";
}

// "</script" within a library would end its element; JavaScript reads "<\/script" as the same.
std::string ScriptText(std::string_view script) {
  std::string text(script);
  for (size_t at = 0; (at = text.find("</", at)) != std::string::npos; at += 3) {
    std::string word = text.substr(at + 2, 6);
    std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
    if (word == "script") text.replace(at, 2, "<\\/");
  }
  return text;
}

class Page {
 public:
  Page(const Evidence& evidence, const Tie& tie, const PageOptions& options)
      : evidence_(evidence), tie_(tie), options_(options), drawn_(!FigureLibraries().empty()) {}

  std::string Make() {
    Verdicts();
    Faults();
    Sparsity();
    Sharpness();
    TieSection();
    Criticality();
    Classes();
    Latency();
    Training();
    Reproduce();
    return Whole();
  }

 private:
  struct Section {
    std::string id, title, body;
  };

  void Add(const std::string& id, const std::string& title, std::string body) {
    if (!body.empty()) sections_.push_back({id, title, std::move(body)});
  }

  std::string Draw(std::optional<Figure> figure) {
    if (!figure || !drawn_) return "";
    const std::string id = Safe(figure->id);
    std::string text = "<figure id=\"figure-" + id + "\"><h3>" + Escape(figure->title) + "</h3>\n";
    text += "<div class=\"vega\" id=\"plot-" + id + "\"></div>\n<script type=\"application/json\" id=\"plot-" + id +
            "-spec\">" + html::ScriptJson(WholeSpec(*figure)) + "</script>\n";
    text += "<noscript><p class=\"note\">This figure is drawn by JavaScript. " + Escape(figure->description) +
            "</p></noscript>\n";
    text += "<figcaption>" + Escape(figure->caption) + "</figcaption>\n<p class=\"made\">Measured by <code>" +
            Escape(figure->made_by) + "</code> · data: " + Escape(figure->id) + ".csv</p></figure>\n";
    return text;
  }

  void Verdicts() {
    std::string body;
    for (const Source& source : evidence_.sources) {
      const auto verdicts = VerdictsOf(source);
      if (verdicts.empty()) continue;
      if (evidence_.sources.size() > 1) body += "<h3>" + Escape(source.name) + "</h3>\n";
      body += "<ol class=\"verdicts\">\n";
      for (const Verdict& v : verdicts) {
        const char* kind = v.verdict == "holds" ? "holds" : v.verdict == "does not hold" ? "fails" : "open";
        body += fmt::format(
            "<li class=\"{}\"><span class=\"verdict\">{}</span> · claim {}: {}<br><span class=\"effect "
            "muted\">{}</span>"
            "</li>\n",
            kind, Escape(v.verdict), Escape(v.id), Escape(v.statement), Escape(v.effect));
      }
      body += "</ol>\n";
    }
    if (const std::string sentence = TieSentence(tie_); !sentence.empty()) body += Paragraph(sentence);
    Add("verdicts", "Verdicts", std::move(body));
  }

  void Faults() {
    std::string body;
    for (const Source& source : evidence_.sources) {
      if (source.trials.empty()) continue;
      if (evidence_.sources.size() > 1) body += "<h3>" + Escape(source.name) + "</h3>\n";
      body += Paragraph(ExtentOf(evidence_, source) + ".");
      if (source.Interrupted()) {
        body += "<p class=\"note\">The last run on this store has not finished: this is not the whole campaign.</p>\n";
      }
      if (source.stale_trials > 0) body += "<p class=\"note\">" + Escape(source.StaleRemark()) + "</p>\n";
      body += Draw(AccuracyFigure(evidence_, source)) + FoldedTable(AccuracyTable(evidence_, source), 20) +
              Draw(TargetFigure(evidence_, source)) + TargetsOf(source) + Draw(DifferencesFigure(evidence_, source));
    }
    Add("faults", "Accuracy under faults", std::move(body));
  }

  std::string TargetsOf(const Source& source) {
    const StoryTable table = TargetTable(evidence_, source);
    return table.rows.empty() ? "" : FoldedTable(table, 20);
  }

  void Sparsity() {
    Add("sparsity", "Sparsity",
        Draw(SparsityFigure(evidence_)) + TableOf(SparsityTable(evidence_)) + Draw(SparsityDamageFigure(evidence_)));
  }

  void Sharpness() {
    if (evidence_.sharpness.empty()) return;
    Add("sharpness", "Sharpness of the loss",
        Draw(SharpnessFigure(evidence_)) + FoldedTable(SharpnessByGroup(evidence_), 12) +
            FoldedTable(SharpnessByLayer(evidence_), 12) + Draw(SpectrumFigure(evidence_)) +
            Draw(SurfaceFigure(evidence_)) + Draw(BetweenFigure(evidence_)) + Draw(PlaneFigure(evidence_)));
  }

  void TieSection() {
    if (tie_.rows.empty()) return;
    std::string body = Paragraph(
        "Do measures of the loss around a network say how much accuracy faults will cost? Networks are ranked by each "
        "measure (of which the loss under bit flips is measured with faults, on training images) and by the accuracy "
        "they lose. Within recipes: only what differs between training seeds of a recipe. "
        "Sparsity and norm held: what is left when the share of zero activations and the norm of the weights are taken "
        "out. Damage is that of codes stored in two's complement.");
    body += Draw(TieFigure(evidence_, tie_)) + Draw(TieScatterFigure(evidence_, tie_));
    for (const auto& scope : ScopesOf(tie_)) body += FoldedTable(TieStoryTable(tie_, scope, 0), 12);
    Add("tie", "The tie between sharpness and damage", std::move(body));
  }

  void Criticality() {
    std::string body = Draw(CriticalityFigure(evidence_));
    size_t tables = 0;
    for (const SweptModel& swept : evidence_.sweeps) {
      if (!swept.parts.empty() && tables++ < kMostCriticalTables)
        body += FoldedTable(CriticalityTable(evidence_, swept), 12);
    }
    body += Draw(BankFigure(evidence_));
    Add("criticality", "Which bits matter", std::move(body));
  }

  void Classes() {
    if (evidence_.classes.empty()) return;
    Add("classes", "Which classes break first", Draw(ClassFigure(evidence_)) + FoldedTable(ClassTable(evidence_), 24));
  }

  void Latency() {
    if (evidence_.latencies.empty()) return;
    Add("latency", "Latency", Draw(LatencyFigure(evidence_)) + FoldedTable(LatencyTable(evidence_), 24));
  }

  void Training() {
    const std::string alike = TrainedAlike(evidence_);
    Add("training", "How the networks were trained",
        TableOf(TrainingTable(evidence_)) + (alike.empty() ? "" : Paragraph(alike)) + Draw(TrainingFigure(evidence_)));
  }

  void Reproduce() {
    std::string body = Paragraph(
        "The same model files, data, seeds and settings give the same numbers: campaigns, sweeps and their statistics "
        "on "
        "any machine and any number of threads, training and sharpness on the same type of machine with the same "
        "libraries. "
        "Each figure's data as CSV, and its specification:");
    body += "<p><code>" + Escape(FiguresCommand(evidence_)) + "</code></p>\n";
    if (!options_.command.empty())
      body += "<p>This page: <code>" + Escape("steadfast " + options_.command) + "</code></p>\n";
    for (const Source& source : evidence_.sources) {
      body += TableOf(RunTable(source));
      if (!source.settings.is_null()) {
        body += "<details><summary>Settings that all trials of " + Escape(source.name) + " share</summary><p><code>" +
                Escape(source.settings.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) +
                "</code></p></details>\n";
      }
    }
    if (!evidence_.sharpness.empty()) {
      body += "<details><summary>Settings of sharpness</summary><p><code>" +
              Escape(evidence_.sharpness.front().settings) + "</code></p></details>\n";
    }
    body += FoldedTable(ModelTable(evidence_), 12);
    Add("reproduce", "How to reproduce this", std::move(body));
  }

  std::string Whole() const {
    std::string scripts, hashes;
    if (drawn_) {
      std::vector<std::string> texts;
      for (std::string_view library : FigureLibraries()) texts.push_back(ScriptText(library));
      texts.push_back(ScriptText(PageScript()));
      for (const auto& text : texts) {
        scripts.append("<script>").append(text).append("</script>\n");
        hashes.append(" ").append(html::ScriptHash(text));
      }
    }
    const std::string title = TitleOf(evidence_);
    std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    // Vega compiles its expressions, so it needs unsafe-eval; no script but those of these hashes runs.
    page +=
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src "
        "data: blob:; script-src 'unsafe-eval'" +
        hashes + "; base-uri 'none'; form-action 'none'\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += fmt::format("<meta name=\"generator\" content=\"Steadfast {}\">\n", Escape(Version()));
    page += "<link rel=\"icon\" href=\"data:,\">\n<title>" + Escape(title) + "</title>\n<style>" +
            std::string(PageStyle()) +
            "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the results</a>\n";
    page += "<header>\n<h1>" + Escape(title) + "</h1>\n<p class=\"lead\">" + Escape(QuestionOf(evidence_)) + "</p>\n";
    page += "<nav aria-label=\"Sections\"><ul>\n";
    for (const Section& section : sections_)
      page += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", section.id, Escape(section.title));
    page += "</ul></nav>\n</header>\n<main id=\"main\">\n";
    if (!drawn_) {
      page +=
          "<p class=\"note\">The program that made this page was built without figures; it has text and tables.</p>\n";
    }
    for (const Section& section : sections_)
      page += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", section.id, Escape(section.title),
                          section.body);
    page += fmt::format(
        "</main>\n<footer><p>Made by Steadfast {}. This page loads nothing from any network. {}</p></footer>\n",
        Escape(Version()),
        drawn_ ? "Figures are drawn by Vega, Vega-Lite and Vega-Embed (University of Washington Interactive Data Lab, "
                 "BSD-3-Clause)."
               : "");
    return page + scripts + "</body>\n</html>\n";
  }

  const Evidence& evidence_;
  const Tie& tie_;
  const PageOptions& options_;
  const bool drawn_;
  std::vector<Section> sections_;
};

}  // namespace

std::string MakePage(const Evidence& evidence, const Tie& tie, const PageOptions& options) {
  return Page(evidence, tie, options).Make();
}

std::string RemarkOnSize(const std::string& page) {
  constexpr size_t kComfortable = 5'000'000;  // bytes
  if (page.size() <= kComfortable) return "";
  return fmt::format("The page has {:.1f} MB; a report of fewer stores opens sooner and is easier to send",
                     static_cast<double>(page.size()) / 1e6);
}

}  // namespace steadfast::report
