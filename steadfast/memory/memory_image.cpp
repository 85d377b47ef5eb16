#include "steadfast/memory/memory_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "steadfast/base/error.h"
#include "steadfast/memory/packing.h"
#include "steadfast/model/value_faults.h"  // StoredValues

namespace steadfast::memory {
namespace {

bool IsWeight(const model::Parameter& parameter) {
  return parameter.role == model::Role::kWeight;
}

// For each parameter and stored value the first memory that holds it, or -1.
std::vector<int> MemoriesOf(std::span<const Selectable> all, const Chip& chip) {
  std::vector<int> memories(all.size(), -1);
  for (size_t m = 0; m < chip.memories.size(); ++m) {
    const auto held = Select({chip.memories[m].holds}, all);
    for (size_t p = 0; p < held.size(); ++p) {
      if (held[p].empty() || memories[p] >= 0) continue;
      for (const CellFilter& filter : held[p]) {
        if (!filter.is_everything())
          throw UsageError(fmt::format("{}: holds: {} is stored whole; a memory's parameters have no [filters]",
                                       chip.memories[m].name, all[p].name));
      }
      if (all[p].is_activation && chip.memories[m].cell_bits > 1)
        throw UsageError(fmt::format("{}: cell_bits: {}: activations lie in cells of one bit", chip.memories[m].name,
                                     chip.memories[m].cell_bits));
      memories[p] = static_cast<int>(m);
    }
  }
  return memories;
}

std::vector<uint32_t> PatternsOf(const model::Parameter& parameter, Encoding encoding) {
  std::vector<uint32_t> patterns = parameter.bits;
  if (parameter.format.kind != model::StorageFormat::Kind::kCodes) return patterns;
  CheckEncodable(parameter, encoding);
  for (int64_t i = 0; i < parameter.elements(); ++i)
    patterns[static_cast<size_t>(i)] = Encode(parameter.format.codes, encoding, parameter.code(i));
  return patterns;
}

int64_t DividedUp(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

MemoryImage ImageOn(const std::optional<Chip>& chip, const model::QuantizedModel& model, MemoryLayout layout,
                    const Where& where) {
  return chip ? MemoryImage(model, *chip, layout.encoding, where) : MemoryImage(model, layout, where);
}

MemoryImage::MemoryImage(const model::QuantizedModel& model, MemoryLayout layout, const Where& where) {
  if (layout.word_bits < 8 || layout.word_bits > 64)
    throw UsageError(fmt::format("word width: {} bits, expected 8 to 64", layout.word_bits));
  chip_ = PlainChip("all,activations", layout.word_bits);
  Build(model, layout.encoding, where, /*is_plain=*/true);
}

MemoryImage::MemoryImage(const model::QuantizedModel& model, const Chip& chip, Encoding encoding, const Where& where)
    : chip_(chip) {
  Check(chip);
  Build(model, encoding, where, /*is_plain=*/false);
}

MemoryImage MemoryImage::OfChip(const Chip& chip) {
  Check(chip);
  MemoryImage image;
  image.chip_ = chip;
  int64_t cells = 0;
  for (const Memory& memory : chip.memories) {
    if (memory.banks == 0)
      throw UsageError(
          fmt::format("{}: how many banks it has is not said; add banks: to the chip, or name a model with "
                      "--model",
                      memory.name));
    const int64_t words = memory.banks * memory.words_per_bank();
    cells += words * memory.usable_bits();
    constexpr int64_t kMostCells = int64_t{1} << 30;
    if (cells > kMostCells)
      throw UsageError(
          fmt::format("chip {}: more than 2^30 cells; name a model with --model, or fewer banks", chip.name));
    int bits = 8;  // of an element; words are filled whole
    while (memory.usable_bits() % bits != 0) --bits;
    const auto m = static_cast<int>(image.arrays_.size());
    image.words_.push_back(words);
    image.banks_.push_back(memory.banks);
    image.lying_in_.push_back({m});
    model::StorageFormat format;
    format.codes.bits = bits;
    const int64_t elements = words * (memory.usable_bits() / bits);
    image.arrays_.push_back({.name = memory.name,
                             .parameter = m,
                             .number = static_cast<uint32_t>(m),
                             .format = format,
                             .patterns = std::vector<uint32_t>(static_cast<size_t>(elements)),
                             .memory = m,
                             .outputs = elements});
  }
  return image;
}

void MemoryImage::Build(const model::QuantizedModel& model, Encoding encoding, const Where& where, bool is_plain) {
  const std::vector<Selectable> all = SelectablesOf(model);
  const std::vector<int> memories = MemoriesOf(all, chip_);
  const auto selected = Select(where, all);
  words_.assign(chip_.memories.size(), 0);
  lying_in_.resize(chip_.memories.size());
  uint32_t number = 0;
  for (const bool weights : {true, false}) {
    for (size_t p = 0; p < model.parameters.size(); ++p) {
      const model::Parameter& parameter = model.parameters[p];
      if (parameter.is_fixed || IsWeight(parameter) != weights) continue;
      const uint32_t own_number = number++;
      if (memories[p] < 0) continue;
      const Memory& memory = chip_.memories[static_cast<size_t>(memories[p])];
      const int bits = parameter.format.bits();
      if (bits > memory.usable_bits() && is_plain && selected[p].empty()) continue;
      if (bits > memory.usable_bits())
        throw UsageError(
            fmt::format("word width: {} bits, and an element of {} has {}", memory.word_bits, parameter.name, bits));
      int64_t& words = words_[static_cast<size_t>(memories[p])];
      const int64_t first_word = words;
      words += DividedUp(parameter.elements(), memory.usable_bits() / bits);
      if (selected[p].empty()) continue;
      const Encoding own = memory.encoding.value_or(encoding);
      MemoryArray array{.name = parameter.name,
                        .parameter = static_cast<int>(p),
                        .number = own_number,
                        .format = parameter.format,
                        .patterns = PatternsOf(parameter, own),
                        .encoding = own,
                        .memory = memories[p],
                        .first_word = first_word,
                        .role = parameter.role,
                        .outputs = IsWeight(parameter) ? parameter.outputs() : parameter.elements(),
                        .outputs_last = !IsWeight(parameter) || parameter.output_axis != 0,
                        .filters = selected[p]};
      if (std::any_of(array.filters.begin(), array.filters.end(),
                      [](const CellFilter& filter) { return filter.is_everything(); }))
        array.filters.clear();
      lying_in_[static_cast<size_t>(memories[p])].push_back(static_cast<int>(arrays_.size()));
      arrays_.push_back(std::move(array));
    }
  }
  const size_t parameters = model.parameters.size();
  AddBuffers(model, std::span(memories).subspan(parameters), std::span(selected).subspan(parameters));
  if (arrays_.empty())
    throw InputError(is_plain
                         ? fmt::format("the model has no {}", NameOf(where))
                         : fmt::format("no memory of chip {} holds any {} of the model", chip_.name, NameOf(where)));
  for (size_t m = 0; m < chip_.memories.size(); ++m) {
    const Memory& memory = chip_.memories[m];
    const int64_t needed = std::max<int64_t>(1, DividedUp(words_[m], memory.words_per_bank()));
    if (memory.banks > 0 && needed > memory.banks)
      throw UsageError(fmt::format("{}: {} words need {} banks of {} rows of {} words, and it has {}", memory.name,
                                   words_[m], needed, memory.rows_per_bank, memory.words_per_row, memory.banks));
    banks_.push_back(memory.banks > 0 ? memory.banks : needed);
  }
  CheckFilters(where, SelectArrays(where));
}

void MemoryImage::CheckFilters(const Where& where, std::span<const std::vector<CellFilter>> filters) const {
  std::map<int, bool> found;  // [item]: whether it holds any cell
  for (int a = 0; a < static_cast<int>(arrays_.size()); ++a) {
    for (const CellFilter& filter : filters[static_cast<size_t>(a)]) {
      bool& any = found[filter.item];
      any = any || filter.is_everything();
      for (int64_t cell = 0; cell < ArrayAt(a).cells() && !any; ++cell) any = Holds({&filter, 1}, {a, cell});
    }
  }
  for (const auto& [item, any] : found) {
    if (!any)
      throw UsageError(
          fmt::format("--where {}: no cell is what stands in the brackets of item {}", NameOf(where), item + 1));
  }
}

void MemoryImage::AddBuffer(MemoryArray array, int64_t words) {
  const auto m = static_cast<size_t>(array.memory);
  array.first_word = words_[m];
  words_[m] += words;
  if (array.filters.empty()) return;  // nothing of it can fail
  if (std::any_of(array.filters.begin(), array.filters.end(),
                  [](const auto& filter) { return filter.is_everything(); }))
    array.filters.clear();
  array.outputs = array.elements();
  array.outputs_last = true;
  lying_in_[m].push_back(static_cast<int>(arrays_.size()));
  arrays_.push_back(std::move(array));
}

void MemoryImage::AddBuffers(const model::QuantizedModel& model, std::span<const int> memories,
                             std::span<const std::vector<CellFilter>> selected) {
  constexpr uint32_t kFirstNumber = 49'152;
  const std::vector<int> stored = model::StoredValues(model);
  std::vector<BufferedValue> values;
  std::vector<int64_t> cells_before;
  for (int v : stored) {
    const model::Value& value = model.value(v);
    values.push_back({v, value.coding->bits, value.coding->is_signed, value.shape.elements()});
    cells_before.push_back(cells_of_stored_values_);
    cells_of_stored_values_ += value.shape.elements() * value.coding->bits;
  }
  const auto buffer = [&](int memory, std::string name, int bits, int64_t elements, uint32_t number) {
    MemoryArray array{.name = std::move(name), .parameter = -1, .number = kFirstNumber + number, .memory = memory};
    array.format.codes = {.bits = bits, .is_signed = false};
    array.patterns.resize(static_cast<size_t>(elements));
    return array;
  };
  int64_t sharing = 0;  // memories whose values share buffers
  for (int m = 0; m < static_cast<int>(chip_.memories.size()); ++m)
    sharing += chip_.memories[static_cast<size_t>(m)].buffers != Buffers::kEach &&
               std::find(memories.begin(), memories.end(), m) != memories.end();
  for (int m = 0; m < static_cast<int>(chip_.memories.size()); ++m) {
    const Memory& memory = chip_.memories[static_cast<size_t>(m)];
    std::vector<size_t> here;
    for (size_t i = 0; i < stored.size(); ++i) {
      if (memories[i] == m) here.push_back(i);
    }
    const auto words_of = [&](const BufferedValue& value) {
      return DividedUp(value.elements, memory.usable_bits() / value.bits);
    };
    if (memory.buffers == Buffers::kEach) {
      for (const size_t i : here) {
        MemoryArray array = buffer(m, model.value(stored[i]).name, values[i].bits, values[i].elements,
                                   static_cast<uint32_t>(stored[i]));
        array.filters = selected[i];
        array.values = {values[i]};
        array.is_own_buffer = true;
        array.cells_before = cells_before[i];
        AddBuffer(std::move(array), words_of(values[i]));
      }
      continue;
    }
    const size_t buffers = memory.buffers == Buffers::kTwo ? 2 : 1;
    for (size_t b = 0; b < std::min(buffers, here.size()); ++b) {
      MemoryArray array;
      int64_t words = 0;
      bool any = false, whole = true;
      std::vector<BufferedValue> lying;
      for (size_t i = b; i < here.size(); i += buffers) {
        const auto& filters = selected[here[i]];
        any = any || !filters.empty();
        whole = whole && !filters.empty() && filters[0].is_everything();
        lying.push_back(values[here[i]]);
        words = std::max(words, words_of(lying.back()));
      }
      if (any && !whole)
        throw UsageError(
            fmt::format("{}: values that share a buffer fail together: --where activations, whole", memory.name));
      const std::string memory_name = sharing > 1 ? memory.name + "." : "";
      array = buffer(m, memory_name + (buffers == 1 ? "activations" : fmt::format("activations.{}", b)), 1,
                     words * memory.usable_bits(), static_cast<uint32_t>(stored[here[b]]));
      if (any) array.filters = {CellFilter{}};
      array.values = std::move(lying);
      AddBuffer(std::move(array), words);
    }
  }
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

bool MemoryImage::Holds(std::span<const CellFilter> filters, BitAddress address) const {
  if (std::all_of(filters.begin(), filters.end(), [](const CellFilter& one) { return one.is_everything(); }))
    return true;
  const MemoryArray& array = ArrayAt(address.array);
  const int64_t element = address.cell / array.bits(), bit = address.cell % array.bits();
  const int64_t code = array.format.kind == model::StorageFormat::Kind::kCodes
                           ? Decode(array.format.codes, array.encoding, array.patterns[static_cast<size_t>(element)])
                           : 0;
  const int64_t bank = PhysicalOf(address).bank;
  return std::any_of(filters.begin(), filters.end(),
                     [&](const CellFilter& filter) { return filter.Holds(bit, array.ChannelOf(element), code, bank); });
}

std::vector<std::vector<CellFilter>> MemoryImage::SelectArrays(const Where& where) const {
  std::vector<Selectable> arrays;
  for (const MemoryArray& array : arrays_)
    arrays.push_back({array.name, array.role, array.format, false, array.parameter < 0});
  auto selected = Select(where, arrays);
  for (size_t a = 0; a < selected.size(); ++a) {
    if (arrays_[a].parameter >= 0 || arrays_[a].is_own_buffer) continue;
    for (const CellFilter& filter : selected[a]) {
      if (!filter.bits.empty() || !filter.channels.empty())
        throw UsageError(fmt::format("{}: bit= and channel= are of one value, and several share {}", NameOf(where),
                                     arrays_[a].name));
    }
  }
  return selected;
}

int64_t MemoryImage::FailingCells(int array) const {
  const int64_t cells = ArrayAt(array).cells();
  if (ArrayAt(array).filters.empty()) return cells;
  int64_t failing = 0;
  for (int64_t cell = 0; cell < cells; ++cell) failing += CanFail({array, cell});
  return failing;
}

int64_t MemoryImage::ElementsPerWord(int array) const {
  return memory_of(array).usable_bits() / ArrayAt(array).bits();
}

WordPosition MemoryImage::PositionOf(BitAddress address) const {
  const int bits = ArrayAt(address.array).bits();
  const int64_t element = address.cell / bits;
  const int64_t per_word = ElementsPerWord(address.array);
  return {element / per_word, static_cast<int>(element % per_word * bits + address.cell % bits)};
}

int64_t MemoryImage::WordsOf(int array) const {
  return WordsFor(ArrayAt(array).elements(), ElementsPerWord(array));
}

uint64_t MemoryImage::WordAt(int array, int64_t word) const {
  const MemoryArray& memory = ArrayAt(array);
  return PackedWord(memory.patterns, memory.bits(), ElementsPerWord(array), word);
}

PlaceInMemory PlaceOf(const Memory& memory, int64_t banks, int64_t word, int bit) {
  const int64_t of_bank = memory.words_per_bank();
  const bool fill = memory.order == BankOrder::kFill;
  const int64_t bank = fill ? word / of_bank : word % banks, in_bank = fill ? word % of_bank : word / banks;
  const int64_t slot = in_bank % memory.words_per_row, i = memory.interleaving;
  return {bank, in_bank / memory.words_per_row, slot / i * i * memory.word_bits + bit * i + slot % i};
}

WordPosition WordAtPlace(const Memory& memory, int64_t banks, const PlaceInMemory& place) {
  const int64_t i = memory.interleaving, group = place.column / (i * memory.word_bits);
  const int64_t slot = group * i + place.column % i;
  const int64_t in_bank = place.row * memory.words_per_row + slot;
  const int64_t word =
      memory.order == BankOrder::kFill ? place.bank * memory.words_per_bank() + in_bank : in_bank * banks + place.bank;
  return {word, static_cast<int>(place.column % (i * memory.word_bits) / i)};
}

PhysicalAddress MemoryImage::PhysicalOf(BitAddress address) const {
  const MemoryArray& array = ArrayAt(address.array);
  const WordPosition position = PositionOf(address);
  const PlaceInMemory place =
      PlaceOf(memory_of(address.array), BanksOf(array.memory), array.first_word + position.word, position.bit);
  return {array.memory, place.bank, place.row, place.column};
}

std::optional<BitAddress> MemoryImage::BitAt(const PhysicalAddress& address) const {
  const Memory& memory = chip_.memories[static_cast<size_t>(address.memory)];
  const WordPosition position =
      WordAtPlace(memory, BanksOf(address.memory), {address.bank, address.row, address.column});
  return BitAt(address.memory, position.word, position.bit);
}

std::optional<BitAddress> MemoryImage::BitAt(int memory, int64_t word, int bit) const {
  const std::vector<int>& arrays = lying_in_[static_cast<size_t>(memory)];
  const auto after = std::upper_bound(arrays.begin(), arrays.end(), word,
                                      [&](int64_t at, int array) { return at < ArrayAt(array).first_word; });
  if (after == arrays.begin()) return std::nullopt;
  const int found = *(after - 1);
  const MemoryArray& array = ArrayAt(found);
  const int64_t in_array = word - array.first_word, per_word = ElementsPerWord(found);
  const int64_t element = in_array * per_word + bit / array.bits();
  if (in_array >= WordsOf(found) || bit / array.bits() >= per_word || element >= array.elements()) return std::nullopt;
  return BitAddress{found, element * array.bits() + bit % array.bits()};
}

std::string MemoryImage::LayoutDescription() const {
  std::string text = fmt::format("{}-bit words:", chip_.memories[0].word_bits);
  for (const auto& array : arrays_) text += fmt::format(" {} {}x{}", array.name, array.elements(), array.bits());
  return text;
}

}  // namespace steadfast::memory
