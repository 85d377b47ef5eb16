#include "steadfast/report/assets.h"

// Files as data of the program: the assembler reads them, the compiler does not have to.
#define STEADFAST_EMBED(name, path)                      \
  __asm__(                                               \
      ".pushsection .rodata\n"                           \
      ".balign 16\n"                                     \
      "steadfast_asset_" name "_begin:\n.incbin \"" path \
      "\"\n"                                             \
      "steadfast_asset_" name "_end:\n.byte 0\n.popsection\n")

STEADFAST_EMBED("style", STEADFAST_PAGE_FOLDER "/page.css");
STEADFAST_EMBED("script", STEADFAST_PAGE_FOLDER "/page.js");
#ifdef STEADFAST_FIGURE_MODULES
STEADFAST_EMBED("vega", STEADFAST_FIGURE_MODULES "/vega/build/vega.min.js");
STEADFAST_EMBED("vega_lite", STEADFAST_FIGURE_MODULES "/vega-lite/build/vega-lite.min.js");
STEADFAST_EMBED("vega_embed", STEADFAST_FIGURE_MODULES "/vega-embed/build/vega-embed.min.js");
#endif

#define STEADFAST_ASSET(symbol)                                                    \
  extern const char symbol##_begin[] __asm__("steadfast_asset_" #symbol "_begin"); \
  extern const char symbol##_end[] __asm__("steadfast_asset_" #symbol "_end")

namespace steadfast::report {
namespace {

STEADFAST_ASSET(style);
STEADFAST_ASSET(script);
#ifdef STEADFAST_FIGURE_MODULES
STEADFAST_ASSET(vega);
STEADFAST_ASSET(vega_lite);
STEADFAST_ASSET(vega_embed);
#endif

std::string_view Between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::string_view PageStyle() {
  return Between(style_begin, style_end);
}
std::string_view PageScript() {
  return Between(script_begin, script_end);
}

std::vector<std::string_view> FigureLibraries() {
#ifdef STEADFAST_FIGURE_MODULES
  return {Between(vega_begin, vega_end), Between(vega_lite_begin, vega_lite_end),
          Between(vega_embed_begin, vega_embed_end)};
#else
  return {};
#endif
}

}  // namespace steadfast::report
