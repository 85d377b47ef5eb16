// The report as one HTML file that loads nothing: text, tables, and figures with their data and what draws them inline.
#pragma once

#include <string>

#include "steadfast/report/evidence.h"
#include "steadfast/report/tie.h"

namespace steadfast::report {

struct PageOptions {
  std::string command;  // that made the page, as typed
};

// Opens from disk in any browser. A content security policy lets no other script run and nothing be loaded; names and
// texts from stores are escaped. What the evidence lacks, the page leaves out. Without figures (assets.h) it has text
// and tables only.
std::string MakePage(const Evidence& evidence, const Tie& tie, const PageOptions& options);

// What to say of a page that is larger than 5 MB, the size that opens quickly and goes by mail; empty for others.
std::string RemarkOnSize(const std::string& page);

}  // namespace steadfast::report
