// Fault lists as CSV, for exchange with other tools: which cells of which trial misbehave, and how.
//
// Columns: trial,tensor,index,bit,kind (docs/formats.md). index: of the element, in the order of the model file; bit 0
// is the least significant. Names are quoted as RFC 4180 says; a name with commas that is not is recognized where the
// model has a parameter of exactly that name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "steadfast/memory/fault_map.h"     // FaultMap
#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

using FaultLists = std::map<uint64_t, FaultMap>;  // by trial number

std::string ToCsv(const FaultLists& lists, const MemoryImage& image);

// `name` stands in errors. Throws InputError naming line and column for unknown tensors, cells outside them, two faults
// on one cell of a trial, or anything that is not a fault.
FaultLists FaultListsFromCsv(std::string_view csv, const MemoryImage& image, const std::string& name);

}  // namespace steadfast::memory
