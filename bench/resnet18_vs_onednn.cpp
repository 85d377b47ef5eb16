// ResNet-18 (CIFAR shapes, random codes) end to end, against oneDNN's own int8 convolutions of the same shapes alone
// (sums as int32, no requantization, weights in oneDNN's own order), and against LibTorch float32; one thread, in turn.
#include <oneapi/dnnl/dnnl.hpp>

#include <omp.h>
#include <cstdio>
#include <map>

#include "bench/libtorch_networks.h"
#include "steadfast/engine/dense.h"
#include "steadfast/model/random_model.h"

namespace {

using namespace steadfast;
using dnnl::memory;

// One convolution of a model as oneDNN runs it on `images` images.
class OneDnnConvolution {
 public:
  OneDnnConvolution(const dnnl::engine& engine, const model::QuantizedModel& model, const model::Node& node,
                    int64_t images) {
    const auto& operation = std::get<model::Convolution>(node.operation);
    const model::ValueShape& in = model.values[static_cast<size_t>(node.input())].shape;
    const model::ValueShape& out = model.values[static_cast<size_t>(node.output)].shape;
    const auto& weight = model.weights[static_cast<size_t>(operation.weight)];
    const model::Window& w = operation.window;
    const memory::desc source({images, in.channels, in.height, in.width}, memory::data_type::u8,
                              memory::format_tag::nhwc);
    const memory::desc weights(weight.shape, memory::data_type::s8, memory::format_tag::any);
    const memory::desc sums({images, out.channels, out.height, out.width}, memory::data_type::s32,
                            memory::format_tag::nhwc);
    const dnnl::convolution_forward::primitive_desc descriptor({dnnl::prop_kind::forward_inference,
                                                                dnnl::algorithm::convolution_direct,
                                                                source,
                                                                weights,
                                                                sums,
                                                                {w.stride_h, w.stride_w},
                                                                {w.pad_h, w.pad_w},
                                                                {w.pad_h, w.pad_w}},
                                                               engine);
    convolution_ = dnnl::convolution_forward(descriptor);
    arguments_ = {{DNNL_ARG_SRC, memory(descriptor.src_desc(), engine)},
                  {DNNL_ARG_WEIGHTS, memory(descriptor.weights_desc(), engine)},
                  {DNNL_ARG_DST, memory(descriptor.dst_desc(), engine)}};
    for (auto& [argument, buffer] : arguments_) std::memset(buffer.get_data_handle(), 1, buffer.get_desc().get_size());
  }
  void Run(dnnl::stream& stream) { convolution_.execute(stream, arguments_); }

 private:
  dnnl::convolution_forward convolution_;
  std::unordered_map<int, memory> arguments_;
};

}  // namespace

int main() {
  const torch::NoGradGuard no_gradients;
  constexpr int64_t kImages = 128;
  constexpr int kRounds = 5;
  omp_set_num_threads(1);
  at::set_num_threads(1);
  const auto model = model::RandomResNet18(4, 4, 1);
  model::Validate(model);
  const engine::PreparedImages images(model::RandomImages(model, kImages, 2), 3 * 32 * 32);
  engine::DenseEngine ours(model);
  const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(cpu);
  std::vector<OneDnnConvolution> convolutions;
  for (const auto& node : model.nodes) {
    if (std::holds_alternative<model::Convolution>(node.operation))
      convolutions.emplace_back(cpu, model, node, kImages);
  }
  auto network = bench::LibTorchResNet18();
  network->eval();
  for (auto& parameter : network->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
  }
  const auto floats = torch::randn({kImages, 3, 32, 32}).contiguous(torch::MemoryFormat::ChannelsLast);
  std::vector<double> own, limit, torch_times;
  for (int round = 0; round <= kRounds; ++round) {
    const double a = bench::Seconds([&] { ours.Run(images); });
    const double b = bench::Seconds([&] {
      for (auto& convolution : convolutions) convolution.Run(stream);
      stream.wait();
    });
    const double c = bench::Seconds([&] { network->forward(floats); });
    if (round == 0) continue;  // warms up
    own.push_back(a);
    limit.push_back(b);
    torch_times.push_back(c);
  }
  std::printf(
      "1 thread: ResNet-18 end to end %.0f images/s; oneDNN int8 convolutions alone %.0f images/s: ratio %.2f (wanted: "
      "0.70); LibTorch float32 %.0f images/s: ratio %.1f\n",
      kImages / bench::Median(own), kImages / bench::Median(limit), bench::Median(limit) / bench::Median(own),
      kImages / bench::Median(torch_times), bench::Median(torch_times) / bench::Median(own));
}
