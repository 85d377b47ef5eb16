#include "steadfast/memory/memory_image.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"  // Split

namespace steadfast::memory {
namespace {

struct WhereName {
  const char* name;
  bool Where::*field;
};
constexpr WhereName kWhereNames[] = {{"weights", &Where::weights},
                                     {"biases", &Where::biases},
                                     {"scales", &Where::scales},
                                     {"normalization", &Where::normalization},
                                     {"activation-scales", &Where::activation_scales}};

}  // namespace

bool Where::Holds(model::Role role) const {
  switch (role) {
    case model::Role::kWeight:
      return weights;
    case model::Role::kBias:
      return biases;
    case model::Role::kScale:
      return scales;
    case model::Role::kMultiplier:
    case model::Role::kMean:
    case model::Role::kVariance:
      return normalization;
    case model::Role::kActivationScale:
      return activation_scales;
  }
  return false;
}

std::string NameOf(const Where& where) {
  std::string text;
  for (const auto& [name, field] : kWhereNames) {
    if (!(where.*field)) continue;
    if (!text.empty()) text += ',';
    text += name;
  }
  return text;
}

Where ParseWhere(std::string_view text) {
  if (text == "all") return {true, true, true, true, true};
  Where where{false, false, false, false};
  for (const std::string& piece : Split(text, ',')) {
    bool found = false;
    for (const auto& [name, field] : kWhereNames) {
      if (piece != name) continue;
      where.*field = found = true;
    }
    if (!found)
      throw UsageError(fmt::format(
          "--where: '{}' is not one of weights, biases, scales, normalization, activation-scales, all", piece));
  }
  return where;
}

MemoryImage::MemoryImage(const model::QuantizedModel& model, MemoryLayout layout, const Where& where)
    : layout_(layout) {
  if (layout.word_bits < 8 || layout.word_bits > 64) {
    throw UsageError(fmt::format("word width: {} bits, expected 8 to 64", layout.word_bits));
  }
  uint32_t number = 0;
  for (const bool weights : {true, false}) {
    for (size_t p = 0; p < model.parameters.size(); ++p) {
      const model::Parameter& parameter = model.parameters[p];
      if (parameter.is_fixed || (parameter.role == model::Role::kWeight) != weights) continue;
      const uint32_t own_number = number++;
      if (!where.Holds(parameter.role)) continue;
      MemoryArray array{parameter.name, static_cast<int>(p), own_number, parameter.format, parameter.bits};
      if (array.bits() > layout.word_bits) {
        throw UsageError(fmt::format("word width: {} bits, and an element of {} has {}", layout.word_bits, array.name,
                                     array.bits()));
      }
      if (parameter.format.kind == model::StorageFormat::Kind::kCodes) {
        CheckEncodable(parameter, layout.encoding);
        for (int64_t i = 0; i < parameter.elements(); ++i) {
          array.patterns[static_cast<size_t>(i)] = Encode(parameter.format.codes, layout.encoding, parameter.code(i));
        }
      }
      arrays_.push_back(std::move(array));
    }
  }
  if (arrays_.empty()) throw InputError(fmt::format("the model has no {}", NameOf(where)));
}

int64_t MemoryImage::cells() const {
  int64_t cells = 0;
  for (const auto& array : arrays_) cells += array.cells();
  return cells;
}

std::vector<SampledArray> MemoryImage::sampled_arrays() const {
  std::vector<SampledArray> arrays;
  for (const auto& array : arrays_) arrays.push_back({array.number, array.cells()});
  return arrays;
}

int64_t MemoryImage::ElementsPerWord(int array) const {
  return layout_.word_bits / arrays_[static_cast<size_t>(array)].bits();
}

WordPosition MemoryImage::PositionOf(BitAddress address) const {
  const int bits = arrays_[static_cast<size_t>(address.array)].bits();
  const int64_t element = address.cell / bits;
  const int64_t per_word = ElementsPerWord(address.array);
  return {element / per_word, static_cast<int>(element % per_word * bits + address.cell % bits)};
}

int64_t MemoryImage::WordsOf(int array) const {
  const int64_t per_word = ElementsPerWord(array);
  return (arrays_[static_cast<size_t>(array)].elements() + per_word - 1) / per_word;
}

uint64_t MemoryImage::WordAt(int array, int64_t word) const {
  const MemoryArray& memory = arrays_[static_cast<size_t>(array)];
  const int64_t per_word = ElementsPerWord(array);
  uint64_t bits = 0;
  for (int64_t i = 0; i < per_word && word * per_word + i < memory.elements(); ++i) {
    bits |= uint64_t{memory.patterns[static_cast<size_t>(word * per_word + i)]} << (i * memory.bits());
  }
  return bits;
}

std::string MemoryImage::LayoutDescription() const {
  std::string text = fmt::format("{}-bit words:", layout_.word_bits);
  for (const auto& array : arrays_) text += fmt::format(" {} {}x{}", array.name, array.elements(), array.bits());
  return text;
}

}  // namespace steadfast::memory
