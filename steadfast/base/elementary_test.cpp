#include "steadfast/base/elementary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace steadfast {
namespace {

TEST(PortableExp, AgreesWithLibmTo1e15Relative) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(-700.0, 700.0);
  for (int i = 0; i < 100000; ++i) {
    const double x = uniform(random);
    ASSERT_NEAR(PortableExp(x) / std::exp(x), 1.0, 1e-15) << x;
  }
  EXPECT_EQ(PortableExp(0.0), 1.0);
  EXPECT_EQ(PortableExp(-800.0), 0.0);
}

TEST(PortableLog, AgreesWithLibm) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> exponent(-300.0, 300.0);
  for (int i = 0; i < 100000; ++i) {
    const double x = std::pow(10.0, exponent(random));
    ASSERT_NEAR(PortableLog(x), std::log(x), 1e-15 * std::max(1.0, std::abs(std::log(x)))) << x;
  }
  EXPECT_EQ(PortableLog(1.0), 0.0);
}

TEST(PortableLog, KeepsRelativePrecisionNearOne) {
  for (double d = 1e-12; d < 0.4; d *= 1.7) {
    ASSERT_NEAR(PortableLog(1.0 + d) / std::log(1.0 + d), 1.0, 1e-15) << d;
    ASSERT_NEAR(PortableLog(1.0 - d) / std::log(1.0 - d), 1.0, 1e-15) << d;
  }
}

TEST(PortableLog1p, KeepsRelativePrecisionNearZero) {
  for (double x = 1e-18; x < 1.0; x *= 1.3) {
    ASSERT_NEAR(PortableLog1p(x) / std::log1p(x), 1.0, 1e-15) << x;
    ASSERT_NEAR(PortableLog1p(-x) / std::log1p(-x), 1.0, 1e-15) << x;
  }
}

}  // namespace
}  // namespace steadfast
