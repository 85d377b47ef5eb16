// Everything that decides what a measurement of sharpness gives, as plain data and JSON.
//
// docs/formats.md has the keys and what is measured; analysis/sharpness.h does it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace steadfast::recipe {

struct SharpnessSettings {
  int64_t images = 1000;  // the first so many training images of a fixed order, validation left out
  uint64_t seed = 1;
  // Radii of SAM and average-case sharpness: absolute; in units of ||Q(w)||; of ||e / T||, as in ASAM.
  std::vector<double> radii = {0.1};
  std::vector<double> relative_radii = {0.01, 0.02, 0.05};
  std::vector<double> adaptive_radii = {0.5, 1.0};
  std::vector<double> random_relative_radii = {0.1, 0.2, 0.4};  // of average-case sharpness alone
  int64_t ascent_steps = 6;
  int64_t restarts = 2;
  int64_t draws = 20;  // random perturbations of average-case sharpness
  // Bit flips have images of their own: the engine is fast, and on few images their loss says little of a network.
  std::vector<double> fault_rates = {1e-4, 1e-3, 1e-2};
  int64_t fault_trials = 100;
  int64_t fault_images = 5000;
  int64_t eigenvalues = 5;
  int64_t lanczos_steps = 30;
  int64_t layer_steps = 6;     // Lanczos steps for the largest eigenvalue of each layer's block; 0: not measured
  int64_t density_probes = 2;  // 0: no spectral density
  int64_t density_steps = 30;
  int64_t trace_probes = 10;
  int64_t surface_points = 31;  // of a line; 0: no lines
  int64_t plane_points = 9;     // of a side of a plane; 0: no planes

  bool operator==(const SharpnessSettings&) const = default;
};

nlohmann::json ToJson(const SharpnessSettings& settings);
// Absent keys keep their defaults. Throws UsageError that names the key, for unknown ones too.
SharpnessSettings SharpnessSettingsFromJson(const nlohmann::json& json);
// SHA-256 of all settings.
std::string HashOf(const SharpnessSettings& settings);

}  // namespace steadfast::recipe
