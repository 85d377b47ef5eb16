#include <fmt/format.h>

#include <bit>
#include <cctype>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/data/npy.h"
#include "steadfast/device/c_program.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/memory/memory_dump.h"
#include "steadfast/model/changed_file.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"  // RandomImages
#include "steadfast/report/text_table.h"   // Printable

namespace steadfast::cli {
namespace export_command {

using nlohmann::json;

struct Options {
  std::filesystem::path model, fault_list, undo, output, patch, memories, c, json;
  std::string name;
  MemoryOptions memory;
  std::string encoding = "twos";
  std::optional<uint64_t> trial;
  model::Reading reading;
};

constexpr const char* kHeader = "offset,old,new";

std::string HexOf(std::span<const uint8_t> bytes) {
  std::string hex;
  for (const uint8_t byte : bytes) hex += fmt::format("{:02x}", byte);
  return hex;
}

// Where two files differ, run by run: offset in the first, its bytes there, and those of the second. Of files that are
// not equally long, one run from the first difference to the last.
std::string PatchOf(std::span<const uint8_t> before, std::span<const uint8_t> after) {
  std::string csv = std::string(kHeader) + "\n";
  const auto add = [&](size_t first, size_t last_before, size_t last_after) {
    csv += fmt::format("{},{},{}\n", first, HexOf(before.subspan(first, last_before - first)),
                       HexOf(after.subspan(first, last_after - first)));
  };
  if (before.size() != after.size()) {
    size_t first = 0, behind = 0;
    const size_t least = std::min(before.size(), after.size());
    while (first < least && before[first] == after[first]) ++first;
    while (behind < least - first && before[before.size() - 1 - behind] == after[after.size() - 1 - behind]) ++behind;
    add(first, before.size() - behind, after.size() - behind);
    return csv;
  }
  for (size_t i = 0; i < before.size();) {
    size_t end = i;
    while (end < before.size() && before[end] != after[end]) ++end;
    if (end > i) add(i, end, end);
    i = end + 1;
  }
  return csv;
}

// A file before it was changed, by what PatchOf gave.
std::vector<uint8_t> Undone(const std::filesystem::path& patch, std::span<const uint8_t> after,
                            const std::filesystem::path& name) {
  std::vector<uint8_t> before;
  size_t taken = 0;  // of `after`
  bool is_header = true;
  for (const CsvRow& row : ParseCsv(ReadTextFile(patch, uint64_t{1} << 32), patch.string())) {
    const auto fail = [&](const std::string& what) {
      throw InputError(fmt::format("{}: line {}: {}", patch.string(), row.line, what));
    };
    if (is_header) {
      is_header = false;
      if (fmt::format("{}", fmt::join(row.fields, ",")) != kHeader)
        fail(fmt::format("expected the header {}", kHeader));
      continue;
    }
    if (row.fields.size() != 3) fail(fmt::format("has {} fields, expected 3", row.fields.size()));
    const auto bytes_of = [&](const std::string& hex) {
      std::vector<uint8_t> bytes;
      for (size_t i = 0; i + 1 < hex.size(); i += 2) {
        uint8_t byte = 0;
        const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
        if (error != std::errc() || end != hex.data() + i + 2) fail(fmt::format("'{}' is not in hexadecimal", hex));
        bytes.push_back(byte);
      }
      if (hex.size() % 2 != 0) fail(fmt::format("'{}' is not in whole bytes", hex));
      return bytes;
    };
    // Offsets count in the file before; what was written so far is as long as that.
    const auto offset =
        static_cast<uint64_t>(ParseInt(row.fields[0], "offset", 0, std::numeric_limits<int64_t>::max()));
    const std::vector<uint8_t> old = bytes_of(row.fields[1]), now = bytes_of(row.fields[2]);
    if (offset < before.size() || offset - before.size() > after.size() - taken) fail("its offset is not in the file");
    const size_t kept = static_cast<size_t>(offset) - before.size();
    before.insert(before.end(), after.begin() + static_cast<std::ptrdiff_t>(taken),
                  after.begin() + static_cast<std::ptrdiff_t>(taken + kept));
    taken += kept;
    if (after.size() - taken < now.size() ||
        !std::equal(now.begin(), now.end(), after.begin() + static_cast<std::ptrdiff_t>(taken)))
      fail(fmt::format("{} does not hold these bytes at {}: it is not the file that was written with this",
                       name.string(), offset));
    before.insert(before.end(), old.begin(), old.end());
    taken += now.size();
  }
  if (is_header) throw InputError(fmt::format("{}: is empty", patch.string()));
  before.insert(before.end(), after.begin() + static_cast<std::ptrdiff_t>(taken), after.end());
  return before;
}

model::ModelChange Listed(const Options& options, const model::QuantizedModel& model) {
  const Memories memories = MemoriesOf(options.memory, {});
  const std::string name = options.fault_list.string();
  const memory::MemoryImage image = campaign::ImageOfLists(
      memories.chip, model, {memory::ParseEncoding(memories.EncodingsOr(options.encoding)), memories.word_bits},
      memories.where);
  const campaign::ListedFaults listed = campaign::FaultsOfList(ReadTextFile(options.fault_list, uint64_t{1} << 32),
                                                               name, memories.chip.has_value(), image);
  const memory::FaultLists& lists = listed.lists;
  if (!options.trial && lists.size() > 1)
    throw UsageError(
        fmt::format("{}: has {} trials, and one file holds one: choose it with --trial", name, lists.size()));
  const uint64_t trial = options.trial.value_or(lists.begin()->first);
  const auto found = lists.find(trial);
  if (found == lists.end())
    throw UsageError(
        fmt::format("--trial {}: {} has trials {} to {}", trial, name, lists.begin()->first, lists.rbegin()->first));
  if (listed.idle > 0) PrintNote(fmt::format("{} faults lie on cells that hold nothing of the model", listed.idle));
  for (const memory::Fault& fault : found->second.faults) {
    const memory::MemoryArray& array = image.arrays()[static_cast<size_t>(fault.bit.array)];
    if (array.parameter < 0)
      throw InputError(fmt::format("{}: trial {} has a fault in the buffer {}, and a model file holds no buffers", name,
                                   trial, array.name));
  }
  model::ModelChange change = memory::EffectOf(found->second, image);
  const bool quantizes_input = model.quantizes_input || (model.real_input && !IsOfTflite(model.profile));
  for (const model::Change& one : change.changes) {
    if (quantizes_input && one.parameter == model.value(0).scale)
      throw InputError(fmt::format(
          "{}: trial {} has a fault in {}, by which a runtime would quantize the images too; predictions take their "
          "codes as they are without faults, so the file would not give what inject says",
          name, trial, model.parameter(one.parameter).name));
  }
  return change;
}

// ---- memories, for hardware ----

std::string TypeOf(const model::StorageFormat& format) {
  using Kind = model::StorageFormat::Kind;
  if (format.kind == Kind::kCodes) return format.codes.is_signed ? "|i1" : "|u1";
  if (format.kind == Kind::kInt32) return "<i4";
  return "<f4";
}

// Codes as numbers, floats of 16 bits as float32, in the file's order and shape.
data::NpyArray ArrayOf(const model::Parameter& parameter) {
  data::NpyArray array{TypeOf(parameter.format), parameter.shape, {}};
  for (int64_t i = 0; i < parameter.elements(); ++i) {
    const bool is_code = parameter.format.kind == model::StorageFormat::Kind::kCodes;
    uint32_t bits = parameter.bits[static_cast<size_t>(i)];
    if (is_code) bits = static_cast<uint32_t>(parameter.code(i));
    if (parameter.format.is_float()) bits = std::bit_cast<uint32_t>(parameter.real(i));
    for (int byte = 0; byte < (is_code ? 1 : 4); ++byte) array.bytes.push_back(static_cast<uint8_t>(bits >> 8 * byte));
  }
  return array;
}

json DescriptionOf(const model::QuantizedModel& model, const memory::MemoryImage& image) {
  json memories = json::array(), arrays = json::array(), values = json::array(), nodes = json::array();
  for (size_t m = 0; m < image.chip().memories.size(); ++m) {
    const memory::Memory& one = image.chip().memories[m];
    memories.push_back({{"name", one.name},
                        {"word_bits", one.word_bits},
                        {"words_per_row", one.words_per_row},
                        {"rows_per_bank", one.rows_per_bank},
                        {"banks", image.BanksOf(static_cast<int>(m))},
                        {"interleaving", one.interleaving},
                        {"words", image.WordsOfMemory(static_cast<int>(m))}});
  }
  for (size_t a = 0; a < image.arrays().size(); ++a) {
    const memory::MemoryArray& array = image.arrays()[a];
    if (array.parameter < 0) continue;
    const model::Parameter& parameter = model.parameter(array.parameter);
    const model::LevelMap& levels = parameter.format.codes.levels;
    json one = {{"name", array.name},
                {"role", model::NameOf(array.role)},
                {"format", model::NameOf(array.format)},
                {"encoding", memory::NameOf(array.encoding)},
                {"shape", parameter.shape},
                {"memory", image.chip().memories[static_cast<size_t>(array.memory)].name},
                {"first_word", array.first_word},
                {"words", image.WordsOf(static_cast<int>(a))},
                {"elements", array.elements()},
                {"scale", parameter.scale < 0 ? json() : json(model.parameter(parameter.scale).name)}};
    if (parameter.format.kind == model::StorageFormat::Kind::kCodes) {
      one["level"] = {levels.multiplier, levels.offset};
      one["output_axis"] = parameter.output_axis;
    }
    arrays.push_back(std::move(one));
  }
  for (const model::Value& value : model.values) {
    json one = {{"name", value.name}, {"shape", {value.shape.channels, value.shape.height, value.shape.width}}};
    if (value.coding) {
      one["bits"] = value.coding->bits;
      one["signed"] = value.coding->is_signed;
      one["scale"] = value.coding->scale;
      one["zero_point"] = value.coding->zero_point + value.coding->stored_offset();
    }
    values.push_back(std::move(one));
  }
  for (const model::Node& node : model.nodes) {
    json inputs = json::array(), parameters = json::array();
    for (const int input : node.inputs) inputs.push_back(model.value(input).name);
    for (const int parameter : model::ParametersOf(model, node)) parameters.push_back(model.parameter(parameter).name);
    nodes.push_back({{"name", node.name},
                     {"kind", model::KindOf(node)},
                     {"inputs", inputs},
                     {"output", model.value(node.output).name},
                     {"parameters", parameters}});
  }
  return {{"schema", 1},          {"profile", model::NameOf(model.profile)},
          {"memories", memories}, {"arrays", arrays},
          {"values", values},     {"nodes", nodes}};
}

std::string FileName(std::string name) {
  for (char& letter : name) {
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0 && letter != '-' && letter != '.') letter = '_';
  }
  return name;
}

void WriteMemories(const Options& options) {
  const model::ModelFile file = model::ReadModelFile(options.model, options.reading);
  MemoryOptions everything = options.memory;
  if (everything.where.empty()) everything.where = "all";
  const Memories memories = MemoriesOf(everything, {});
  const memory::MemoryImage image = memory::ImageOn(
      memories.chip, file.model, {memory::ParseEncoding(memories.EncodingsOr(options.encoding)), memories.word_bits},
      memories.where);
  std::set<std::string> names;
  for (const memory::Memory& one : image.chip().memories) {
    if (!names.insert(FileName(one.name)).second)
      throw UsageError(
          fmt::format("--chip: two memories would be written as {}: name them otherwise", FileName(one.name)));
  }
  std::filesystem::create_directories(options.memories);
  std::map<std::string, data::NpyArray> arrays;
  for (const model::Parameter& parameter : file.model.parameters) arrays[parameter.name] = ArrayOf(parameter);
  const std::vector<uint8_t> archive = data::ToNpz(arrays);
  WriteFileWhole(options.memories / "parameters.npz", std::string(archive.begin(), archive.end()));
  int64_t words = 0, files = 0;
  for (size_t m = 0; m < image.chip().memories.size(); ++m) {
    const auto memory = static_cast<int>(m);
    if (image.WordsOfMemory(memory) == 0) continue;
    const std::string name = FileName(image.chip().memories[m].name);
    WriteFileWhole(options.memories / (name + ".words.hex"), memory::WordsAsHex(image, memory));
    for (int64_t bank = 0; bank < image.BanksOf(memory); ++bank, ++files)
      WriteFileWhole(options.memories / fmt::format("{}.bank{}.hex", name, bank),
                     memory::RowsAsHex(image, memory, bank));
    words += image.WordsOfMemory(memory);
  }
  json document = DescriptionOf(file.model, image);
  document["model"] = options.model.string();
  document["sha256"] = file.sha256;
  WriteFileWhole(options.memories / "layout.json", document.dump(2) + "\n");
  WriteJson(options.json, document);
  if (!IsStandardOutput(options.json))
    fmt::print("{}: {} words, {} banks ($readmemh), parameters.npz, layout.json\n", options.memories.string(), words,
               files);
}

// ---- C, for small machines ----

void WriteC(const Options& options) {
  constexpr int64_t kImagesOfSelfTest = 4;
  const model::ModelFile file = model::ReadModelFile(options.model, options.reading);
  const std::string name = options.name.empty() ? device::IdentifierOf(options.model.stem().string()) : options.name;
  const device::CProgram program =
      device::CProgramOf(file.model, name, options.model.filename().string() + ", SHA-256 " + file.sha256,
                         model::RandomImages(file.model, kImagesOfSelfTest, 0));
  for (const auto& [written, text] : program.files) WriteFileWhole(options.c / written, text);
  json document = {{"schema", 1},
                   {"model", options.model.string()},
                   {"sha256", file.sha256},
                   {"name", name},
                   {"memory_bytes", program.memory_bytes},
                   {"constant_bytes", program.constant_bytes},
                   {"working_bytes", program.working_bytes},
                   {"files", json::array()}};
  for (const auto& [written, text] : program.files) document["files"].push_back(written);
  WriteJson(options.json, document);
  if (IsStandardOutput(options.json)) return;
  fmt::print(
      "{}: {} files of C99 (README.md says how to build them)\n"
      "stored bits {} bytes, constants some {} bytes, working memory {} bytes\n",
      options.c.string(), program.files.size(), program.memory_bytes, program.constant_bytes, program.working_bytes);
}

void Run(const Options& options) {
  for (const auto& [folder, option] : {std::pair{&options.memories, "--memories"}, std::pair{&options.c, "--c"}}) {
    if (folder->empty()) continue;
    if (!options.fault_list.empty() || !options.undo.empty() || !options.output.empty() || !options.patch.empty())
      throw UsageError(
          fmt::format("{}: of a model as it is, without --fault-list, --undo, --output and --patch", option));
  }
  if (!options.memories.empty() && !options.c.empty()) throw UsageError("--memories and --c: one at a time");
  if (!options.name.empty() && options.c.empty()) throw UsageError("--name: of what --c writes");
  if (options.trial && options.fault_list.empty()) throw UsageError("--trial: of a --fault-list");
  if (!options.memories.empty()) return WriteMemories(options);
  if (!options.c.empty()) {
    if (options.encoding != "twos" || !options.memory.chip.empty() || !options.memory.where.empty() ||
        options.memory.words->count() > 0)
      throw UsageError(
          "--c: stores codes in two's complement, in one memory of words of 32 bits: without --encoding, --chip, "
          "--where "
          "and --word-bits");
    return WriteC(options);
  }
  if (options.output.empty()) throw UsageError("say where to write: --output, --memories or --c");
  if (options.fault_list.empty() == options.undo.empty())
    throw UsageError("say what is to change: --fault-list, or --undo what --patch wrote");
  if (!options.undo.empty() && !options.patch.empty()) throw UsageError("--patch: of a --fault-list alone");
  CheckDistinct({{"the model", options.model},
                 {"--fault-list", options.fault_list},
                 {"--undo", options.undo},
                 {"--output", options.output},
                 {"--patch", options.patch},
                 {"--json", options.json}});
  const std::vector<uint8_t> bytes = ReadFile(options.model, uint64_t{1} << 31);
  const auto write = [&](const std::vector<uint8_t>& changed) {
    WriteFileWhole(options.output, std::string(changed.begin(), changed.end()));
  };
  json document = {
      {"schema", 1}, {"model", options.model.string()}, {"sha256", Sha256(bytes)}, {"output", options.output.string()}};
  if (!options.undo.empty()) {
    const std::vector<uint8_t> before = Undone(options.undo, bytes, options.model);
    write(before);
    document["output_sha256"] = Sha256(before);
    WriteJson(options.json, document);
    if (!IsStandardOutput(options.json))
      fmt::print("{}: as it was before {}, SHA-256 {}\n", options.output.string(), options.undo.string(),
                 Sha256(before));
    return;
  }
  const model::QuantizedModel model = model::ReadModelFile(options.model, options.reading).model;
  const model::ModelChange change = Listed(options, model);
  const std::vector<uint8_t> changed =
      model::WithChange(bytes, options.model.string(), change, options.reading.stored_bits);
  if (!options.patch.empty()) WriteFileWhole(options.patch, PatchOf(bytes, changed));
  write(changed);
  document["output_sha256"] = Sha256(changed);
  document["changes"] = json::array();
  for (const model::Change& one : change.changes)
    document["changes"].push_back({{"tensor", model.parameter(one.parameter).name},
                                   {"index", one.index},
                                   {"old", one.old_bits},
                                   {"new", one.new_bits}});
  WriteJson(options.json, document);
  if (IsStandardOutput(options.json)) return;
  fmt::print("{}: {} of the stored elements of {} changed, all else byte for byte\n", options.output.string(),
             change.changes.size(), options.model.string());
  constexpr size_t kMostPrinted = 10;
  for (size_t i = 0; i < std::min(kMostPrinted, change.changes.size()); ++i) {
    const model::Change& one = change.changes[i];
    fmt::print("  {}[{}]: {:#x} -> {:#x}\n", report::Printable(model.parameter(one.parameter).name), one.index,
               one.old_bits, one.new_bits);
  }
  if (change.changes.size() > kMostPrinted) fmt::print("  … and {} more\n", change.changes.size() - kMostPrinted);
}

}  // namespace export_command

