// Running a study: train what is missing, inject, judge.
//
// Each step is keyed by a hash of its settings and inputs: a study stopped at any moment resumes where it was, and what
// a changed study file makes stale is moved to OUTPUT/stale/ and made again, never mixed with the new.
#pragma once

#include <filesystem>
#include <string>

#include "steadfast/base/cancellation.h"
#include "steadfast/study/study_file.h"

namespace steadfast::study {

struct StudyOptions {
  std::filesystem::path output;   // empty: the study's own
  std::filesystem::path data;     // empty: the study's own
  int jobs = 0;                   // networks trained side by side, each on one thread; 0: one a core
  std::string command = "study";  // that asks for it, for the record
  const Cancellation* cancellation = nullptr;
};

// Results go to files in the output folder and to standard output, progress to standard error.
void RunStudy(const Study& study, const StudyOptions& options);

// models/lenet5-w4a4-as-saq-seed0.onnx
std::string ModelFileName(const recipe::Recipe& recipe, const std::string& name);

}  // namespace steadfast::study
