#include "steadfast/campaign/bank_map.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace steadfast::campaign {
namespace {

constexpr int64_t kSquaresDown = 16, kSquaresAcross = 32;

struct Square {
  int64_t bits = 0;
  double sum = 0, largest = 0;
};

int64_t DividedUp(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

nlohmann::json BankMapOf(const memory::MemoryImage& image, std::span<const store::SweepPart> parts, int64_t images) {
  std::map<std::string, int> arrays;
  for (int a = 0; a < static_cast<int>(image.arrays().size()); ++a)
    arrays[image.arrays()[static_cast<size_t>(a)].name] = a;
  std::map<std::pair<int, int64_t>, std::map<std::pair<int64_t, int64_t>, Square>>
      banks;  // [memory, bank][row, column]
  for (const store::SweepPart& part : parts) {
    const int array = arrays.at(part.tensor);
    const memory::Memory& memory = image.memory_of(array);
    const int64_t rows = DividedUp(memory.rows_per_bank, kSquaresDown);
    const int64_t columns = DividedUp(memory.columns(), kSquaresAcross);
    for (size_t f = 0; f < part.faults.size(); ++f) {
      if (part.faults[f].is_left_out()) continue;
      const auto at = image.PhysicalOf({array, part.first + static_cast<int64_t>(f)});
      const auto& fault = part.faults[f];
      const double damage =
          (static_cast<double>(fault.broken) - static_cast<double>(fault.repaired)) / static_cast<double>(images);
      Square& square = banks[{at.memory, at.bank}][{at.row / rows, at.column / columns}];
      square.largest = square.bits == 0 ? damage : std::max(square.largest, damage);
      square.sum += damage;
      ++square.bits;
    }
  }
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [place, squares] : banks) {
    const memory::Memory& memory = image.chip().memories[static_cast<size_t>(place.first)];
    const int64_t rows = DividedUp(memory.rows_per_bank, kSquaresDown);
    const int64_t columns = DividedUp(memory.columns(), kSquaresAcross);
    nlohmann::json of_bank = nlohmann::json::array();
    for (const auto& [at, square] : squares)
      of_bank.push_back({at.first * rows, at.second * columns, square.bits,
                         square.sum / static_cast<double>(square.bits), square.largest});
    list.push_back({{"memory", memory.name},
                    {"bank", place.second},
                    {"rows", memory.rows_per_bank},
                    {"columns", memory.columns()},
                    {"square_rows", rows},
                    {"square_columns", columns},
                    {"squares", std::move(of_bank)}});
  }
  return {{"chip", image.chip().name}, {"fault", "flip"}, {"banks", std::move(list)}};
}

}  // namespace steadfast::campaign
