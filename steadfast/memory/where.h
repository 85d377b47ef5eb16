// Which stored cells can fail: the grammar of --where, in studies and behind the @ of a fault model.
//
//   items    ITEM[,ITEM...]             what any of them names
//   ITEM     ROLE | NAME | ROLE:NAME, each with [FILTER;FILTER...] behind it where not all cells are meant
//   ROLE     weights, biases, scales, normalization, activation-scales; all: every one of these; activations: the
//   buffers of
//            values between layers
//   NAME     a parameter's name, or a layer's: all parameters whose names begin with it and a . or /; a value's name,
//   behind
//            activations: also a layer's. In double quotes any name; without, an exact name wins over the grammar (but
//            a bare ROLE is a role)
//   FILTER   bit=, channel=, code= or bank= and numbers: 3, 0..2, -8..-1, joined by |
//
// bit: of the element, 0 the least significant (msb: the most significant). channel: output channel of weights; of
// others the element's index. code: the value that the memory holds without faults. bank: of the memory that holds it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel, Parameter

namespace steadfast::memory {

struct Where {
  std::string text = "weights";  // roles in the order of the list above, or as it was typed
  bool operator==(const Where&) const = default;
};
const std::string& NameOf(const Where& where);
// Roles are put in order, so that the same cells have the same name; whether names exist is seen by Select.
Where ParseWhere(std::string_view text);  // throws UsageError

struct NumberRange {
  int64_t low, high;  // both included
};

// Cells of one parameter: those whose numbers lie in one range of each list that is not empty.
struct CellFilter {
  std::vector<NumberRange> bits, channels, codes, banks;
  int item = 0;          // of the text that it comes from
  bool is_void = false;  // bits that the parameter does not have
  bool is_everything() const { return !is_void && bits.empty() && channels.empty() && codes.empty() && banks.empty(); }
  bool Holds(int64_t bit, int64_t channel, int64_t code, int64_t bank) const;
};

// What the grammar sees of a parameter.
struct Selectable {
  std::string name;
  model::Role role;
  model::StorageFormat format;
  bool is_fixed = false;       // of no memory
  bool is_activation = false;  // a buffer of values; it has no role
};
// The parameters of a model, then its stored values (model::StoredValues).
std::vector<Selectable> SelectablesOf(const model::QuantizedModel& model);

// What `where` names of each: [selectable][filters], of which one must hold a cell; no filter: no cell.
// Throws UsageError where it names what is not there.
std::vector<std::vector<CellFilter>> Select(const Where& where, std::span<const Selectable> parameters);

}  // namespace steadfast::memory
