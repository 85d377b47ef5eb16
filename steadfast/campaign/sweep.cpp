#include "steadfast/campaign/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/machine.h"  // AvailableCores
#include "steadfast/base/parallel.h"
#include "steadfast/base/philox.h"
#include "steadfast/base/text.h"  // SplitNames
#include "steadfast/campaign/bank_map.h"
#include "steadfast/engine/differential.h"
#include "steadfast/model/onnx_file.h"

namespace steadfast::campaign {
namespace {

using engine::kBlockImages;
using store::SweepPart;

constexpr int64_t kLargestPairSweep = 4'000'000;
constexpr int64_t kFaultsOfNeuronPart = 4096;  // about; a sample chooses among parts
constexpr int64_t kBlocksAtOnce = 8;
constexpr uint64_t kSampleSeed = 1;  // of samples of a sweep: the same in all versions

// The outcome of one image as one number, so that sums over the up to 64 images of a block are sums of numbers: a
// margin difference of 41 bits (64 * 2^33 fits), then three counts of 7 bits.
constexpr int kChangedShift = 41, kBrokenShift = 48, kRepairedShift = 55;

int64_t Pack(const engine::Tally& tally) {
  return tally.margin_delta + (tally.changed << kChangedShift) + (tally.broken << kBrokenShift) +
         (tally.repaired << kRepairedShift);
}

void AddPacked(int64_t packed, SweepPart::Fault& to) {
  const int64_t margin =
      static_cast<int64_t>(static_cast<uint64_t>(packed) << (64 - kChangedShift)) >> (64 - kChangedShift);
  const auto counts = static_cast<uint64_t>(packed - margin);
  to.margin_delta += margin;
  to.changed += counts >> kChangedShift & 127;
  to.broken += counts >> kBrokenShift & 127;
  to.repaired += counts >> kRepairedShift & 127;
}

void Add(const engine::Tally& tally, SweepPart::Fault& to) {
  to.changed += tally.changed;
  to.broken += tally.broken;
  to.repaired += tally.repaired;
  to.margin_delta += tally.margin_delta;
}

void Add(const SweepPart::Fault& from, SweepPart::Fault& to) {
  to.changed += from.changed;
  to.broken += from.broken;
  to.repaired += from.repaired;
  to.margin_delta += from.margin_delta;
}

int64_t PairsOf(int64_t cells) {
  return cells * (cells - 1) / 2;
}

// Faults of an array that are evaluated together: those of some of its outputs, or of some of its words.
struct Part {
  int array;             // place in the memory image
  int64_t first, count;  // faults
  bool by_look_up;
  int64_t evaluated = 0;  // of the faults: those that can be
};

// The golden blocks of all images, or one run's worth at a time.
class GoldenBlocks {
 public:
  GoldenBlocks(const engine::DifferentialPlan& plan, const engine::EvaluationSet& set, int64_t bytes, int threads,
               const Cancellation* cancellation)
      : plan_(plan), set_(set) {
    const int64_t per_block = plan.bytes_per_block();
    if (per_block * set.images.blocks() <= bytes) {
      all_ = engine::RunGoldenBlocks(plan, set, threads, cancellation);
    } else if (per_block * threads > bytes) {
      throw UsageError(fmt::format(
          "--memory: the fault-free run of 64 images takes {} MiB on each of {} threads; give at least {} MiB, or "
          "fewer --threads",
          (per_block >> 20) + 1, threads, (per_block * threads >> 20) + 1));
    }
  }
  const engine::GoldenBlock& Get(int64_t block, std::unique_ptr<engine::GoldenBlock>& computed) const {
    if (!all_.empty()) return all_[static_cast<size_t>(block)];
    computed.reset();  // before the next is made: only one is accounted for
    computed = std::make_unique<engine::GoldenBlock>(engine::RunGoldenBlock(plan_, set_, block));
    return *computed;
  }

 private:
  const engine::DifferentialPlan& plan_;
  const engine::EvaluationSet& set_;
  std::vector<engine::GoldenBlock> all_;
};

// One thread's engine, and where its results go.
class Worker final : public engine::ResultSink {
 public:
  Worker(const engine::DifferentialPlan& plan, const engine::Golden& golden, const std::vector<uint16_t>& labels,
         bool decisions_only)
      : engine(plan, *this, decisions_only ? engine::ResultDetail::kDecisions : engine::ResultDetail::kMargins),
        golden_(golden),
        labels_(labels),
        places_(engine::NeuronLookUp::PlacesOf(plan)) {}

  void Take(std::span<const engine::LaneTag> tags, std::span<const uint16_t> predictions,
            std::span<const int64_t> margins, std::span<const int64_t>) override {
    for (size_t i = 0; i < tags.size(); ++i) {
      const auto image = static_cast<size_t>(tags[i].image);
      const engine::Tally tally = engine::TallyOf(labels_[image], golden_.predictions[image], predictions[i],
                                                  margins.empty() ? 0 : margins[i] - golden_.margins[image], 0);
      const auto change = static_cast<size_t>(tags[i].change);
      if (!table.empty())
        table[change * kBlockImages + places_[image % kBlockImages]] = Pack(tally);
      else
        AddPacked(Pack(tally), faults[change]);
    }
  }

