#include "tests/float_layouts.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace steadfast {
namespace {

using Dims = std::vector<int64_t>;

constexpr int64_t kMostElements = 700;

class Layouts {
 public:
  explicit Layouts(uint64_t seed) : random_(seed) {
    proto_.set_ir_version(8);
    proto_.add_opset_import()->set_version(17);
    proto_.mutable_graph()->set_name(fmt::format("layout {}", seed));
  }

  FloatLayout Make() {
    FloatLayout made;
    made.input_shape = {1, Between(2, 4), Between(3, 6), Between(3, 6)};
    Describe(proto_.mutable_graph()->add_input(), "input", made.input_shape);
    current_ = "input";
    dims_ = made.input_shape;
    // A layer first, since nothing may be between a network's bytes and its first weights.
    Convolve();
    const int64_t steps = Between(4, 11);
    for (int64_t step = 0; step < steps; ++step) Step();
    Reshape({1, -1}, {1, Elements()});
    current_ = Node("Gemm", {current_, Floats({Elements(), 5}, 1), Floats({5}, 1)});
    proto_.mutable_graph()->mutable_node(proto_.graph().node_size() - 1)->set_output(0, "logits");
    Describe(proto_.mutable_graph()->add_output(), "logits", {1, 5});
    made.bytes = proto_.SerializeAsString();
    return made;
  }

 private:
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int64_t percent) { return Between(0, 99) < percent; }
  int64_t Elements() const { return std::accumulate(dims_.begin(), dims_.end(), int64_t{1}, std::multiplies<>()); }
  int64_t rank() const { return static_cast<int64_t>(dims_.size()); }
  int64_t& dim(int64_t axis) { return dims_[static_cast<size_t>(axis)]; }
  // An axis as files may write it.
  int64_t Written(int64_t axis) { return Chance(50) ? axis : axis - rank(); }

