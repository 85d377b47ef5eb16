// Rows copied to other places, as many at once as lie side by side in both.
#include "steadfast/model/operators/rearrange.h"

#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class RearrangeOperator final : public Operator {
 public:
  explicit RearrangeOperator(const OperatorSource& source)
      : rows_of_input_channel_(source.input(0).shape.height * source.input(0).shape.width) {
    const auto& op = *source.node.operation.As<model::Rearrange>();
    const int64_t rows = op.shape.height * op.shape.width;
    channels_.resize(static_cast<size_t>(op.shape.channels));
    for (int64_t c = 0; c < op.shape.channels; ++c) {
      Channel& channel = channels_[static_cast<size_t>(c)];
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t from = op.from[static_cast<size_t>(c * rows + r)];
        channel.sources.push_back(static_cast<int32_t>(from / rows_of_input_channel_));
        const bool goes_on = !channel.runs.empty() && from == channel.runs.back().from + channel.runs.back().count &&
                             from % rows_of_input_channel_ != 0;
        if (goes_on)
          ++channel.runs.back().count;
        else
          channel.runs.push_back({from, 1});
      }
      std::sort(channel.sources.begin(), channel.sources.end());
      channel.sources.erase(std::unique(channel.sources.begin(), channel.sources.end()), channel.sources.end());
    }
  }

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    uint8_t* to = output.rows;
    for (const Channel& channel : channels_) {
      for (const Run& run : channel.runs) {
        std::memcpy(to, inputs[0] + run.from * kRowBytes, static_cast<size_t>(run.count * kRowBytes));
        to += run.count * kRowBytes;
      }
    }
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const ChangedValue& input = *change.inputs[0];
    if (input.channels().empty()) return;
    for (size_t c = 0; c < channels_.size(); ++c) {
      const Channel& channel = channels_[c];
      if (std::none_of(channel.sources.begin(), channel.sources.end(),
                       [&](int32_t source) { return input.is_changed(source); }))
        continue;
      uint8_t* to = change.output->Begin(static_cast<int64_t>(c));
      for (const Run& run : channel.runs) {  // each within one channel
        const uint8_t* rows = input.channel(run.from / rows_of_input_channel_);
        std::memcpy(to, rows + run.from % rows_of_input_channel_ * kRowBytes,
                    static_cast<size_t>(run.count * kRowBytes));
        to += run.count * kRowBytes;
      }
      change.output->Finish(static_cast<int64_t>(c), change.valid, *workspace.kernels);
    }
  }

 private:
  struct Run {
    int64_t from, count;  // rows
  };
  struct Channel {
    std::vector<Run> runs;
    std::vector<int32_t> sources;  // the input's channels, ascending
  };

  const int64_t rows_of_input_channel_;
  std::vector<Channel> channels_;
};

}  // namespace

std::unique_ptr<Operator> MakeRearrange(const OperatorSource& source) {
  return std::make_unique<RearrangeOperator>(source);
}

}  // namespace steadfast::engine
