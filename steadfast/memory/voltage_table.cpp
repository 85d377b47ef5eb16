#include "steadfast/memory/voltage_table.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "steadfast/base/elementary.h"  // PortableLog, PortableExp
#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::memory {
namespace {

VoltageTable::Point PointOf(const std::string& voltage, const std::string& rate) {
  return {ParseDouble(voltage, "voltage", 0, 1e6), ParseDouble(rate, "rate", 1e-15, 1)};
}

void AddRowsOfCsv(std::string_view text, VoltageTable& table) {
  bool header = true;
  for (const CsvRow& row : ParseCsv(text, table.name)) {
    const auto fail = [&](const std::string& what) {
      throw InputError(fmt::format("{}: line {}: {}", table.name, row.line, what));
    };
    const std::string whole = fmt::format("{}", fmt::join(row.fields, ","));
    if (header) {
      if (whole != "voltage,rate")
        fail(fmt::format("found '{}', expected the header voltage,rate", whole.substr(0, 80)));
      header = false;
      continue;
    }
    if (whole.empty() || whole.starts_with('#')) continue;
    if (row.fields.size() != 2) fail(fmt::format("{} fields, expected voltage,rate", row.fields.size()));
    try {
      table.points.push_back(PointOf(row.fields[0], row.fields[1]));
    } catch (const UsageError& error) {
      fail(error.what());
    }
  }
}

void AddEntriesOfYaml(std::string_view text, VoltageTable& table) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap())
      throw InputError(
          fmt::format("{}: expected the header voltage,rate of a CSV file, or a map of voltages to rates "
                      "as YAML",
                      table.name));
    for (const auto& entry : root) {
      try {
        table.points.push_back(PointOf(entry.first.Scalar(), entry.second.Scalar()));
      } catch (const UsageError& error) {
        throw InputError(fmt::format("{}: line {}: {}", table.name, entry.first.Mark().line + 1, error.what()));
      }
    }
  } catch (const YAML::Exception& error) {
    throw InputError(fmt::format("{}: line {}: {}", table.name, error.mark.line + 1, error.msg));
  }
}

}  // namespace

VoltageTable ParseVoltageTable(std::string_view text, const std::string& name) {
  VoltageTable table{name, {}};
  if (text.starts_with("voltage"))
    AddRowsOfCsv(text, table);
  else
    AddEntriesOfYaml(text, table);
  std::sort(table.points.begin(), table.points.end(),
            [](const auto& a, const auto& b) { return a.voltage < b.voltage; });
  if (table.points.size() < 2) throw InputError(fmt::format("{}: expected at least two voltages", name));
  for (size_t i = 1; i < table.points.size(); ++i) {
    if (table.points[i].voltage == table.points[i - 1].voltage)
      throw InputError(fmt::format("{}: {:g} V appears twice", name, table.points[i].voltage));
  }
  return table;
}

double RateAt(const VoltageTable& table, double voltage) {
  if (!(voltage >= table.lowest() && voltage <= table.highest()))
    throw UsageError(fmt::format("voltage: {:g} V is outside of {}, which goes from {:g} to {:g} V", voltage,
                                 table.name, table.lowest(), table.highest()));
  size_t above = 1;
  while (above + 1 < table.points.size() && table.points[above].voltage < voltage) ++above;
  const auto& low = table.points[above - 1];
  const auto& high = table.points[above];
  if (voltage == low.voltage) return low.rate;
  if (voltage == high.voltage) return high.rate;
  const double share = (voltage - low.voltage) / (high.voltage - low.voltage);
  const double log_low = PortableLog(low.rate);
  return std::min(1.0, PortableExp(log_low + share * (PortableLog(high.rate) - log_low)));
}

}  // namespace steadfast::memory
