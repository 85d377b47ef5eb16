// LeNet-5 (LeCun et al., Gradient-based learning applied to document recognition, 1998) as it is used today: ReLU,
// max-pooling, a linear last layer. 28 x 28 images are padded by 2, which the original did to its 32 x 32 input.
#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/train/network.h"

namespace steadfast::train {
namespace {

class LeNet5 : public Network {
 public:
  LeNet5(const LayerSettings& settings, const NetworkShape& shape)
      : conv1_("conv1", settings, shape.input.channels, 6, FirstWindow(shape)),
        conv2_("conv2", settings, 6, 16, {.kernel_h = 5, .kernel_w = 5}),
        fc1_("fc1", settings, 400, 120),
        fc2_("fc2", settings, 120, 84),
        fc3_("fc3", settings, 84, shape.classes, /*last=*/true) {}

  Flow Forward(Pass& pass, const Flow& input) override {
    Flow x = MaxPooled(pass, conv1_(pass, input), "pool1", 2);
    x = MaxPooled(pass, conv2_(pass, x), "pool2", 2);
    x = Flattened(pass, x, "flatten");
    x = fc1_(pass, x);
    x = fc2_(pass, x);
    return fc3_(pass, x);
  }

  std::vector<WeightedLayer*> layers() override { return {&conv1_, &conv2_, &fc1_, &fc2_, &fc3_}; }

 private:
  static model::Window FirstWindow(const NetworkShape& shape) {
    const data::ImageShape& input = shape.input;
    if (input.height != input.width || (input.height != 28 && input.height != 32)) {
      throw UsageError(
          fmt::format("lenet5 takes images of 28 x 28 or 32 x 32, and these are {} x {}", input.height, input.width));
    }
    const int pad = input.height == 28 ? 2 : 0;
    return {.kernel_h = 5, .kernel_w = 5, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
  }

  ConvolutionLayer conv1_, conv2_;
  LinearLayer fc1_, fc2_, fc3_;
};

}  // namespace

std::unique_ptr<Network> MakeLeNet5(const LayerSettings& settings, const NetworkShape& shape) {
  return std::make_unique<LeNet5>(settings, shape);
}

}  // namespace steadfast::train
