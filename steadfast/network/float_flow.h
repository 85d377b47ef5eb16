// Tensors of a float file whose axes are moved, and what operators on them are on values. Internal to the room: the
// reader of ONNX files goes through it.
//
// A value lies as [channels, height, width]. A tensor of the file is a view of it: operators that find what they need
// in the value as it lies take that; otherwise the view becomes a Rearrange in front of them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "steadfast/model/view.h"
#include "steadfast/network/float_graph.h"

namespace steadfast::network {

using model::View;

struct Flow {
  int value = 0;
  View view = {};
  std::vector<int> pads = {};  // zeros around it that a Pad added: top, left, bottom, right
  float factor = 1;            // that all of it is still to be multiplied with
  bool is_softmax = false;     // of the last layer, left out
  bool is_picked = false;      // element by element, as the writer of files says a Rearrange
  std::string name = {};       // of what moved it: reserved, to be a node's
};

class FlowBuilder {
 public:
  explicit FlowBuilder(std::string name) : builder_(std::move(name), {}) {}

  FloatGraph& graph() { return builder_.graph_; }
  const FloatGraph& graph() const { return builder_.graph_; }
  GraphBuilder& builder() { return builder_; }
  const ValueShape& shape(int value) const { return builder_.shape(value); }

  // A name that no node has yet, and from now on one has.
  std::string Unique(const std::string& wanted);

  // A value as a tensor of so many dimensions (3 or 4; flat values have 2).
  Flow Of(int value, int64_t rank) const { return {value, model::ViewOf(shape(value), static_cast<int>(rank))}; }
  Flow Add(const std::string& name, FloatOperation operation, std::vector<int> inputs, int64_t rank);
  // A function of each element by itself.
  Flow OfEach(const std::string& name, FloatOperation operation, const Flow& flow);

  // All of a value, each element once: what is left out or repeated is moved first.
  Flow Whole(const Flow& flow);
  // [1, channels, height, width], [1, channels, width] or [1, channels], as the tensor is.
  int Image(const Flow& flow);
  // The tensor's last axis are the value's channels, the others its positions, in this order.
  Flow ChannelsLast(const Flow& flow);
  // A layer on the last axis: a convolution of 1 x 1, or fully connected where there is one position.
  Flow Connect(const std::string& name, const Flow& flow, int weight, int bias);
  // What lies over each element of the value (of a Whole flow) of a constant that is broadcast to the tensor.
  std::vector<float> OverElements(const Flow& flow, const std::vector<float>& constant,
                                  const std::vector<int64_t>& dims) const;

  Flow Sum(const std::string& name, const Flow& a, const Flow& b);
  Flow Gate(const std::string& name, const Flow& a, const Flow& b);
  Flow SoftmaxOver(const std::string& name, const Flow& flow, int64_t axis);
  // softmax_is_last: whether a Softmax over the last axis follows.
  Flow Multiplied(const std::string& name, const Flow& a, const Flow& b, bool softmax_is_last);
  Flow Mean(const std::string& name, const Flow& flow, std::vector<int64_t> axes, bool keeps);
  Flow Joined(const std::string& name, const std::vector<Flow>& parts, int64_t axis);

 private:
  // Element `from[i]` of a value becomes element i of another.
  int Rearranged(const Flow& flow, const ValueShape& shape, std::vector<int32_t> from);
  // b's elements where a has them; both broadcast to the same dimensions.
  int Aligned(const Flow& a, const Flow& b);
  bool HasChannelsLast(const Flow& flow) const;
  View ChannelsLastView(std::vector<int64_t> dims, int64_t channels) const;

  GraphBuilder builder_;
  std::set<std::string> names_, moved_;
  std::map<std::pair<int, std::vector<int32_t>>, int> rearranged_;
};

}  // namespace steadfast::network
