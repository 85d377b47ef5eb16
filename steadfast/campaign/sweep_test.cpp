#include "steadfast/campaign/sweep.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"  // ParseInt
#include "steadfast/campaign/model_and_images.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/reference.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/model/inspect.h"  // MemoryBits
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace steadfast::campaign {
namespace {

namespace fs = std::filesystem;
using model::QuantizedModel;

class SweepTest : public WithModelAndImages {
 protected:
  SweepSettings Prepare(const QuantizedModel& model, int64_t n) {
    Write(model, n);
    SweepSettings settings;
    settings.model = path_;
    settings.data = Data();
    return settings;
  }

  // What a full run of the reference finds when these cells flip.
  store::SweepPart::Fault Expected(const SweepSettings& settings, int tensor, const std::vector<int64_t>& cells) {
    const memory::MemoryImage image(model_, {settings.encoding, settings.word_bits}, settings.where);
    if (golden_.empty()) golden_ = engine::RunReference(model_, images_);
    memory::FaultMap map;
    uint8_t held = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      map.faults.push_back({{tensor, cells[i]}, memory::FaultKind::kFlip});
      const memory::MemoryArray& array = image.arrays()[static_cast<size_t>(tensor)];
      const int bits = array.bits();
      const uint32_t pattern = array.patterns[static_cast<size_t>(cells[i] / bits)];
      held = static_cast<uint8_t>(held | (pattern >> cells[i] % bits & 1) << i);
    }
    QuantizedModel changed = model_;
    Apply(memory::EffectOf(map, image), changed);
    const auto classes = static_cast<size_t>(model_.classes());
    const auto logits = engine::RunReference(changed, images_);
    store::SweepPart::Fault fault;
    fault.held = held;
    for (size_t i = 0; i < labels_.size(); ++i) {
      const auto before = std::span(golden_).subspan(i * classes, classes);
      const auto now = std::span(logits).subspan(i * classes, classes);
      const bool was_right = engine::ArgMax(before) == labels_[i], is_right = engine::ArgMax(now) == labels_[i];
      fault.changed += engine::ArgMax(before) != engine::ArgMax(now);
      fault.broken += was_right && !is_right;
      fault.repaired += !was_right && is_right;
      fault.margin_delta += engine::MarginOf(now, labels_[i]) - engine::MarginOf(before, labels_[i]);
    }
    return fault;
  }

  int TensorNamed(const SweepSettings& settings, const std::string& name) const {
    const memory::MemoryImage image(model_, {settings.encoding, settings.word_bits}, settings.where);
    for (size_t t = 0; t < image.arrays().size(); ++t) {
      if (image.arrays()[t].name == name) return static_cast<int>(t);
    }
    ADD_FAILURE() << name;
    return 0;
  }

  // Every fault of the sweep against the reference.
  int64_t ExpectExact(const SweepSettings& settings) {
    golden_.clear();
    const SweepResult result = RunSweep(settings, {});
    int64_t faults = 0;
    for (const auto& part : result.parts) {
      for (size_t f = 0; f < part.faults.size(); ++f, ++faults) {
        const auto cells = CellsOfFault(result.sweep.kind, part.first + static_cast<int64_t>(f), part.bits, part.codes,
                                        settings.word_bits);
        EXPECT_EQ(part.faults[f], Expected(settings, TensorNamed(settings, part.tensor), cells))
            << model_.name << " " << part.tensor << " fault " << part.first + static_cast<int64_t>(f);
        if (HasFailure()) return faults;
      }
    }
    return faults;
  }

  std::vector<float> golden_;
};

bool FitsIdx(const QuantizedModel& model, int64_t most_bits) {
  return model.values[0].shape.channels == 1 && !model.real_input && model::MemoryBits(model) <= most_bits;
}

TEST_F(SweepTest, EqualsTheReferenceOnEveryFaultOfSmallNetworks) {
  int networks = 0;
  int64_t faults = 0;
  for (uint64_t seed = 0; networks < 12; ++seed) {
    const QuantizedModel model = model::RandomModel(seed);
    if (!FitsIdx(model, 3000)) continue;
    SweepSettings settings = Prepare(model, networks == 0 ? 550 : 70);  // more than 512: a part is evaluated in pieces
    settings.encoding = networks % 3 == 0   ? memory::Encoding::kTwosComplement
                        : networks % 3 == 1 ? memory::Encoding::kGray
                                            : memory::Encoding::kOffsetBinary;
    settings.threads = 1 + networks % 2;
    faults += ExpectExact(settings);
    ASSERT_FALSE(HasFailure());
    ++networks;
  }
  EXPECT_GT(faults, 2000);
}

// Biases, scales and normalization beside weights: integers and floats, signs, exponents and all.
TEST_F(SweepTest, EqualsTheReferenceOnEveryFaultOfOtherParameters) {
  int networks = 0;
  std::set<std::string> formats;
  for (uint64_t seed = 0; networks < 6; ++seed) {
    const QuantizedModel model = model::RandomModel(seed);
    if (!FitsIdx(model, 1200)) continue;
    SweepSettings settings = Prepare(model, 20);
    settings.where = memory::ParseWhere("all");
    const memory::MemoryImage image(model, {settings.encoding, settings.word_bits}, settings.where);
    int64_t bits = 0;
    for (const auto& array : image.arrays()) bits += array.bits() * static_cast<int64_t>(array.patterns.size());
    if (bits > 6000) continue;
    for (const auto& parameter : model.parameters) {
      if (parameter.role != model::Role::kWeight)
        formats.insert(fmt::format("{} {}", static_cast<int>(parameter.role), parameter.format.bits()));
    }
    settings.threads = 1 + networks % 2;
    EXPECT_GT(ExpectExact(settings), model::MemoryBits(model));
    ASSERT_FALSE(HasFailure()) << seed;
    ++networks;
  }
  EXPECT_GE(formats.size(), 2u);
}

TEST_F(SweepTest, EqualsTheReferenceOnEveryPairInAWord) {
  int networks = 0;
  for (uint64_t seed = 100; networks < 4; ++seed) {
    const QuantizedModel model = model::RandomModel(seed);
    if (!FitsIdx(model, 300)) continue;
    SweepSettings settings = Prepare(model, 10);
    settings.pairs_in_word = true;
    settings.word_bits = 8 + 5 * networks;
    EXPECT_GT(ExpectExact(settings), 10);
    ASSERT_FALSE(HasFailure());
    ++networks;
  }
}

// LeNet-5 of the study's shapes: faults of every layer and bit position, at random.
TEST_F(SweepTest, EqualsTheReferenceOnASampleOfLeNet5) {
  // 4 images (1 with sanitizers, which the reference feels most), or $STEADFAST_SWEEP_IMAGES (make nightly).
#if defined(__SANITIZE_ADDRESS__)
  constexpr int kImages = 1, kCodes = 30;
#else
  constexpr int kImages = 4, kCodes = 100;
#endif
  const char* images = std::getenv("STEADFAST_SWEEP_IMAGES");
  SweepSettings settings =
      Prepare(model::RandomLeNet5(4, 4, 21),
              images == nullptr ? kImages : static_cast<int>(ParseInt(images, "STEADFAST_SWEEP_IMAGES", 1, 10000)));
  const SweepResult result = RunSweep(settings, {});
  std::mt19937_64 random(5);
  std::map<std::string, std::vector<const store::SweepPart*>> by_tensor;
  for (const auto& part : result.parts) by_tensor[part.tensor].push_back(&part);
  ASSERT_EQ(by_tensor.size(), 5u);
  int compared = 0;
  for (const auto& [tensor, parts] : by_tensor) {
    for (int bit = 0; bit < 4; ++bit) {
      for (int i = 0; i < kCodes; ++i, ++compared) {
        const auto code = static_cast<int64_t>(random() % static_cast<uint64_t>(parts[0]->codes));
        const int64_t cell = code * 4 + bit;
        const auto part = std::find_if(parts.begin(), parts.end(), [&](const auto* p) {
          return cell >= p->first && cell < p->first + static_cast<int64_t>(p->faults.size());
        });
        ASSERT_NE(part, parts.end());
        ASSERT_EQ((*part)->faults[static_cast<size_t>(cell - (*part)->first)],
                  Expected(settings, TensorNamed(settings, tensor), {cell}))
            << tensor << " cell " << cell;
      }
    }
  }
  EXPECT_EQ(compared, 5 * 4 * kCodes);
}

// Images that stop early, because bounds prove their decision, are those whose decision stays.
TEST_F(SweepTest, DecisionsAloneAreTheSameDecisions) {
  int networks = 0;
  for (uint64_t seed = 200; networks < 6; ++seed) {
    const QuantizedModel model = networks == 0 ? model::RandomLeNet5(2, 4, 25) : model::RandomModel(seed);
    if (networks > 0 && !FitsIdx(model, 3000)) continue;
    SweepSettings settings = Prepare(model, 150);
    const auto with_margins = RunSweep(settings, {});
    settings.decisions_only = true;
    const auto decisions = RunSweep(settings, {});
    ASSERT_EQ(with_margins.parts.size(), decisions.parts.size());
    for (size_t p = 0; p < decisions.parts.size(); ++p) {
      auto expected = with_margins.parts[p].faults;
      for (auto& fault : expected) fault.margin_delta = 0;
      ASSERT_EQ(decisions.parts[p].faults, expected) << model.name;
    }
    ++networks;
  }
}

TEST_F(SweepTest, DoesNotDependOnThreadsOrMemory) {
  SweepSettings settings = Prepare(model::RandomLeNet5(2, 4, 22), 200);
  settings.tensors = {"conv1.weight", "fc2.weight", "fc3.weight"};
  const auto once = RunSweep(settings, {});
  settings.threads = 3;
  settings.memory_bytes = int64_t{8} << 20;
  const auto again = RunSweep(settings, {});
  ASSERT_EQ(once.parts.size(), again.parts.size());
  for (size_t p = 0; p < once.parts.size(); ++p) EXPECT_EQ(once.parts[p].faults, again.parts[p].faults);
  settings.memory_bytes = 1000;
  EXPECT_THROW(RunSweep(settings, {}), UsageError);
}

TEST_F(SweepTest, ResumesFromItsStore) {
  SweepSettings settings = Prepare(model::RandomLeNet5(2, 2, 23), 64);
  settings.threads = 1;
  const auto whole = RunSweep(settings, {});
  const fs::path store = folder_ / "sweep.sqlite";
  Cancellation cancellation;
  const auto stop_half_way = [&](const SweepProgress& progress) {
    if (progress.share > 0.5) cancellation.Request();
  };
  EXPECT_THROW(RunSweep(settings, store, stop_half_way, &cancellation), InterruptedError);
  settings.threads = 2;
  const auto resumed = RunSweep(settings, store);
  EXPECT_GT(resumed.resumed_faults, 0);
  ASSERT_EQ(resumed.parts.size(), whole.parts.size());
  for (size_t p = 0; p < whole.parts.size(); ++p) EXPECT_EQ(whole.parts[p].faults, resumed.parts[p].faults);
  EXPECT_EQ(RunSweep(settings, store).resumed_faults, 61470 * 2);
}

// Of what stands in brackets, the same as of the whole; nothing else.
TEST_F(SweepTest, FiltersLeaveFaultsOut) {
  SweepSettings settings = Prepare(model::RandomLeNet5(3, 4, 28), 30);
  settings.where = memory::ParseWhere("all");
  const auto whole = RunSweep(settings, {});
  std::map<std::string, std::vector<store::SweepPart::Fault>> expected;
  for (const auto& part : whole.parts)
    expected[part.tensor].insert(expected[part.tensor].end(), part.faults.begin(), part.faults.end());
  for (const std::string where :
       {"weights[bit=2]", "fc1[channel=3..5;bit=0|1],conv1", "biases[bit=31],weights[code=-1]"}) {
    settings.where = memory::ParseWhere(where);
    const memory::MemoryImage image(model_, {settings.encoding, settings.word_bits}, settings.where);
    const fs::path store = folder_ / "filtered.sqlite";
    const auto result = RunSweep(settings, store);
    int64_t evaluated = 0, failing = 0;
    for (const auto& part : result.parts) {
      const int tensor = TensorNamed(settings, part.tensor);
      for (size_t f = 0; f < part.faults.size(); ++f) {
        const int64_t cell = part.first + static_cast<int64_t>(f);
        ASSERT_EQ(part.faults[f].is_left_out(), !image.CanFail({tensor, cell})) << where << " " << part.tensor;
        if (part.faults[f].is_left_out()) continue;
        ASSERT_EQ(part.faults[f], expected.at(part.tensor).at(static_cast<size_t>(cell)))
            << where << " " << part.tensor;
        ++evaluated;
      }
    }
    for (size_t a = 0; a < image.arrays().size(); ++a) failing += image.FailingCells(static_cast<int>(a));
    EXPECT_EQ(evaluated, failing) << where;
    EXPECT_EQ(RunSweep(settings, store).resumed_faults, failing) << where;
  }
}

// About as many as were asked for, in proportion to each bit position, and what the whole sweep has there.
TEST_F(SweepTest, DrawsFaultsOfEachBitPosition) {
  SweepSettings settings = Prepare(model::RandomLeNet5(3, 4, 29), 30);
  const auto whole = RunSweep(settings, {});
  std::map<std::string, std::vector<store::SweepPart::Fault>> expected;
  for (const auto& part : whole.parts)
    expected[part.tensor].insert(expected[part.tensor].end(), part.faults.begin(), part.faults.end());
  const auto drawn_of = [&](int64_t faults, uint64_t seed) {
    settings.drawn_faults = faults;
    settings.draw_seed = seed;
    const auto result = RunSweep(settings, folder_ / "drawn.sqlite");
    std::map<std::pair<std::string, int>, int64_t> counts;
    std::set<std::pair<std::string, int64_t>> cells;
    for (const auto& part : result.parts) {
      for (size_t f = 0; f < part.faults.size(); ++f) {
        if (part.faults[f].is_left_out()) continue;
        const int64_t cell = part.first + static_cast<int64_t>(f);
        EXPECT_EQ(part.faults[f], expected.at(part.tensor)[static_cast<size_t>(cell)]) << part.tensor << " " << cell;
        ++counts[{part.tensor, static_cast<int>(cell % 3)}];
        cells.insert({part.tensor, cell});
      }
    }
    EXPECT_EQ(result.drawn.size(), 15u);
    for (const DrawnPosition& position : result.drawn) {
      const double share = static_cast<double>(faults) / (61470 * 3);
      const auto wanted = std::llround(share * static_cast<double>(position.faults));
      EXPECT_EQ((counts[{position.tensor, position.bit}]), std::max<int64_t>(2, wanted)) << position.tensor;
      EXPECT_EQ(position.role, "weight");
    }
    return cells;
  };
  const auto first = drawn_of(600, 1);
  EXPECT_EQ(drawn_of(600, 1), first);
  EXPECT_NE(drawn_of(600, 2), first);
  EXPECT_GT(drawn_of(9000, 1).size(), 8900u);
  // Of one layer, other faults are drawn; the store keeps the two apart.
  settings.tensors = {"conv1.weight"};
  settings.drawn_faults = 100;
  const auto of_layer = RunSweep(settings, folder_ / "drawn.sqlite");
  settings.tensors = {};
  const auto after = RunSweep(settings, folder_ / "drawn.sqlite"), alone = RunSweep(settings, {});
  EXPECT_NE(of_layer.sweep.kind, after.sweep.kind);
  ASSERT_EQ(after.parts.size(), alone.parts.size());
  for (size_t p = 0; p < alone.parts.size(); ++p) EXPECT_EQ(after.parts[p].faults, alone.parts[p].faults);
  settings.sample = 0.5;
  EXPECT_THROW(RunSweep(settings, {}), UsageError);
}

// Every cell of every buffer, own or shared, against a dense run with the cell broken.
TEST_F(SweepTest, EvaluatesEveryCellOfBuffers) {
  int networks = 0;
  for (uint64_t seed = 300; networks < 8; ++seed) {
    const QuantizedModel model = model::RandomModel(seed);
    if (!FitsIdx(model, 3000)) continue;
    int64_t cells = 0;
    for (int v : model::StoredValues(model)) cells += model.value(v).shape.elements() * model.value(v).coding->bits;
    if (cells > 4000) continue;
    SweepSettings settings = Prepare(model, 70);
    settings.where = memory::ParseWhere("activations");
    settings.threads = 1 + networks % 2;
    settings.fault_of_values = networks % 3 == 0   ? memory::FaultKind::kFlip
                               : networks % 3 == 1 ? memory::FaultKind::kStuckAt0
                                                   : memory::FaultKind::kStuckAt1;
    if (networks % 4 == 3) {
      settings.chip = memory::PlainChip("activations", 32);
      settings.chip->memories[0].buffers = memory::Buffers::kTwo;
    }
    const memory::MemoryImage image =
        memory::ImageOn(settings.chip, model, {settings.encoding, settings.word_bits}, settings.where);
    const SweepResult result = RunSweep(settings, {});
    EXPECT_EQ(result.sweep.fault_of_values(), memory::NameOf(*settings.fault_of_values));
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, images_, labels_);
    const engine::Golden golden = engine::RunGolden(model, set, 1);
    engine::DenseEngine engine(model);
    int64_t compared = 0;
    std::map<std::string, int> arrays;
    for (size_t a = 0; a < image.arrays().size(); ++a) arrays[image.arrays()[a].name] = static_cast<int>(a);
    for (const auto& part : result.parts) {
      for (size_t f = 0; f < part.faults.size(); ++f, ++compared) {
        auto faults = std::make_shared<model::ValueFaults>();
        faults->values.resize(model.values.size());
        const memory::BitAddress bit{arrays.at(part.tensor), part.first + static_cast<int64_t>(f)};
        memory::AddValueFaults({{{bit, *settings.fault_of_values}}}, image, std::nullopt, *faults);
        engine.SetValueFaults(faults);
        const engine::Tally tally = engine::RunDensely(engine, set, golden, 0, set.images.blocks());
        const store::SweepPart::Fault& found = part.faults[f];
        ASSERT_EQ(found.held, store::SweepPart::Fault::kDiffers);
        ASSERT_EQ(found.changed, tally.changed) << seed << " " << part.tensor << " " << f;
        ASSERT_EQ(found.broken, tally.broken) << seed << " " << part.tensor << " " << f;
        ASSERT_EQ(found.margin_delta, tally.margin_delta) << seed << " " << part.tensor << " " << f;
      }
    }
    EXPECT_EQ(compared, image.cells());
    ++networks;
  }
}

