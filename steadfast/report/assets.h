// What the page is made of besides its text: styles, the script that draws, and the libraries that it draws with.
#pragma once

#include <string_view>
#include <vector>

namespace steadfast::report {

std::string_view PageStyle();
std::string_view PageScript();
// Vega, Vega-Lite and Vega-Embed (npm, BSD-3-Clause), in the order in which they load. Empty where the program was
// built without them (-DSTEADFAST_FIGURES=OFF): then figures are left out, and tables and text stay.
std::vector<std::string_view> FigureLibraries();

}  // namespace steadfast::report
