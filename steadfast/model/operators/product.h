// Matrix products of two values, as attention has them (Vaswani et al., Attention is all you need, 2017). Channels are
// the rows of a matrix in each of `groups` (heads), positions its columns: [groups * rows, positions].
//
//   transposed_left   A^T B: of keys [d, tokens] and queries [d, tokens'], scores [tokens, tokens'] a group
//   otherwise         A B: of values [d, tokens] and scores [tokens, tokens'], [d, tokens'] a group
//
// The output has the positions of B. int32 sums of products of levels; a sum's real value is float(sum) * (s_A * s_B *
// factor), and the rest is requantization.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Product {
  bool transposed_left = false;
  int groups = 1;
  float factor = 1;
  bool operator==(const Product&) const = default;
};
template <>
const OperatorDefinition& Definition<Product>();

// The matrices of one group.
struct ProductSize {
  int64_t rows, inner, columns;
};
ProductSize SizeOf(const Product& op, const ValueShape& a, const ValueShape& b);

}  // namespace steadfast::model