std::map<std::pair<std::string, int64_t>, std::vector<store::SweepPart::Fault>> ByPlace(
    const std::vector<store::SweepPart>& parts) {
  std::map<std::pair<std::string, int64_t>, std::vector<store::SweepPart::Fault>> faults;
  for (const auto& part : parts) faults[{part.tensor, part.first}] = part.faults;
  return faults;
}

// A sample is a part of the whole, larger ones hold smaller ones, and each goes on from what is there.
TEST_F(SweepTest, SamplesGrowIntoTheWhole) {
  SweepSettings settings = Prepare(model::RandomLeNet5(2, 2, 26), 20);
  const auto whole = RunSweep(settings, {});
  const auto expected = ByPlace(whole.parts);
  const fs::path store = folder_ / "sample.sqlite";
  int64_t before = 0;
  for (const double share : {0.05, 0.3, 1.0}) {
    settings.sample = share;
    const auto result = RunSweep(settings, store);
    EXPECT_EQ(result.resumed_faults, before) << share;
    before = 0;
    std::map<std::string, int64_t> sampled;
    for (const auto& part : result.parts) {
      before += static_cast<int64_t>(part.faults.size());
      ++sampled[part.tensor];
      EXPECT_EQ(part.faults, expected.at({part.tensor, part.first})) << share;
    }
    ASSERT_EQ(result.strata.size(), 5u);
    for (const auto& stratum : result.strata) {
      const auto wanted = static_cast<int64_t>(std::ceil(share * static_cast<double>(stratum.parts)));
      EXPECT_EQ(sampled[stratum.tensor], std::min(stratum.parts, std::max<int64_t>(2, wanted))) << stratum.tensor;
    }
  }
  EXPECT_EQ(before, 61470 * 2);
}

