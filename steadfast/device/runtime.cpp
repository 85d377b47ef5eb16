#include "steadfast/device/runtime.h"

#include "steadfast/base/embed.h"

STEADFAST_EMBED(header, STEADFAST_RUNTIME_FOLDER "/steadfast_device.h");
STEADFAST_EMBED(add, STEADFAST_RUNTIME_FOLDER "/add.c");
STEADFAST_EMBED(average_pool, STEADFAST_RUNTIME_FOLDER "/average_pool.c");
STEADFAST_EMBED(layer_normalization, STEADFAST_RUNTIME_FOLDER "/layer_normalization.c");
STEADFAST_EMBED(max_pool, STEADFAST_RUNTIME_FOLDER "/max_pool.c");
STEADFAST_EMBED(multiply, STEADFAST_RUNTIME_FOLDER "/multiply.c");
STEADFAST_EMBED(parameter, STEADFAST_RUNTIME_FOLDER "/parameter.c");
STEADFAST_EMBED(product, STEADFAST_RUNTIME_FOLDER "/product.c");
STEADFAST_EMBED(requantization, STEADFAST_RUNTIME_FOLDER "/requantization.c");
STEADFAST_EMBED(softmax, STEADFAST_RUNTIME_FOLDER "/softmax.c");
STEADFAST_EMBED(table, STEADFAST_RUNTIME_FOLDER "/table.c");
STEADFAST_EMBED(weighted_sum, STEADFAST_RUNTIME_FOLDER "/weighted_sum.c");

namespace steadfast::device {
namespace {

STEADFAST_EMBEDDED(header);
STEADFAST_EMBEDDED(add);
STEADFAST_EMBEDDED(average_pool);
STEADFAST_EMBEDDED(layer_normalization);
STEADFAST_EMBEDDED(max_pool);
STEADFAST_EMBEDDED(multiply);
STEADFAST_EMBEDDED(parameter);
STEADFAST_EMBEDDED(product);
STEADFAST_EMBEDDED(requantization);
STEADFAST_EMBEDDED(softmax);
STEADFAST_EMBEDDED(table);
STEADFAST_EMBEDDED(weighted_sum);

}  // namespace

const std::map<std::string, std::string_view>& RuntimeFiles() {
  static const std::map<std::string, std::string_view> files = {
      {"steadfast_device.h", TextBetween(header_begin, header_end)},
      {"steadfast_add.c", TextBetween(add_begin, add_end)},
      {"steadfast_average_pool.c", TextBetween(average_pool_begin, average_pool_end)},
      {"steadfast_layer_normalization.c", TextBetween(layer_normalization_begin, layer_normalization_end)},
      {"steadfast_max_pool.c", TextBetween(max_pool_begin, max_pool_end)},
      {"steadfast_multiply.c", TextBetween(multiply_begin, multiply_end)},
      {"steadfast_parameter.c", TextBetween(parameter_begin, parameter_end)},
      {"steadfast_product.c", TextBetween(product_begin, product_end)},
      {"steadfast_requantization.c", TextBetween(requantization_begin, requantization_end)},
      {"steadfast_softmax.c", TextBetween(softmax_begin, softmax_end)},
      {"steadfast_table.c", TextBetween(table_begin, table_end)},
      {"steadfast_weighted_sum.c", TextBetween(weighted_sum_begin, weighted_sum_end)}};
  return files;
}

}  // namespace steadfast::device
