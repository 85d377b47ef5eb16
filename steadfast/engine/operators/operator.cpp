#include "steadfast/engine/operators/operator.h"

#include <algorithm>

#include "steadfast/model/requantization.h"

namespace steadfast::engine {

QuantizeConstants ConstantsOf(const model::Value& output, const model::Node& node) {
  const model::Quantization q = model::QuantizationOf(*output.coding, node.activation);
  return {q.scale, q.zero_point, q.lowest, q.highest, q.zero_below};
}
OperandConstants OperandOf(const model::ActivationCoding& coding) {
  return {coding.zero_point, coding.real_scale()};
}

bool AreWholeQuads(const SliceSetting& setting, int64_t groups) {
  const auto is_whole = [&](const SliceLayout& layout) {
    return layout.quad == QuadShape{4, 1} && layout.shape.channels % (4 * groups) == 0;
  };
  return !setting.add && setting.output && is_whole(*setting.output) &&
         std::all_of(setting.inputs.begin(), setting.inputs.end(), is_whole);
}

double ChangedGroups(const ChangedValue& value, int64_t groups) {
  int64_t changed = 0;
  ForEachChangedGroup(value, groups, [&](int64_t) { ++changed; });
  return static_cast<double>(changed) / static_cast<double>(groups);
}

void ChannelwiseOperator::RunChannel(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                     uint8_t* output) const {
  From from[kMostInputs];
  for (size_t i = 0; i < inputs.size(); ++i) from[i] = {inputs[i], in_.width, kRowBytes, in_.width * kRowBytes};
  RunPlane({from, inputs.size()}, workspace, {output, out_.width, kRowBytes, out_.width * kRowBytes});
}

bool ChannelwiseOperator::PrepareSlices(const SliceSetting& setting) {
  for (const SliceLayout& input : setting.inputs) {
    if (input.quad != QuadShape{4, 1} || input.shape != in_) return false;
  }
  setting_ = setting;
  return true;
}

void ChannelwiseOperator::RunSlice(const SliceRun& run, Workspace& workspace) const {
  const SliceLayout& out = *setting_.output;
  From from[kMostInputs];
  for (int64_t plane = 0; plane < out.planes(); ++plane) {
    for (size_t i = 0; i < run.inputs.size(); ++i) {
      const SliceLayout& in = setting_.inputs[i];
      from[i] = {run.inputs[i] + in.at(0, 0) + plane * kSliceQuadBytes, in_.width, in.pixel_bytes(), in.row_bytes()};
    }
    RunPlane({from, run.inputs.size()}, workspace,
             {run.output + out.at(0, 0) + plane * kSliceQuadBytes, out_.width, out.pixel_bytes(), out.row_bytes()});
  }
}

void ChannelwiseOperator::RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                   const BlockOutput& output) const {
  const int64_t in_bytes = in_.height * in_.width * kRowBytes, out_bytes = out_.height * out_.width * kRowBytes;
  std::vector<const uint8_t*> channel_inputs(inputs.size());
  for (int64_t c = 0; c < out_.channels; ++c) {
    for (size_t i = 0; i < inputs.size(); ++i) channel_inputs[i] = inputs[i] + c * in_bytes;
    RunChannel(channel_inputs, workspace, output.rows + c * out_bytes);
  }
}

void ChannelwiseOperator::RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const {
  std::vector<int32_t> channels;
  for (const ChangedValue* input : change.inputs)
    channels.insert(channels.end(), input->channels().begin(), input->channels().end());
  std::sort(channels.begin(), channels.end());
  channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
  std::vector<const uint8_t*> channel_inputs(change.inputs.size());
  for (int32_t c : channels) {
    for (size_t i = 0; i < change.inputs.size(); ++i) channel_inputs[i] = change.inputs[i]->channel(c);
    RunChannel(channel_inputs, workspace, change.output->Begin(c));
    change.output->Finish(c, change.valid, *workspace.kernels);
  }
}

}  // namespace steadfast::engine
