// Margins and losses are counted in units of 2^-20, so that sums of them are integers and can be added in any order.
#pragma once

namespace steadfast {

inline constexpr double kScoreUnit = 0x1p-20;

}  // namespace steadfast
