// Fault lists as CSV or JSON, for exchange with other tools: which cells of which trial misbehave, and how; and tables
// of rates, cell by cell.
//
// A cell is named in one of three ways (docs/formats.md), which the header of a CSV file tells:
//
//   element    tensor,index,bit          index: of the element, in the order of the model file; bit 0 is the least
//   significant word       memory,word,bit           of a memory of the chip place      memory,bank,row,column    as
//   measured on silicon
//
// with trial (or chip: another word for it) in front and kind (or rate) behind. A trial without faults is a row of kind
// none and no address. Words and places may hold nothing: a map is of a chip, whatever network lies in it. Names are
// quoted as RFC 4180 says; a tensor's name with commas that is not is recognized where the model has a parameter of
// exactly that name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "steadfast/memory/fault_map.h"     // FaultMap
#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

using FaultLists = std::map<uint64_t, FaultMap>;  // by trial number

enum class AddressForm { kElement, kWord, kPlace };
std::string_view NameOf(AddressForm form);            // "element", "word", "place"
AddressForm ParseAddressForm(std::string_view text);  // throws UsageError

std::string ToCsv(const FaultLists& lists, const MemoryImage& image, AddressForm form = AddressForm::kElement);
// {"schema": 1, "chip": …, "faults": [{"trial": 0, "memory": …, …, "kind": …}, …]}
std::string ToJson(const FaultLists& lists, const MemoryImage& image, AddressForm form);

// `name` stands in errors; JSON is recognized by its first character. Throws InputError naming line (or place in the
// JSON) and column for unknown tensors and memories, cells outside them, two faults on one cell of a trial, or anything
// that is not a fault. idle: how many faults are on cells that hold nothing of the image.
FaultLists FaultListsFromText(std::string_view text, const MemoryImage& image, const std::string& name,
                              int64_t* idle = nullptr);

// Whether a list names cells by words or places, which only a chip gives a meaning.
bool NamesPlaces(std::string_view text, const std::string& name);

// A rate for each cell that the table names and that holds something: of the image's cells, by their addresses.
std::vector<std::pair<BitAddress, double>> RatesFromCsv(std::string_view csv, const MemoryImage& image,
                                                        const std::string& name);

}  // namespace steadfast::memory
