// The int8 convolutions of a model's shapes as oneDNN runs them alone: sums as int32, no requantization, weights in
// oneDNN's own order. The limit that the dense path is held against.
#pragma once

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/quantized_model.h"

namespace steadfast::bench {

class OneDnnConvolutions {
 public:
  OneDnnConvolutions(const model::QuantizedModel& model, int64_t images)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    for (const auto& node : model.nodes) {
      if (const auto* operation = node.operation.As<model::Convolution>()) Add(model, node, *operation, images);
    }
  }

  void Run() {
    for (auto& [convolution, arguments] : convolutions_) convolution.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  using Memory = dnnl::memory;

  void Add(const model::QuantizedModel& model, const model::Node& node, const model::Convolution& operation,
           int64_t images) {
    const model::ValueShape& in = model.values[static_cast<size_t>(node.input())].shape;
    const model::ValueShape& out = model.values[static_cast<size_t>(node.output)].shape;
    const model::Window& w = operation.window;
    const Memory::desc source({images, in.channels, in.height, in.width}, Memory::data_type::u8,
                              Memory::format_tag::nhwc);
    const Memory::desc weights(model.parameter(operation.weighted.weight).shape, Memory::data_type::s8,
                               Memory::format_tag::any);
    const Memory::desc sums({images, out.channels, out.height, out.width}, Memory::data_type::s32,
                            Memory::format_tag::nhwc);
    const dnnl::convolution_forward::primitive_desc descriptor({dnnl::prop_kind::forward_inference,
                                                                dnnl::algorithm::convolution_direct,
                                                                source,
                                                                weights,
                                                                sums,
                                                                {w.stride_h, w.stride_w},
                                                                {w.pad_top, w.pad_left},
                                                                {w.pad_bottom, w.pad_right}},
                                                               engine_);
    std::unordered_map<int, Memory> arguments = {{DNNL_ARG_SRC, Memory(descriptor.src_desc(), engine_)},
                                                 {DNNL_ARG_WEIGHTS, Memory(descriptor.weights_desc(), engine_)},
                                                 {DNNL_ARG_DST, Memory(descriptor.dst_desc(), engine_)}};
    for (auto& [argument, memory] : arguments) std::memset(memory.get_data_handle(), 1, memory.get_desc().get_size());
    convolutions_.emplace_back(dnnl::convolution_forward(descriptor), std::move(arguments));
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<std::pair<dnnl::convolution_forward, std::unordered_map<int, Memory>>> convolutions_;
};

}  // namespace steadfast::bench