// A sweep of a layer leaves what is known of the others: where their bits lie, and how many there are.
TEST_F(SweepTest, LayersAreAddedToAStore) {
  SweepSettings settings = Prepare(model::RandomLeNet5(2, 2, 30), 20);
  const fs::path path = folder_ / "layers.sqlite";
  settings.tensors = {"conv1.weight", "fc3.weight"};
  RunSweep(settings, path);
  settings.tensors = {"conv2.weight", "fc3.weight"};
  RunSweep(settings, path);
  const auto store = store::Store::OpenForReading(path);
  const auto sweeps = store.Sweeps();
  ASSERT_EQ(sweeps.size(), 1u);
  std::map<std::string, store::SweptArray> arrays;
  for (const auto& array : sweeps[0].arrays) arrays[array.tensor] = array;
  ASSERT_EQ(arrays.size(), 3u);
  EXPECT_EQ(arrays.at("fc3.weight").faults, 840 * 2);
  EXPECT_EQ(arrays.at("conv1.weight").role, "weight");
  EXPECT_EQ(arrays.at("conv2.weight").place.at("first_word"), 10);  // behind 150 codes of 2 bits, 16 a word
  EXPECT_EQ(arrays.at("conv2.weight").place.at("elements_per_word"), 16);
}

// Earlier versions cut the work into larger parts.
TEST_F(SweepTest, TakesPartsThatWereCutOtherwise) {
  SweepSettings settings = Prepare(model::RandomLeNet5(2, 2, 27), 20);
  settings.tensors = {"fc1.weight"};
  const auto whole = RunSweep(settings, {});
  const fs::path path = folder_ / "large.sqlite";
  {
    auto store = store::Store::Create(path);
    store::ModelRow model = whole.model;
    model.id = store.AddModel(model);
    store::SweepRow sweep = whole.sweep;
    sweep.model = model.id;
    sweep.id = store.AddSweep(sweep);
    store::SweepPart large = whole.parts[0];
    for (size_t p = 1; p < 5; ++p)
      large.faults.insert(large.faults.end(), whole.parts[p].faults.begin(), whole.parts[p].faults.end());
    store.AddSweepPart(store.BeginRun("", {}), sweep.id, large);
  }
  const auto resumed = RunSweep(settings, path);
  int64_t expected = 0;
  for (size_t p = 0; p < 5; ++p) expected += static_cast<int64_t>(whole.parts[p].faults.size());
  EXPECT_EQ(resumed.resumed_faults, expected);
  EXPECT_EQ(ByPlace(resumed.parts), ByPlace(whole.parts));
  EXPECT_EQ(RunSweep(settings, path).resumed_faults, 48000 * 2);
}

