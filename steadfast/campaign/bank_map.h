// Where on the chip the bits of a network matter: a sweep's damage, gathered bank by bank.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "steadfast/memory/memory_image.h"  // MemoryImage
#include "steadfast/store/store.h"          // SweepPart

namespace steadfast::campaign {

// {"chip", "fault": "flip", "banks": [{"memory", "bank", "rows", "columns", "square_rows", "square_columns",
// "squares": [[row, column, bits, mean, largest], ...]}, ...]}: in each square of a bank, how many of its bits were
// swept, and the mean and largest share of images that their flips turn from right to wrong, less those made right. A
// bank has at most 16 x 32 squares; a square's row and column are those of its first cell.
nlohmann::json BankMapOf(const memory::MemoryImage& image, std::span<const store::SweepPart> parts, int64_t images);

}  // namespace steadfast::campaign