  engine::DifferentialEngine engine;
  std::vector<SweepPart::Fault> faults;        // results of a part
  std::vector<int64_t> table;                  // [neuron][code][64], where neurons are tabulated
  std::unique_ptr<engine::DenseEngine> dense;  // where it was needed

 private:
  const engine::Golden& golden_;
  const std::vector<uint16_t>& labels_;
  const std::array<uint8_t, kBlockImages> places_;
};

class Sweep {
 public:
  Sweep(const SweepSettings& settings, const std::function<void(const SweepProgress&)>& on_progress,
        const Cancellation* cancellation)
      : settings_(settings),
        on_progress_(on_progress),
        cancellation_(cancellation),
        threads_(settings.threads > 0 ? settings.threads : AvailableCores()),
        file_(model::ReadModelFile(settings.model, settings.data.reading)),
        data_(LoadTestData(file_, settings.data)),
        shared_image_(std::make_shared<const memory::MemoryImage>(
            memory::ImageOn(settings.chip, file_.model, {settings.encoding, settings.word_bits}, settings.where))),
        image_(*shared_image_) {
    CheckChip();
    CheckArrays();
    ChooseCells();
  }

  SweepResult Run(const std::filesystem::path& store_path) {
    const auto start = std::chrono::steady_clock::now();
    const engine::EvaluationSet set = EvaluationSetOf(file_.model, data_.images, settings_.data.input);
    golden_ = engine::RunGolden(file_.model, set, threads_, cancellation_);
    set_ = &set;
    labels_ = &set.labels;
    SweepResult result;
    const std::string label = LabelsOf({settings_.model})[0];
    result.model = DescribeModel(file_, label, golden_, settings_.word_bits);
    result.sweep = {.kind = Kind(),
                    .encoding = std::string(memory::NameOf(settings_.encoding)),
                    .word_bits = settings_.word_bits,
                    .images = data_.images.size(),
                    .dataset = data_.dataset,
                    .data_sha256 = data_.sha256,
                    .margins = !settings_.decisions_only,
                    .arithmetic = store::ArithmeticOf(file_.model.reading),
                    .arrays = SweptArrays()};
    result.image = shared_image_;
    const engine::DifferentialPlan plan(file_.model);
    PlanParts(plan);
    result.strata = ChooseSample();
    result.drawn = drawn_;
    if (!store_path.empty()) OpenStore(store_path, result);
    CountDone(result);
    if (done_faults_ < all_faults_) {
      const GoldenBlocks blocks(plan, set, settings_.memory_bytes, threads_, cancellation_);
      Evaluate(plan, blocks, set.images.blocks());
    }
    for (size_t p = 0; p < parts_.size(); ++p) {
      result.parts.push_back(std::move(finished_.at({parts_[p].array, parts_[p].first})));
      result.part_seconds.push_back(p < seconds_.size() && seconds_[p] > 0 ? seconds_[p] : -1.0);
    }
    if (store_ != nullptr) {
      const bool is_part = settings_.drawn_faults > 0 || settings_.sample < 1 || !SweepsAllArrays();
      if (!settings_.pairs_in_word && (FlipsValues() || !HasValues()) && !(is_part && HasBankMap(result.model.id)))
        store_->SetBankMap(run_, result.model.id, BankMapOf(image_, result.parts, result.sweep.images));
      store_->FinishRun(run_);
    }
    result.threads = threads_;
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
  }

 private:
  bool HasBankMap(int64_t model) const {
    const auto maps = store_->BankMaps();
    return std::any_of(maps.begin(), maps.end(), [&](const auto& map) { return map.first == model; });
  }

  // The name by which the store distinguishes sweeps of the same model and data.
  std::string Kind() const {
    std::string kind = settings_.pairs_in_word ? "pairs-in-word" : "bits";
    if (HasValues() && !FlipsValues()) kind += fmt::format("-{}", memory::NameOf(*settings_.fault_of_values));
    const std::string where =
        settings_.where == memory::Where{} ? "" : fmt::format(":{}", memory::NameOf(settings_.where));
    const std::string chip = ChipInKind(settings_.chip);
    std::string drawn;
    if (settings_.drawn_faults > 0) {
      drawn = fmt::format(":{} faults of seed {}", settings_.drawn_faults, settings_.draw_seed);
      if (!SweepsAllArrays()) drawn += fmt::format(" of {}", fmt::join(SweptNames(), ","));  // which share the faults
    }
    const std::string input = NameOf(settings_.data.input, file_.model, data_.images.elements);
    return fmt::format("{}{}{}{}{}{}", kind, where, chip, drawn, input.empty() ? "" : "@", input);
  }