TEST_F(SweepTest, RefusesWhatItCannotDo) {
  SweepSettings settings = Prepare(model::RandomLeNet5(4, 4, 24), 10);
  settings.tensors = {"conv9.weight"};
  EXPECT_THROW(RunSweep(settings, {}), UsageError);
  settings.tensors = {};
  settings.where = memory::ParseWhere("activations");
  settings.fault_of_values = std::nullopt;
  EXPECT_THROW(RunSweep(settings, {}), UsageError);
  settings.where = {};
  settings.pairs_in_word = true;
  settings.word_bits = 64;
  EXPECT_THROW(RunSweep(settings, {}), UsageError);        // 7.6 million pairs
  settings.where = memory::ParseWhere("fc3.bias[bit=0]");  // no word has two bits that can fail
  settings.word_bits = 32;
  EXPECT_THROW(RunSweep(settings, {}), UsageError);
}

TEST(CellsOfFault, CountsPairsOfAWord) {
  // Words of 10 bits hold three 3-bit codes: 9 cells, 36 pairs; the last word of 4 codes holds one.
  std::set<std::vector<int64_t>> seen;
  for (int64_t f = 0; f < 36 + 3; ++f) {
    const auto cells = CellsOfFault("pairs-in-word", f, 3, 4, 10);
    EXPECT_LT(cells[0], cells[1]);
    EXPECT_EQ(cells[0] / 9, cells[1] / 9);
    seen.insert(cells);
  }
  EXPECT_EQ(seen.size(), 39u);
  EXPECT_EQ(CellsOfFault("pairs-in-word", 0, 3, 4, 10), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(CellsOfFault("pairs-in-word", 38, 3, 4, 10), (std::vector<int64_t>{10, 11}));
  EXPECT_THROW(CellsOfFault("pairs-in-word", 39, 3, 4, 10), Error);
}

}  // namespace
}  // namespace steadfast::campaign