  void Describe(onnx::ValueInfoProto* info, const std::string& name, const Dims& dims) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(onnx::TensorProto::FLOAT);
    for (const int64_t size : dims) tensor->mutable_shape()->add_dim()->set_dim_value(size);
  }
  onnx::TensorProto* Tensor(const Dims& dims, int type) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(fmt::format("constant{}", ++names_));
    tensor->set_data_type(type);
    for (const int64_t size : dims) tensor->add_dims(size);
    return tensor;
  }
  std::string Floats(const Dims& dims, float spread, float middle = 0) {
    auto* tensor = Tensor(dims, onnx::TensorProto::FLOAT);
    const int64_t count = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
    for (int64_t i = 0; i < count; ++i)
      tensor->add_float_data(middle + spread * static_cast<float>(Between(-100, 100)) / 100);
    return tensor->name();
  }
  std::string Number(float value) {
    auto* tensor = Tensor({}, onnx::TensorProto::FLOAT);
    tensor->add_float_data(value);
    return tensor->name();
  }
  std::string Integers(const Dims& values) {
    auto* tensor = Tensor({static_cast<int64_t>(values.size())}, onnx::TensorProto::INT64);
    for (const int64_t value : values) tensor->add_int64_data(value);
    return tensor->name();
  }
  std::string Node(const std::string& type, const std::vector<std::string>& inputs) {
    last_ = proto_.mutable_graph()->add_node();
    last_->set_op_type(type);
    last_->set_name(fmt::format("{}{}", type, ++names_));
    for (const auto& input : inputs) last_->add_input(input);
    last_->add_output(fmt::format("value{}", names_));
    return last_->output(0);
  }
  void Set(const char* name, int64_t value) {
    auto* attribute = last_->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  void Set(const char* name, const Dims& values) {
    auto* attribute = last_->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }

  void Reshape(const Dims& written, const Dims& dims) {
    current_ = Node("Reshape", {current_, Integers(written)});
    dims_ = dims;
  }
  void Transpose(const Dims& permutation) {
    current_ = Node("Transpose", {current_});
    Set("perm", permutation);
    Dims moved;
    for (const int64_t axis : permutation) moved.push_back(dim(axis));
    dims_ = moved;
  }
  Dims AxesInOrder() const {
    Dims axes(dims_.size());
    std::iota(axes.begin(), axes.end(), int64_t{0});
    return axes;
  }
  // The last two axes trade places.
  std::string Turned(const std::string& tensor) {
    Dims axes = AxesInOrder();
    std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    const std::string turned = Node("Transpose", {tensor});
    Set("perm", axes);
    return turned;
  }

  void Convolve() {
    const int64_t outputs = Between(2, 5), kernel = dim(2) >= 3 && dim(3) >= 3 ? 1 + 2 * Between(0, 1) : 1;
    const float spread = 1 / std::sqrt(static_cast<float>(dim(1) * kernel * kernel));
    current_ = Node("Conv", {current_, Floats({outputs, dim(1), kernel, kernel}, spread), Floats({outputs}, 0.3f)});
    Set("kernel_shape", Dims{kernel, kernel});
    if (kernel == 3) Set("pads", Dims{1, 1, 1, 1});
    dim(1) = outputs;
  }

  void Step() {
    const int64_t axis = Between(0, rank() - 1);
    switch (Between(0, 17)) {
      case 0: {
        Dims order = AxesInOrder();
        std::shuffle(order.begin(), order.end(), random_);
        return Transpose(order);
      }
      case 1: {
        Dims sizes;
        int64_t left = Elements();
        for (int64_t wanted = Between(1, 4); wanted > 0 && left > 1; --wanted) {
          Dims factors;
          for (int64_t f = 1; f <= left; ++f) {
            if (left % f == 0) factors.push_back(f);
          }
          sizes.push_back(factors[static_cast<size_t>(Between(0, static_cast<int64_t>(factors.size()) - 1))]);
          left /= sizes.back();
        }
        sizes.push_back(left);
        if (Chance(60)) sizes.insert(sizes.begin(), 1);
        Dims written = sizes;
        if (Chance(40)) written[static_cast<size_t>(Between(0, static_cast<int64_t>(sizes.size()) - 1))] = -1;
        return Reshape(written, sizes);
      }
      case 2: {
        if (dim(axis) < 2) return;
        const int64_t size = dim(axis), step = Chance(30) ? 2 : 1;
        if (Chance(25)) {  // backwards
          current_ = Node(
              "Slice", {current_, Integers({-1}), Integers({-size - 1}), Integers({Written(axis)}), Integers({-step})});
          dim(axis) = (size + step - 1) / step;
          return;
        }
        const int64_t first = Between(0, size - 1), end = Between(first + 1, size);
        current_ = Node("Slice", {current_, Integers({first}), Integers({end == size ? 1000 : end}),
                                  Integers({Written(axis)}), Integers({step})});
        dim(axis) = (end - first + step - 1) / step;
        return;
      }
      case 3: {
        if (dim(axis) < 2) return;
        const int64_t size = dim(axis), first = Between(1, size - 1);
        Node("Split", {current_, Integers({first, size - first})});
        Set("axis", Written(axis));
        last_->add_output(last_->output(0) + "b");
        const std::string a = last_->output(0), b = last_->output(1);
        const std::string changed = Chance(50) ? Node("Relu", {b}) : b;
        current_ = Node("Concat", {changed, a});
        Set("axis", Written(axis));
        return;
      }
      case 4: {
        if (Chance(50) && rank() > 2 && Elements() / dim(axis) >= 8) {
          auto* tensor = Tensor({}, onnx::TensorProto::INT64);
          tensor->add_int64_data(Between(-dim(axis), dim(axis) - 1));
          current_ = Node("Gather", {current_, tensor->name()});
          Set("axis", Written(axis));
          dims_.erase(dims_.begin() + axis);
          return;
        }
        Dims chosen;
        for (int64_t count = Between(1, dim(axis)); count > 0; --count) chosen.push_back(Between(0, dim(axis) - 1));
        current_ = Node("Gather", {current_, Integers(chosen)});
        Set("axis", Written(axis));
        dim(axis) = static_cast<int64_t>(chosen.size());
        return;
      }
      case 5:
        current_ = Node("Softmax", {current_});
        return Set("axis", Written(axis));
      case 6: {
        Dims axes = {axis};
        if (Chance(40) && rank() > 2) axes.push_back((axis + 1) % rank());
        int64_t left = Elements();
        for (const int64_t a : axes) left /= dim(a);
        if (left < 4) return;
        const bool keeps = Chance(50);
        current_ = Node("ReduceMean", {current_});
        Set("axes", axes);
        Set("keepdims", int64_t{keeps});
        std::sort(axes.rbegin(), axes.rend());
        for (const int64_t a : axes) {
          if (keeps)
            dim(a) = 1;
          else
            dims_.erase(dims_.begin() + a);
        }
        return;
      }
      case 7: {
        const int64_t inputs = dims_.back(), outputs = Between(1, 6);
        if (Elements() / inputs * outputs > kMostElements) return;
        current_ = Node("MatMul", {current_, Floats({inputs, outputs}, 1 / std::sqrt(static_cast<float>(inputs)))});
        dims_.back() = outputs;
        if (Chance(60)) current_ = Node("Add", {current_, Floats({outputs}, 0.5f)});
        return;
      }
      case 8: {
        if (rank() < 2) return;
        const int64_t inputs = dim(rank() - 2), outputs = Between(1, 5);
        if (Elements() / inputs * outputs > kMostElements) return;
        current_ = Node("MatMul", {Floats({outputs, inputs}, 1 / std::sqrt(static_cast<float>(inputs))), current_});
        dim(rank() - 2) = outputs;
        return;
      }
      case 9: {
        Dims shape = dims_;
        for (int64_t& size : shape) size = Chance(40) ? 1 : size;
        if (Chance(30)) shape = {dims_.back()};
        const std::string constant = Floats(shape, 0.7f);
        current_ = Chance(50) ? Node("Add", {current_, constant}) : Node("Add", {constant, current_});
        return;
      }
      case 10:
        current_ = Node(Chance(50) ? "Mul" : "Div", {current_, Number(0.5f + static_cast<float>(Between(0, 8)) / 4)});
        return;
      case 11: {
        if (dims_.back() < 2) return;
        current_ =
            Node("LayerNormalization", {current_, Floats({dims_.back()}, 0.5f, 1), Floats({dims_.back()}, 0.5f)});
        auto* epsilon =
            last_->add_attribute();  // large, or it makes much of rounding where all numbers are nearly equal
        epsilon->set_name("epsilon");
        epsilon->set_type(onnx::AttributeProto::FLOAT);
        epsilon->set_f(0.05f);
        return Set("axis", Chance(50) ? -1 : rank() - 1);
      }
      case 12: {
        const char* const functions[] = {"Relu", "Sigmoid", "Tanh", "HardSigmoid"};
        current_ = Node(functions[Between(0, 3)], {current_});
        return;
      }
      case 13: {
        const std::string other = Node("Tanh", {current_});
        current_ = Node(Chance(50) ? "Add" : "Mul", {current_, other});
        return;
      }
      case 14: {  // attention of the tensor to itself
        const int64_t tokens = rank() < 2 ? 0 : dim(rank() - 2), channels = dims_.back();
        if (tokens < 2 || Elements() / channels * tokens > kMostElements) return;
        const std::string x = current_;
        std::string scores = Node("MatMul", {x, Turned(x)});
        if (Chance(60)) scores = Node("Mul", {scores, Number(1 / std::sqrt(static_cast<float>(channels)))});
        if (Chance(70)) {
          scores = Node("Softmax", {scores});
          Set("axis", Chance(70) ? -1 : rank() - 2);
        }
        if (Chance(70)) {
          current_ = Node("MatMul", {scores, x});
        } else {
          current_ = scores;
          dims_.back() = tokens;
        }
        return;
      }
      case 15: {  // every element several times
        if (Elements() * 2 > kMostElements) return;
        const int64_t place = Between(0, rank()), times = Between(2, 3);
        current_ = Node("Unsqueeze", {current_, Integers({place})});
        dims_.insert(dims_.begin() + place, 1);
        Dims wanted(dims_.size(), 1);
        wanted[static_cast<size_t>(place)] = times;
        current_ = Node("Expand", {current_, Integers(wanted)});
        dim(place) = times;
        return;
      }
      case 16:
        if (rank() != 4 || dim(0) != 1 || Elements() * 3 > kMostElements) return;
        return Convolve();
      default: {
        Dims shape = dims_;
        shape[static_cast<size_t>(axis)] = 1;
        if (Elements() / dim(axis) * (dim(axis) + 1) > kMostElements) return;
        const std::string token = Floats(shape, 0.8f);
        current_ = Node("Concat", Chance(50) ? std::vector{token, current_} : std::vector{current_, token});
        Set("axis", Written(axis));
        ++dim(axis);
      }
    }
  }

  std::mt19937_64 random_;
  onnx::ModelProto proto_;
  onnx::NodeProto* last_ = nullptr;
  std::string current_;
  Dims dims_;
  int names_ = 0;
};

}  // namespace

FloatLayout MakeFloatLayout(uint64_t seed) {
  return Layouts(seed).Make();
}

}  // namespace steadfast
