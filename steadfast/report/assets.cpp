#include "steadfast/report/assets.h"

#include "steadfast/base/embed.h"

STEADFAST_EMBED(style, STEADFAST_PAGE_FOLDER "/page.css");
STEADFAST_EMBED(script, STEADFAST_PAGE_FOLDER "/page.js");
#ifdef STEADFAST_FIGURE_MODULES
STEADFAST_EMBED(vega, STEADFAST_FIGURE_MODULES "/vega/build/vega.min.js");
STEADFAST_EMBED(vega_lite, STEADFAST_FIGURE_MODULES "/vega-lite/build/vega-lite.min.js");
STEADFAST_EMBED(vega_embed, STEADFAST_FIGURE_MODULES "/vega-embed/build/vega-embed.min.js");
#endif

namespace steadfast::report {
namespace {

STEADFAST_EMBEDDED(style);
STEADFAST_EMBEDDED(script);
#ifdef STEADFAST_FIGURE_MODULES
STEADFAST_EMBEDDED(vega);
STEADFAST_EMBEDDED(vega_lite);
STEADFAST_EMBEDDED(vega_embed);
#endif

}  // namespace

std::string_view PageStyle() {
  return TextBetween(style_begin, style_end);
}
std::string_view PageScript() {
  return TextBetween(script_begin, script_end);
}

std::vector<std::string_view> FigureLibraries() {
#ifdef STEADFAST_FIGURE_MODULES
  return {TextBetween(vega_begin, vega_end), TextBetween(vega_lite_begin, vega_lite_end),
          TextBetween(vega_embed_begin, vega_embed_end)};
#else
  return {};
#endif
}

}  // namespace steadfast::report