  bool SweepsAllArrays() const { return std::find(swept_.begin(), swept_.end(), false) == swept_.end(); }
  std::vector<std::string> SweptNames() const {
    std::vector<std::string> names;
    for (size_t a = 0; a < swept_.size(); ++a) {
      if (swept_[a]) names.push_back(image_.arrays()[a].name);
    }
    return names;
  }

  bool HasValues() const {
    return std::any_of(image_.arrays().begin(), image_.arrays().end(),
                       [](const memory::MemoryArray& array) { return array.parameter < 0; });
  }

  bool FlipsValues() const { return settings_.fault_of_values == memory::FaultKind::kFlip; }

  void CheckChip() const {
    if (HasValues() && !settings_.fault_of_values)
      throw UsageError(
          "--fault: of activations, give one of flip, sa0 and sa1: what a cell holds differs from image to image");
    if (settings_.chip && settings_.pairs_in_word)
      throw UsageError("--pairs-in-word goes without --chip: give --word-bits");
    if (settings_.drawn_faults > 0 && (settings_.pairs_in_word || settings_.sample < 1))
      throw UsageError("--faults goes without --sample and --pairs-in-word");
    if (settings_.pairs_in_word && HasValues())
      throw UsageError(
          fmt::format("--where {}: pairs are of parameters; leave activations out", memory::NameOf(settings_.where)));
  }

  std::vector<store::SweptArray> SweptArrays() const {
    std::vector<store::SweptArray> arrays;
    for (int a = 0; a < static_cast<int>(image_.arrays().size()); ++a) {
      if (!swept_[static_cast<size_t>(a)]) continue;
      const memory::MemoryArray& array = ArrayAt(a);
      const memory::Memory& memory = image_.memory_of(a);
      arrays.push_back({array.name,
                        RoleOf(array),
                        settings_.pairs_in_word ? 0 : image_.FailingCells(a),
                        {{"memory", memory.name},
                         {"first_word", array.first_word},
                         {"word_bits", memory.word_bits},
                         {"elements_per_word", memory.usable_bits() / array.bits()},
                         {"words_per_row", memory.words_per_row},
                         {"rows_per_bank", memory.rows_per_bank},
                         {"banks", image_.BanksOf(array.memory)},
                         {"interleaving", memory.interleaving},
                         {"order", memory.order == memory::BankOrder::kFill ? "fill" : "alternate"}}});
    }
    return arrays;
  }

  // A layer may be named by its tensor, or without the tensor's ".weight".
  void CheckArrays() {
    std::vector<std::string> names;
    for (const auto& array : image_.arrays()) names.push_back(array.name);
    std::vector<std::string> tensors = settings_.tensors;
    if (!settings_.layers.empty()) {
      std::vector<std::string> known = names;
      for (const auto& name : names) {
        constexpr std::string_view kEnding = ".weight";
        if (name.ends_with(kEnding)) known.push_back(name.substr(0, name.size() - kEnding.size()));
      }
      tensors = SplitNames(settings_.layers, known);
    }
    swept_.assign(names.size(), tensors.empty());
    for (const auto& name : tensors) {
      auto found = std::find(names.begin(), names.end(), name);
      if (found == names.end()) found = std::find(names.begin(), names.end(), name + ".weight");
      if (found == names.end()) {
        throw UsageError(fmt::format("{}: has no {} '{}'{}; it has {}", settings_.model.string(),
                                     memory::NameOf(settings_.where), name, DidYouMean(name, names),
                                     fmt::join(names, ", ")));
      }
      swept_[static_cast<size_t>(found - names.begin())] = true;
    }
  }

  // Which cells are evaluated: those that can fail, and were drawn.
  void ChooseCells() {
    cells_.resize(image_.arrays().size());
    if (settings_.pairs_in_word) return;
    struct Position {
      int array, bit;
      int64_t cells = 0, wanted = 0;
    };
    std::vector<Position> positions;
    double all = 0;
    for (int a = 0; a < static_cast<int>(image_.arrays().size()); ++a) {
      const memory::MemoryArray& array = ArrayAt(a);
      auto& cells = cells_[static_cast<size_t>(a)];
      if (!swept_[static_cast<size_t>(a)] || (array.filters.empty() && settings_.drawn_faults == 0)) continue;
      cells.resize(static_cast<size_t>(array.cells()));
      std::vector<Position> of_array;
      for (int bit = 0; bit < array.bits(); ++bit) of_array.push_back({a, bit});
      for (int64_t cell = 0; cell < array.cells(); ++cell) {
        if (!image_.CanFail({a, cell})) continue;
        cells[static_cast<size_t>(cell)] = true;
        ++of_array[static_cast<size_t>(cell % array.bits())].cells;
        ++all;
      }
      positions.insert(positions.end(), of_array.begin(), of_array.end());
    }
    if (settings_.drawn_faults == 0) return;
    std::erase_if(positions, [](const Position& position) { return position.cells == 0; });
    for (Position& position : positions) {
      const memory::MemoryArray& array = ArrayAt(position.array);
      drawn_.push_back({array.name, RoleOf(array), position.bit, position.cells});
      const double share = static_cast<double>(settings_.drawn_faults) / all;
      position.wanted =
          std::min(position.cells, std::max<int64_t>(2, std::llround(share * static_cast<double>(position.cells))));
      Draw(position.array, position.bit, position.cells, position.wanted);
    }
  }

