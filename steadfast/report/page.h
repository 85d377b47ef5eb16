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

// A remark for pages larger than 5 MB, up to which a page opens quickly and can be mailed; empty for smaller pages.
std::string RemarkOnSize(const std::string& page);

}  // namespace steadfast::report
