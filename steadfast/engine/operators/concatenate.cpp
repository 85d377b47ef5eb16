// Channels of several values, one value after the other, each code translated to the output's coding.
#include <array>
#include <cstring>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class ConcatenateOperator final : public Operator {
 public:
  explicit ConcatenateOperator(const OperatorSource& source)
      : channel_rows_(source.output().shape.height * source.output().shape.width) {
    const model::Quantization quantization = model::QuantizationOf(*source.output().coding, false);
    for (size_t i = 0; i < source.node.inputs.size(); ++i) {
      Part part{source.input(i).shape.channels, source.input(i).coding == source.output().coding, {}};
      for (int code = 0; code < 256; ++code) {
        const uint8_t translated = model::CodeOf(model::RealOf(code, *source.input(i).coding), quantization);
        part.translation[static_cast<size_t>(code)] = part.same ? static_cast<uint8_t>(code) : translated;
      }
      parts_.push_back(part);
    }
  }

  void RunScalar(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                 std::span<float>) const override {
    size_t at = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      for (uint8_t code : inputs[i]) codes[at++] = parts_[i].translation[code];
    }
  }

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    uint8_t* to = output.rows;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const int64_t bytes = parts_[i].channels * channel_rows_ * kRowBytes;
      Translate(parts_[i], inputs[i], bytes, to);
      to += bytes;
    }
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    int64_t first = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      for (int32_t channel : change.inputs[i]->channels()) {
        Translate(parts_[i], change.inputs[i]->channel(channel), channel_rows_ * kRowBytes,
                  change.output->Begin(first + channel));
        change.output->Finish(first + channel, change.valid, *workspace.kernels);
      }
      first += parts_[i].channels;
    }
  }

 private:
  struct Part {
    int64_t channels;
    bool same;
    std::array<uint8_t, 256> translation;
  };

  static void Translate(const Part& part, const uint8_t* from, int64_t bytes, uint8_t* to) {
    if (part.same)
      std::memcpy(to, from, static_cast<size_t>(bytes));
    else
      for (int64_t i = 0; i < bytes; ++i) to[i] = part.translation[from[i]];
  }

  const int64_t channel_rows_;
  std::vector<Part> parts_;
};

}  // namespace

std::unique_ptr<Operator> Make(const model::Concatenate&, const OperatorSource& source) {
  return std::make_unique<ConcatenateOperator>(source);
}

}  // namespace steadfast::engine