  // Of the cells of a bit position, keeps `wanted` by chance: each is taken with the share that is still wanted of
  // those that are left (Knuth, The Art of Computer Programming, vol. 2, 3.4.2, algorithm S).
  void Draw(int array, int bit, int64_t left, int64_t wanted) {
    auto& cells = cells_[static_cast<size_t>(array)];
    const uint32_t number = ArrayAt(array).number;
    for (size_t cell = static_cast<size_t>(bit); cell < cells.size();
         cell += static_cast<size_t>(ArrayAt(array).bits())) {
      if (!cells[cell]) continue;
      constexpr uint32_t kDrawing = 0x44524157;
      const PhiloxOutput random = Philox4x32(
          {number, static_cast<uint32_t>(cell), static_cast<uint32_t>(static_cast<uint64_t>(cell) >> 32), kDrawing},
          KeyOfSeed(settings_.draw_seed));
      cells[cell] = OpenUnit(random[0], random[1]) * static_cast<double>(left) < static_cast<double>(wanted);
      wanted -= cells[cell] ? 1 : 0;
      --left;
    }
  }

  static std::string RoleOf(const memory::MemoryArray& array) {
    return array.parameter < 0 ? "activation" : std::string(model::NameOf(array.role));
  }

  const memory::MemoryArray& ArrayAt(int array) const { return image_.arrays()[static_cast<size_t>(array)]; }
  const model::Parameter& ParameterAt(int array) const { return file_.model.parameter(ArrayAt(array).parameter); }

  void PlanParts(const engine::DifferentialPlan& plan) {
    for (int t = 0; t < static_cast<int>(image_.arrays().size()); ++t) {
      if (!swept_[static_cast<size_t>(t)]) continue;
      if (settings_.pairs_in_word)
        PlanPairs(t);
      else if (ArrayAt(t).parameter < 0)
        PlanConstants(t);
      else if (ParameterAt(t).role == model::Role::kWeight)
        PlanWeights(plan, t);
      else
        PlanConstants(t);
    }
    if (all_faults_ == 0)
      throw UsageError(fmt::format("--where {}: holds nothing to sweep here", memory::NameOf(settings_.where)));
    if (all_faults_ > kLargestPairSweep && settings_.pairs_in_word) {
      throw UsageError(
          fmt::format("--pairs-in-word: {} pairs are too many; choose small layers with --layer (at most {} pairs)",
                      all_faults_, kLargestPairSweep));
    }
  }

  void PlanWeights(const engine::DifferentialPlan& plan, int array) {
    const model::Parameter& weight = ParameterAt(array);
    const int64_t of_output = weight.products() * weight.format.bits();
    const int neuron_codes = engine::NeuronLookUp::CodesOf(plan, ArrayAt(array).parameter);
    // A table pays where a neuron has fewer codes than weights' bits.
    const bool by_look_up = neuron_codes > 0 && neuron_codes < of_output;
    if (weight.output_axis != 0) {  // the faults of an output do not stand together
      if (by_look_up) return AddPart({array, 0, ArrayAt(array).cells(), true});
      return PlanConstants(array);
    }
    const int64_t outputs = by_look_up ? std::max<int64_t>(1, kFaultsOfNeuronPart / of_output) : 1;
    for (int64_t o = 0; o < weight.outputs(); o += outputs)
      AddPart({array, o * of_output, std::min(outputs, weight.outputs() - o) * of_output, by_look_up});
  }

  void PlanConstants(int array) {
    constexpr int64_t kFaultsAtOnce = 256;
    const int64_t cells = ArrayAt(array).cells();
    for (int64_t first = 0; first < cells; first += kFaultsAtOnce)
      AddPart({array, first, std::min(kFaultsAtOnce, cells - first), false});
  }

  void PlanPairs(int array) {
    const int bits = ArrayAt(array).bits();
    const int64_t per_word = settings_.word_bits / bits * bits;
    const int64_t cells = ArrayAt(array).cells();
    constexpr int64_t kWordsAtOnce = 8;
    int64_t fault = 0;
    for (int64_t first = 0; first < cells; first += kWordsAtOnce * per_word) {
      int64_t count = 0;
      for (int64_t cell = first; cell < std::min(cells, first + kWordsAtOnce * per_word); cell += per_word)
        count += PairsOf(std::min(per_word, cells - cell));
      if (count > 0) AddPart({array, fault, count, false});
      fault += count;
    }
  }

