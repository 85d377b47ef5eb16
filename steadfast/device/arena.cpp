#include "steadfast/device/arena.h"

#include <algorithm>

#include "steadfast/model/operators/flatten.h"

namespace steadfast::device {

using model::Node;

int SourceOf(const model::QuantizedModel& model, int value) {
  for (const Node& node : model.nodes) {
    if (node.output == value && node.operation.Is<model::Flatten>()) return SourceOf(model, node.input());
  }
  return value;
}

Arena PlaceValues(const model::QuantizedModel& model, const std::vector<bool>& placed) {
  struct Life {
    int value;
    int64_t bytes, first, last;  // nodes; both included
  };
  std::vector<Life> lives;
  for (int v = 0; v < static_cast<int>(model.values.size()); ++v) {
    if (!placed[static_cast<size_t>(v)] || SourceOf(model, v) != v) continue;
    Life life{v, model.value(v).shape.elements(), 0, 0};
    for (size_t n = 0; n < model.nodes.size(); ++n) {
      const Node& node = model.nodes[n];
      const auto at = static_cast<int64_t>(n);
      if (node.output == v) life.first = at;
      for (const int input : node.inputs) {
        if (SourceOf(model, input) == v) life.last = at;
      }
    }
    life.last = std::max(life.first, life.last);
    if (v == SourceOf(model, model.output)) life.last = static_cast<int64_t>(model.nodes.size());
    lives.push_back(life);
  }
  std::stable_sort(lives.begin(), lives.end(), [](const Life& a, const Life& b) { return a.bytes > b.bytes; });
  Arena arena;
  arena.offsets.assign(model.values.size(), -1);
  const auto offset_of = [&](const Life& life) -> int64_t& { return arena.offsets[static_cast<size_t>(life.value)]; };
  for (size_t i = 0; i < lives.size(); ++i) {
    std::vector<Life> beside;  // placed ones that live at the same time, by place
    for (size_t j = 0; j < i; ++j) {
      if (lives[j].first <= lives[i].last && lives[i].first <= lives[j].last) beside.push_back(lives[j]);
    }
    std::sort(beside.begin(), beside.end(), [&](const Life& a, const Life& b) { return offset_of(a) < offset_of(b); });
    int64_t offset = 0;
    for (const Life& other : beside) {
      if (offset + lives[i].bytes <= offset_of(other)) break;
      offset = std::max(offset, offset_of(other) + other.bytes);
    }
    offset_of(lives[i]) = offset;
    arena.bytes = std::max(arena.bytes, offset + lives[i].bytes);
  }
  for (int v = 0; v < static_cast<int>(model.values.size()); ++v)
    arena.offsets[static_cast<size_t>(v)] = arena.offsets[static_cast<size_t>(SourceOf(model, v))];
  return arena;
}

}  // namespace steadfast::device
