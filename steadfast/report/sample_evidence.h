// Made-up evidence with something of everything, for tests of pages and figures.
#pragma once

#include <string>

#include "steadfast/report/evidence.h"

namespace steadfast::report {

// `mark` becomes part of every name and text that could come from a store or a model file.
Evidence SampleEvidence(const std::string& mark = "");

}  // namespace steadfast::report