void AddExportCommand(CLI::App& app, Chosen& chosen) {
  using namespace export_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "export",
      "A model's own file with listed faults in it, for any runtime to run; what its memories hold, for hardware; or C "
      "for small machines");
  command->add_option("model", options->model, "The model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command->add_option("--fault-list", options->fault_list, "The faults, CSV or JSON, as inject takes and writes them")
      ->type_name("FILE");
  command
      ->add_option_function<std::string>(
          "--trial",
          [options](const std::string& text) {
            options->trial = static_cast<uint64_t>(ParseInt(text, "--trial", 0, std::numeric_limits<int64_t>::max()));
          },
          "Which trial of the list (default: its only one)")
      ->type_name("UINT");
  command->add_option("--encoding", options->encoding, "How codes are stored: twos, sign, offset, gray")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  AddReadingOptions(*command, options->reading);
  command->add_option("-o,--output", options->output, "The file to write")->type_name("FILE");
  command
      ->add_option("--memories", options->memories,
                   "Write what each memory holds: words and rows for Verilog's $readmemh, arrays for NumPy, the layout "
                   "as JSON")
      ->type_name("DIR");
  command
      ->add_option(
          "--c", options->c,
          "Write the network as C99 without heap, operating system or libm, bit-identical to what is run here, "
          "with its stored elements packed in words of 32 bits as --memories packs them (layout.json says where each "
          "lies)")
      ->type_name("DIR");
  command->add_option("--name", options->name, "What begins the names in C (default: the file's)")->type_name("NAME");
  command->add_option("--patch", options->patch, "Write what differs, byte for byte, as CSV: for --undo")
      ->type_name("FILE");
  command
      ->add_option("--undo", options->undo, "Change them back: a file that --patch wrote, MODEL being the broken file")
      ->type_name("FILE");
  AddJsonOption(*command, options->json, "Write what was changed");
  command->footer("Example: steadfast export model.tflite --fault-list faults.csv -o broken.tflite --patch patch.csv");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
