#include "steadfast/analysis/surface.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/model/random_model.h"

namespace steadfast::analysis {
namespace {

using torch::Tensor;

struct Case {
  model::QuantizedModel model = model::RandomLeNet5(4, 4, 1);
  std::vector<uint8_t> bytes = model::RandomImages(model, 50, 1);
  Tensor images = torch::from_blob(bytes.data(), {50, 1, 28, 28}, torch::kByte);
  Tensor labels = torch::arange(50).remainder(10).to(torch::kLong);
};

TEST(Surface, FilterNormalizedDirectionsAreAsLongAsTheFilters) {
  const Case c;
  const train::DifferentiableModel network(c.model);
  const Tensor direction = FilterNormalizedDirection(network, 3, 0);
  for (const auto& part : network.parts()) {
    const Tensor own = direction.narrow(0, part.offset, part.count).view({part.outputs, -1}).norm(2, {1});
    const Tensor weights = network.weights().narrow(0, part.offset, part.count).view({part.outputs, -1}).norm(2, {1});
    EXPECT_TRUE(torch::allclose(own, weights, 1e-4)) << part.name;
  }
  EXPECT_TRUE(direction.equal(FilterNormalizedDirection(network, 3, 0)));
  EXPECT_FALSE(direction.equal(FilterNormalizedDirection(network, 3, 1)));
}

TEST(Surface, PassesThroughTheNetworkItself) {
  const Case c;
  const WeightLoss loss(c.model, c.images, c.labels);
  const Tensor x = FilterNormalizedDirection(loss.network(), 3, 0), y = FilterNormalizedDirection(loss.network(), 3, 1);
  const auto line = LossAlong(loss, "filter", x, 0.5, 5);
  ASSERT_EQ(line.size(), 5u);
  EXPECT_EQ(line[2].x, 0);
  EXPECT_EQ(line[2].loss, loss.At().loss);
  EXPECT_EQ(line[4].x, 0.5);
  EXPECT_EQ(line[4].loss, loss.At(x * 0.5).loss);
  const auto plane = LossOnPlane(loss, "plane", x, y, 0.5, 3);
  ASSERT_EQ(plane.size(), 9u);
  EXPECT_EQ(plane[4].loss, loss.At().loss);
  EXPECT_EQ(plane[5].loss, line[4].loss) << "the plane's x axis is the line";
}

TEST(Surface, AStraightLineEndsInBothNetworks) {
  const Case c;
  LineTo other{"other", model::RandomLeNet5(4, 4, 2)};
  const auto line = LossBetween(c.model, other, c.images, c.labels, 5, nullptr);
  EXPECT_EQ(line.front().loss, WeightLoss(c.model, c.images, c.labels).At().loss);
  EXPECT_NEAR(line.back().loss, WeightLoss(other.model, c.images, c.labels).At().loss, 0.02 * line.back().loss);
  EXPECT_EQ(line.back().x, 1);
  EXPECT_EQ(line.back().surface, "line:other");
  LineTo different{"different", model::RandomLeNet5(4, 2, 2)};
  EXPECT_THROW(LossBetween(c.model, different, c.images, c.labels, 5, nullptr), InputError);
}

}  // namespace
}  // namespace steadfast::analysis
