#include "steadfast/device/runtime.h"

// Files as data of the program: the assembler reads them, the compiler does not have to.
#define STEADFAST_EMBED(name, file)                                                     \
  __asm__(                                                                              \
      ".pushsection .rodata\n"                                                          \
      "steadfast_runtime_" name "_begin:\n.incbin \"" STEADFAST_RUNTIME_FOLDER "/" file \
      "\"\n"                                                                            \
      "steadfast_runtime_" name "_end:\n.byte 0\n.popsection\n")

STEADFAST_EMBED("header", "steadfast_device.h");
STEADFAST_EMBED("add", "add.c");
STEADFAST_EMBED("average_pool", "average_pool.c");
STEADFAST_EMBED("layer_normalization", "layer_normalization.c");
STEADFAST_EMBED("max_pool", "max_pool.c");
STEADFAST_EMBED("multiply", "multiply.c");
STEADFAST_EMBED("parameter", "parameter.c");
STEADFAST_EMBED("product", "product.c");
STEADFAST_EMBED("requantization", "requantization.c");
STEADFAST_EMBED("softmax", "softmax.c");
STEADFAST_EMBED("table", "table.c");
STEADFAST_EMBED("weighted_sum", "weighted_sum.c");

#define STEADFAST_TEXT(symbol)                                                       \
  extern const char symbol##_begin[] __asm__("steadfast_runtime_" #symbol "_begin"); \
  extern const char symbol##_end[] __asm__("steadfast_runtime_" #symbol "_end")

namespace steadfast::device {
namespace {

STEADFAST_TEXT(header);
STEADFAST_TEXT(add);
STEADFAST_TEXT(average_pool);
STEADFAST_TEXT(layer_normalization);
STEADFAST_TEXT(max_pool);
STEADFAST_TEXT(multiply);
STEADFAST_TEXT(parameter);
STEADFAST_TEXT(product);
STEADFAST_TEXT(requantization);
STEADFAST_TEXT(softmax);
STEADFAST_TEXT(table);
STEADFAST_TEXT(weighted_sum);

std::string_view Between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

const std::map<std::string, std::string_view>& RuntimeFiles() {
  static const std::map<std::string, std::string_view> files = {
      {"steadfast_device.h", Between(header_begin, header_end)},
      {"steadfast_add.c", Between(add_begin, add_end)},
      {"steadfast_average_pool.c", Between(average_pool_begin, average_pool_end)},
      {"steadfast_layer_normalization.c", Between(layer_normalization_begin, layer_normalization_end)},
      {"steadfast_max_pool.c", Between(max_pool_begin, max_pool_end)},
      {"steadfast_multiply.c", Between(multiply_begin, multiply_end)},
      {"steadfast_parameter.c", Between(parameter_begin, parameter_end)},
      {"steadfast_product.c", Between(product_begin, product_end)},
      {"steadfast_requantization.c", Between(requantization_begin, requantization_end)},
      {"steadfast_softmax.c", Between(softmax_begin, softmax_end)},
      {"steadfast_table.c", Between(table_begin, table_end)},
      {"steadfast_weighted_sum.c", Between(weighted_sum_begin, weighted_sum_end)}};
  return files;
}

}  // namespace steadfast::device
