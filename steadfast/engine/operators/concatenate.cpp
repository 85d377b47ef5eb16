// Channels of several values, one value after the other, each code translated to the output's coding.
#include <array>
#include <cstring>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/concatenate.h"

namespace steadfast::engine {
namespace {

class ConcatenateOperator final : public Operator {
 public:
  explicit ConcatenateOperator(const OperatorSource& source)
      : channel_rows_(source.output().shape.height * source.output().shape.width) {
    for (size_t i = 0; i < source.node.inputs.size(); ++i) {
      const auto table = model::TranslationOf(source.model, source.node, i);
      bool same = true;
      for (int code = 0; code <= source.input(i).coding->highest_code(); ++code)
        same = same && table[static_cast<size_t>(code)] == code;
      parts_.push_back({source.input(i).shape.channels, same, table});
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

  // Where parts begin with a quad.
  bool PrepareSlices(const SliceSetting& setting) override {
    for (size_t i = 0; i < parts_.size(); ++i) {
      const bool fits = setting.inputs[i].quad == QuadShape{4, 1} &&
                        setting.inputs[i].shape.channels == parts_[i].channels &&
                        (i + 1 == parts_.size() || parts_[i].channels % 4 == 0);
      if (!fits) return false;
    }
    setting_ = setting;
    return true;
  }

  void RunSlice(const SliceRun& run, Workspace&) const override {
    const SliceLayout& out = *setting_.output;
    for (int64_t y = 0; y < out.shape.height; ++y) {
      for (int64_t x = 0; x < out.shape.width; ++x) {
        uint8_t* to = run.output + out.at(y, x);
        for (size_t i = 0; i < parts_.size(); ++i) {
          const SliceLayout& in = setting_.inputs[i];
          Translate(parts_[i], run.inputs[i] + in.at(y, x), in.pixel_bytes(), to);
          to += in.pixel_bytes();
        }
      }
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
  SliceSetting setting_;
};

}  // namespace

std::unique_ptr<Operator> MakeConcatenate(const OperatorSource& source) {
  return std::make_unique<ConcatenateOperator>(source);
}

}  // namespace steadfast::engine
