// From supply voltage (or refresh time, or temperature) to the rate of faults: a measured table, interpolated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steadfast::memory {

// Voltages in volts, ascending; rates in faults per bit, above 0. Between two of them the rate's logarithm is linear.
struct VoltageTable {
  std::string name;  // in errors
  struct Point {
    double voltage, rate;
  };
  std::vector<Point> points;

  double lowest() const { return points.front().voltage; }
  double highest() const { return points.back().voltage; }
};

// CSV with the header voltage,rate, or YAML: a map from voltages to rates. Throws InputError naming the line.
VoltageTable ParseVoltageTable(std::string_view text, const std::string& name);

// Throws UsageError for a voltage outside the table: nothing is extrapolated.
double RateAt(const VoltageTable& table, double voltage);

}  // namespace steadfast::memory