  // Keeps the sampled parts of each array; what all of them are.
  std::vector<SweepStratum> ChooseSample() {
    std::map<int, std::vector<size_t>> of_array;
    for (size_t p = 0; p < parts_.size(); ++p) of_array[parts_[p].array].push_back(p);
    std::vector<SweepStratum> strata;
    std::vector<uint8_t> is_chosen(parts_.size(), 0);
    for (auto& [array, places] : of_array) {
      SweepStratum& stratum = strata.emplace_back(SweepStratum{ArrayAt(array).name, 0, 0});
      for (const size_t p : places) stratum.faults += parts_[p].evaluated;
      stratum.parts = static_cast<int64_t>(places.size());
      // Ordered by chance: of a larger share, the smaller one's come first.
      const auto key = [&](size_t p) {
        const auto first = static_cast<uint64_t>(parts_[p].first);
        const PhiloxOutput random = Philox4x32(
            {static_cast<uint32_t>(array), static_cast<uint32_t>(first), static_cast<uint32_t>(first >> 32), 0},
            KeyOfSeed(kSampleSeed));
        return std::pair(random, p);
      };
      std::sort(places.begin(), places.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
      const auto wanted = static_cast<size_t>(std::ceil(settings_.sample * static_cast<double>(places.size())));
      const size_t count = std::min(places.size(), std::max<size_t>(2, wanted));
      for (size_t i = 0; i < count; ++i) is_chosen[places[i]] = 1;
    }
    std::vector<Part> chosen;
    all_faults_ = 0;
    for (size_t p = 0; p < parts_.size(); ++p) {
      if (is_chosen[p] == 0) continue;
      chosen.push_back(parts_[p]);
      all_faults_ += parts_[p].evaluated;
    }
    parts_ = std::move(chosen);
    return strata;
  }

  void AddPart(Part part) {
    part.evaluated = part.count;
    for (int64_t fault = 0; fault < part.count; ++fault) part.evaluated -= IsLeftOut(part, fault);
    if (part.evaluated == 0) return;
    parts_.push_back(part);
    all_faults_ += part.evaluated;
  }

  bool IsLeftOut(const Part& part, int64_t fault) const {
    const auto& cells = cells_[static_cast<size_t>(part.array)];
    if (settings_.pairs_in_word && !ArrayAt(part.array).filters.empty()) {
      const auto of_pair = CellsOf(part, fault);
      return std::any_of(of_pair.begin(), of_pair.end(), [&](int64_t cell) {
        return !image_.CanFail({part.array, cell});
      });
    }
    return !cells.empty() && !cells[static_cast<size_t>(part.first + fault)];
  }

  void OpenStore(const std::filesystem::path& path, SweepResult& result) {
    store_ = std::make_unique<store::Store>(store::Store::Create(path));
    result.model.id = store_->AddModel(result.model);
    result.sweep.model = result.model.id;
    sweep_ = result.sweep.id = store_->AddSweep(result.sweep);
    run_ = store_->BeginRun(settings_.command, {{"kind", result.sweep.kind}, {"encoding", result.sweep.encoding}});
    std::map<std::string, int> array_of;
    for (int t = 0; t < static_cast<int>(image_.arrays().size()); ++t) array_of[ArrayAt(t).name] = t;
    for (SweepPart& part : store_->SweepParts(sweep_)) {
      const auto found = array_of.find(part.tensor);
      if (found != array_of.end()) stored_[found->second].push_back(std::move(part));
    }
  }

  bool IsOfSameFaults(const Part& part, std::span<const SweepPart::Fault> faults) const {
    for (int64_t fault = 0; fault < part.count; ++fault) {
      if (faults[static_cast<size_t>(fault)].is_left_out() != IsLeftOut(part, fault)) return false;
    }
    return true;
  }

  // Takes what the store has of each part, which programs of other versions may have cut otherwise.
  void CountDone(SweepResult& result) {
    for (const Part& part : parts_) {
      for (const SweepPart& stored : stored_[part.array]) {
        const int64_t skipped = part.first - stored.first;
        if (skipped < 0 || skipped + part.count > static_cast<int64_t>(stored.faults.size())) continue;
        const auto first = stored.faults.begin() + skipped;
        if (!IsOfSameFaults(part, std::span(first, first + part.count))) continue;
        finished_.emplace(std::pair{part.array, part.first},
                          SweepPart{stored.tensor, stored.bits, stored.codes, part.first, {first, first + part.count}});
        done_faults_ += part.evaluated;
        break;
      }
    }
    stored_.clear();
    result.resumed_faults = resumed_faults_ = done_faults_;
  }

  void Evaluate(const engine::DifferentialPlan& plan, const GoldenBlocks& blocks, int64_t block_count) {
    std::vector<size_t> missing;
    for (size_t p = 0; p < parts_.size(); ++p) {
      if (!finished_.contains({parts_[p].array, parts_[p].first})) missing.push_back(p);
    }
    const int64_t pieces = (block_count + kBlocksAtOnce - 1) / kBlocksAtOnce;
    pieces_left_.assign(parts_.size(), pieces);
    results_.resize(parts_.size());
    seconds_.assign(parts_.size(), 0.0);
    std::vector<std::unique_ptr<Worker>> workers(static_cast<size_t>(threads_));
    ParallelFor(
        threads_, static_cast<int64_t>(missing.size()) * pieces,
        [&](int w, int64_t item) {
          auto& worker = workers[static_cast<size_t>(w)];
          if (worker == nullptr) worker = std::make_unique<Worker>(plan, golden_, *labels_, settings_.decisions_only);
          const size_t p = missing[static_cast<size_t>(item / pieces)];
          const int64_t first = item % pieces * kBlocksAtOnce;
          const int64_t last = std::min(first + kBlocksAtOnce, block_count);
          worker->faults.assign(static_cast<size_t>(parts_[p].count), {});
          const auto start = std::chrono::steady_clock::now();
          if (ArrayAt(parts_[p].array).parameter < 0)
            EvaluateValues(plan, parts_[p], blocks, first, last, *worker);
          else if (parts_[p].by_look_up && LookingUpPays(plan, parts_[p]))
            LookUpPart(plan, parts_[p], blocks, first, last, *worker);
          else
            PropagatePart(plan, parts_[p], blocks, first, last, *worker);
          Collect(p, *worker, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
          if (on_progress_) Report(parts_[p], static_cast<double>(parts_[p].evaluated) / static_cast<double>(pieces));
        },
        cancellation_);
  }

  std::vector<int64_t> CellsOf(const Part& part, int64_t fault) const {
    const memory::MemoryArray& array = ArrayAt(part.array);
    return CellsOfFault(settings_.pairs_in_word ? "pairs-in-word" : "bits", part.first + fault, array.bits(),
                        array.elements(), settings_.word_bits);
  }

  // The changes that a fault makes: none where the memory reads the same.
  model::ModelChange ChangeOf(const Part& part, int64_t fault) const {
    memory::FaultMap map;
    for (int64_t cell : CellsOf(part, fault)) map.faults.push_back({{part.array, cell}, memory::FaultKind::kFlip});
    return memory::EffectOf(map, image_);
  }

  void PropagatePart(const engine::DifferentialPlan& plan, const Part& part, const GoldenBlocks& blocks, int64_t first,
                     int64_t last, Worker& worker) const {
    std::vector<std::pair<int32_t, engine::StepDeltas>> changes;
    for (int64_t fault = 0; fault < part.count; ++fault) {
      if (IsLeftOut(part, fault)) continue;
      const model::ModelChange change = ChangeOf(part, fault);
      if (ChangesCodings(file_.model, change)) {
        model::QuantizedModel changed = file_.model;
        Apply(change, changed);
        engine::DenseEngine engine(changed);
        engine::Tally tally = engine::RunDensely(engine, *set_, golden_, first, last, cancellation_);
        if (settings_.decisions_only) tally.margin_delta = 0;
        Add(tally, worker.faults[static_cast<size_t>(fault)]);
      } else if (!change.empty()) {
        changes.emplace_back(static_cast<int32_t>(fault), engine::StepDeltas(plan, file_.model, change));
      }
    }
    if (changes.empty()) return;
    std::unique_ptr<engine::GoldenBlock> computed;
    for (int64_t block = first; block < last; ++block) {
      const engine::GoldenBlock& golden = blocks.Get(block, computed);
      for (const auto& [fault, deltas] : changes) worker.engine.Evaluate(golden, deltas, fault);
      if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    }
    worker.engine.Flush();
  }

  // Cells of buffers: from the golden run where a cell is of one value, and that is expected to cost less.
  void EvaluateValues(const engine::DifferentialPlan& plan, const Part& part, const GoldenBlocks& blocks, int64_t first,
                      int64_t last, Worker& worker) const {
    const memory::MemoryArray& array = ArrayAt(part.array);
    const bool from_golden =
        array.is_own_buffer && plan.nanoseconds_behind(array.values[0].value) < plan.nanoseconds_per_block();
    std::vector<std::pair<int32_t, model::ValueFaults>> faults;
    for (int64_t fault = 0; fault < part.count; ++fault) {
      if (IsLeftOut(part, fault)) continue;
      model::ValueFaults& of_values = faults.emplace_back(static_cast<int32_t>(fault), model::ValueFaults{}).second;
      of_values.values.resize(file_.model.values.size());
      memory::AddValueFaults({{{{part.array, part.first + fault}, *settings_.fault_of_values}}}, image_, std::nullopt,
                             of_values);
    }
    if (from_golden) {
      const int value = array.values[0].value;
      std::unique_ptr<engine::GoldenBlock> computed;
      for (int64_t block = first; block < last; ++block) {
        const engine::GoldenBlock& golden = blocks.Get(block, computed);
        for (const auto& [fault, of_values] : faults) {
          worker.engine.EvaluateFaultyValue(golden, value,
                                            of_values.values[static_cast<size_t>(value)].in_every_image[0], fault);
        }
        if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
      }
      return worker.engine.Flush();
    }
    if (worker.dense == nullptr) worker.dense = std::make_unique<engine::DenseEngine>(file_.model);
    for (auto& [fault, of_values] : faults) {
      worker.dense->SetValueFaults(std::make_shared<const model::ValueFaults>(std::move(of_values)));
      engine::Tally tally = engine::RunDensely(*worker.dense, *set_, golden_, first, last, cancellation_);
      if (settings_.decisions_only) tally.margin_delta = 0;
      Add(tally, worker.faults[static_cast<size_t>(fault)]);
    }
  }

  // A table costs as much as evaluating each of a neuron's codes.
  bool LookingUpPays(const engine::DifferentialPlan& plan, const Part& part) const {
    const model::Parameter& weight = ParameterAt(part.array);
    const int64_t neurons = std::max<int64_t>(1, part.count / (weight.products() * weight.format.bits()));
    return part.evaluated > neurons * engine::NeuronLookUp::CodesOf(plan, ArrayAt(part.array).parameter);
  }

  // Neurons by tables of what each of their codes leads to, some neurons at a time.
  void LookUpPart(const engine::DifferentialPlan& plan, const Part& part, const GoldenBlocks& blocks, int64_t first,
                  int64_t last, Worker& worker) const {
    const model::Parameter& weight = ParameterAt(part.array);
    const int parameter = ArrayAt(part.array).parameter;
    const int codes = engine::NeuronLookUp::CodesOf(plan, parameter);
    const int64_t bits = weight.format.bits(), of_output = weight.products() * bits;
    const bool whole = weight.output_axis != 0;  // the part is the whole tensor
    const int64_t first_neuron = whole ? 0 : part.first / of_output;
    const int64_t neurons = whole ? weight.outputs() : part.count / of_output;
    const int64_t at_once = std::max<int64_t>(1, kFaultsOfNeuronPart / of_output);
    const std::vector<int32_t> deltas = LevelDeltas(part);
    std::unique_ptr<engine::GoldenBlock> computed;
    for (int64_t block = first; block < last; ++block) {
      const engine::GoldenBlock& golden = blocks.Get(block, computed);
      for (int64_t from = first_neuron; from < first_neuron + neurons; from += at_once) {
        const int64_t count = std::min(at_once, first_neuron + neurons - from);
        worker.table.assign(static_cast<size_t>(count * codes * kBlockImages), 0);
        const auto has_faults = [&](int64_t n) {
          for (int64_t product = 0; product < weight.products(); ++product) {
            const int64_t first_cell = weight.IndexOf(from + n, product) * bits - part.first;
            for (int64_t bit = 0; bit < bits; ++bit) {
              if (deltas[static_cast<size_t>(first_cell + bit)] != 0) return true;
            }
          }
          return false;
        };
        for (int64_t n = 0; n < count; ++n) {
          if (!has_faults(n)) continue;
          for (int code = 0; code < codes; ++code) {
            worker.engine.EvaluateForced(golden, parameter, from + n, static_cast<uint8_t>(code),
                                         static_cast<int32_t>(n * codes + code));
          }
        }
        worker.engine.Flush();
        for (int64_t n = 0; n < count; ++n) {
          const engine::NeuronLookUp look_up(plan, golden, parameter, from + n);
          const int64_t* table = worker.table.data() + n * codes * kBlockImages;
          for (int64_t product = 0; product < weight.products(); ++product) {
            const int64_t first_cell = weight.IndexOf(from + n, product) * bits - part.first;
            for (int64_t bit = 0; bit < bits; ++bit) {
              const auto fault = static_cast<size_t>(first_cell + bit);
              if (deltas[fault] == 0) continue;
              AddPacked(look_up.Sum({product, deltas[fault]}, table), worker.faults[fault]);
            }
          }
        }
      }
      if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    }
    worker.table.clear();
  }

  // How much the level of the weight grows under each of the part's faults; 0 of what is left out.
  std::vector<int32_t> LevelDeltas(const Part& part) const {
    const memory::MemoryArray& array = ArrayAt(part.array);
    const model::CodeFormat& format = array.format.codes;
    const auto level_of = [&](uint32_t pattern) {
      return format.level(memory::Decode(format, array.encoding, pattern));
    };
    std::vector<int32_t> deltas(static_cast<size_t>(part.count));
    for (int64_t fault = 0; fault < part.count; ++fault) {
      if (IsLeftOut(part, fault)) continue;
      const int64_t cell = part.first + fault;
      const uint32_t pattern = array.patterns[static_cast<size_t>(cell / format.bits)];
      deltas[static_cast<size_t>(fault)] = level_of(pattern ^ 1u << cell % format.bits) - level_of(pattern);
    }
    return deltas;
  }

  // Adds a piece of a part; the last one finishes it.
  void Collect(size_t p, const Worker& worker, double seconds) {
    const std::lock_guard lock(mutex_);
    seconds_[p] += seconds;
    std::vector<SweepPart::Fault>& results = results_[p];
    results.resize(worker.faults.size());
    for (size_t f = 0; f < results.size(); ++f) Add(worker.faults[f], results[f]);
    if (--pieces_left_[p] > 0) return;
    const Part& part = parts_[p];
    const memory::MemoryArray& array = ArrayAt(part.array);
    SweepPart finished{array.name, array.bits(), array.elements(), part.first, std::move(results)};
    for (size_t f = 0; f < finished.faults.size(); ++f)
      finished.faults[f].held = HeldBits(part, static_cast<int64_t>(f));
    if (store_ != nullptr) store_->AddSweepPart(run_, sweep_, finished);
    done_faults_ += part.evaluated;
    finished_.emplace(std::pair{part.array, part.first}, std::move(finished));
  }

  uint8_t HeldBits(const Part& part, int64_t fault) const {
    if (IsLeftOut(part, fault)) return SweepPart::Fault::kLeftOut;
    const memory::MemoryArray& array = ArrayAt(part.array);
    if (array.parameter < 0) return SweepPart::Fault::kDiffers;
    unsigned held = 0;
    int place = 0;
    for (int64_t cell : CellsOf(part, fault))
      held |= (array.patterns[static_cast<size_t>(cell / array.bits())] >> cell % array.bits() & 1) << place++;
    return static_cast<uint8_t>(held);
  }

  void Report(const Part& part, double faults) {
    const std::lock_guard lock(mutex_);
    worked_faults_ += faults;
    const double share = (static_cast<double>(resumed_faults_) + worked_faults_) / static_cast<double>(all_faults_);
    on_progress_({ArrayAt(part.array).name, share, done_faults_, all_faults_});
  }

  const SweepSettings& settings_;
  std::function<void(const SweepProgress&)> on_progress_;
  const Cancellation* cancellation_;
  const int threads_;
  const model::ModelFile file_;
  const TestData data_;
  const std::shared_ptr<const memory::MemoryImage> shared_image_;
  const memory::MemoryImage& image_;
  engine::Golden golden_;
  const engine::EvaluationSet* set_ = nullptr;
  const std::vector<uint16_t>* labels_ = nullptr;
  std::vector<bool> swept_;               // [array]
  std::vector<std::vector<bool>> cells_;  // [array]: which are evaluated; empty: all
  std::vector<DrawnPosition> drawn_;
  std::vector<Part> parts_;
  std::unique_ptr<store::Store> store_;
  int64_t sweep_ = 0, run_ = 0;
  std::mutex mutex_;
  std::map<int, std::vector<SweepPart>> stored_;  // [array]
  std::map<std::pair<int, int64_t>, SweepPart> finished_;
  std::vector<int64_t> pieces_left_;                    // [part]
  std::vector<double> seconds_;                         // [part]
  std::vector<std::vector<SweepPart::Fault>> results_;  // [part]
  int64_t all_faults_ = 0, done_faults_ = 0, resumed_faults_ = 0;
  double worked_faults_ = 0;
};

}  // namespace

std::string ChipInKind(const std::optional<memory::Chip>& chip) {
  return chip ? fmt::format(":chip {}", Sha256(memory::ToText(*chip)).substr(0, 12)) : "";
}

std::vector<int64_t> CellsOfFault(const std::string& kind, int64_t fault, int64_t bits, int64_t codes, int word_bits) {
  if (!store::IsOfPairs(kind)) return {fault};
  const int64_t per_word = word_bits / bits * bits, cells = codes * bits;
  const int64_t full = PairsOf(per_word);
  const int64_t first = fault / full * per_word;
  const int64_t in_word = std::min(per_word, cells - first);
  int64_t rest = fault % full;
  for (int64_t low = 0; low < in_word; ++low) {
    const int64_t with_low = in_word - low - 1;
    if (rest < with_low) return {first + low, first + low + 1 + rest};
    rest -= with_low;
  }
  throw Error(fmt::format("a tensor of {} cells has no pair {}", cells, fault));
}

SweepResult RunSweep(const SweepSettings& settings, const std::filesystem::path& store,
                     const std::function<void(const SweepProgress&)>& on_progress, const Cancellation* cancellation) {
  return Sweep(settings, on_progress, cancellation).Run(store);
}

}  // namespace steadfast::campaign
