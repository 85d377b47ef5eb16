// The Python module's compiled half, `steadfast._steadfast`: what steadfast/*.py wraps.
#include <fmt/format.h>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <exception>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"
#include "steadfast/base/version.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/campaign/tolerance.h"
#include "steadfast/data/npy.h"
#include "steadfast/engine/dense.h"
#include "steadfast/memory/fault_list.h"
#include "steadfast/memory/fault_sampler.h"
#include "steadfast/memory/memories.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/model_change.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/quantization/quantize_file.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/evidence.h"
#include "steadfast/report/page.h"
#include "steadfast/report/story.h"
#include "steadfast/report/sweep_report.h"

namespace py = pybind11;
namespace fs = std::filesystem;

namespace steadfast {
namespace {

// ---- work that Python can watch and interrupt ----

// The latest of what work says of its progress.
template <typename Progress>
class Latest {
 public:
  void Set(const Progress& progress) {
    const std::lock_guard lock(mutex_);
    progress_ = progress;
  }
  std::optional<Progress> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(progress_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::optional<Progress> progress_;
};

// Runs work(cancellation, set_progress) on a thread of its own, without the interpreter's lock. Here, ten times a
// second, signals are looked at and on_progress(latest) is called; where either raises, the work is cancelled, its end
// awaited, and the error raised.
template <typename Progress, typename Work, typename OnProgress>
auto Watched(const Work& work, const OnProgress& on_progress) {
  Cancellation cancellation;
  Latest<Progress> latest;
  auto running = std::async(
      std::launch::async, [&] { return work(cancellation, [&](const Progress& progress) { latest.Set(progress); }); });
  std::optional<py::error_already_set> raised;
  while (true) {
    std::future_status status;
    {
      const py::gil_scoped_release release;
      status = running.wait_for(std::chrono::milliseconds(raised ? 1000 : 100));
    }
    if (!raised) {
      try {
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (const std::optional<Progress> progress = latest.Take()) on_progress(*progress);
      } catch (py::error_already_set& error) {
        raised.emplace(error);
        cancellation.Request();
      }
    }
    if (status == std::future_status::ready) break;
  }
  if (!raised) return running.get();
  try {
    running.get();
  } catch (const std::exception&) {  // what was raised here is what matters
  }
  throw *raised;
}

// An option; throws UsageError that names it where it is of another type.
template <typename T>
T Get(const py::kwargs& options, const char* name) {
  const py::object given = options[name];
  try {
    return given.cast<T>();
  } catch (const py::cast_error&) {
    throw UsageError(fmt::format("{}: {} ({}) is not what it takes", name, std::string(py::repr(given)),
                                 std::string(py::str(py::type::of(given).attr("__name__")))));
  }
}
// A number from low to high; anything else, and what is not a number, is refused.
template <typename T>
T Within(const py::kwargs& options, const char* name, T low, T high) {
  const T number = Get<T>(options, name);
  if (!(number >= low && number <= high))
    throw UsageError(fmt::format("{}: {}, expected {} to {}", name, number, low, high));
  return number;
}
constexpr int64_t kMost = int64_t{1} << 40;
int ThreadsOf(const py::kwargs& options) {
  return static_cast<int>(Within<int64_t>(options, "threads", 0, 1 << 16));
}

py::object FromJson(const nlohmann::json& document) {
  return py::module_::import("json").attr("loads")(
      document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// ---- models ----

struct PyModel {
  model::ModelFile file;
  model::Reading reading;
};

PyModel Load(const fs::path& path, const std::optional<std::string>& profile,
             const std::map<std::string, int>& stored_bits) {
  model::Reading reading;
  if (profile) reading.profile = model::ParseProfile(*profile);
  reading.stored_bits = stored_bits;
  const py::gil_scoped_release release;
  return {model::ReadModelFile(fs::absolute(path), reading), reading};
}

// Campaigns read the file again: it must be what was loaded.
void CheckUnchanged(const PyModel& of) {
  const std::string loaded = of.file.sha256.substr(0, of.file.sha256.find(':'));
  if (Sha256(ReadFile(of.file.path, uint64_t{1} << 31)) != loaded)
    throw InputError(
        fmt::format("{}: is another file than the one that was loaded; load it again", of.file.path.string()));
}

// Codes and integers as int32, floats as float32, in the file's order and shape.
py::array ValuesOf(const model::Parameter& parameter) {
  const std::vector<py::ssize_t> shape(parameter.shape.begin(), parameter.shape.end());
  if (parameter.format.is_float()) {
    py::array_t<float> values(shape);
    for (int64_t i = 0; i < parameter.elements(); ++i) values.mutable_data()[i] = parameter.real(i);
    return values;
  }
  py::array_t<int32_t> values(shape);
  const bool is_code = parameter.format.kind == model::StorageFormat::Kind::kCodes;
  for (int64_t i = 0; i < parameter.elements(); ++i)
    values.mutable_data()[i] = is_code ? parameter.code(i) : parameter.integer(i);
  return values;
}

py::array PatternsOf(const model::Parameter& parameter) {
  py::array_t<uint32_t> patterns(std::vector<py::ssize_t>(parameter.shape.begin(), parameter.shape.end()));
  std::copy(parameter.bits.begin(), parameter.bits.end(), patterns.mutable_data());
  return patterns;
}

// ---- images ----

data::NpyArray ArrayOf(const py::array& array, const char* what) {
  const auto bytes = py::array::ensure(array, py::array::c_style);
  const std::string type = py::cast<std::string>(array.dtype().attr("str"));
  if (!bytes || (type != "|u1" && type != "|i1" && type != "<f4"))
    throw UsageError(fmt::format(
        "{}: an array of {}, expected bytes (numpy.uint8), of which mean and std say what becomes of them, codes of an "
        "int8 input (numpy.int8), or real numbers (numpy.float32)",
        what, std::string(py::str(array.dtype()))));
  const auto* first = static_cast<const uint8_t*>(bytes.data());
  return {type, {bytes.shape(), bytes.shape() + bytes.ndim()}, {first, first + bytes.nbytes()}};
}

campaign::InputScaling ScalingOf(double scale, const std::vector<double>& mean, const std::vector<double>& deviation) {
  return {scale, mean, deviation};
}

// ---- faults ----

struct PyFault {
  std::string tensor;
  int64_t index = 0;
  int bit = 0;
  std::string kind = "flip";
  bool operator==(const PyFault&) const = default;
};

std::string ListOf(const std::vector<std::vector<PyFault>>& trials) {
  std::string csv = "trial,tensor,index,bit,kind\n";
  for (size_t trial = 0; trial < trials.size(); ++trial) {
    if (trials[trial].empty()) csv += fmt::format("{},,,,none\n", trial);
    for (const PyFault& fault : trials[trial])
      csv += fmt::format("{},{},{},{},{}\n", trial, CsvField(fault.tensor), fault.index, fault.bit, fault.kind);
  }
  return csv;
}

memory::MemoryImage WholeImage(const model::QuantizedModel& model, const std::string& encoding) {
  return campaign::ImageOfLists(std::nullopt, model, {memory::ParseEncoding(encoding), 32}, {});
}

py::array_t<float> Predict(const PyModel& of, const py::array& images, const std::vector<PyFault>& faults,
                           const std::string& encoding, double scale, const std::vector<double>& mean,
                           const std::vector<double>& deviation) {
  data::ImageSet set = data::ImagesOfArray(ArrayOf(images, "images"), "images");
  set.labels.assign(set.images.size() / static_cast<size_t>(set.bytes_per_image()), 0);
  std::vector<float> logits;
  const auto classes = static_cast<size_t>(of.file.model.classes());
  {
    const py::gil_scoped_release release;
    model::QuantizedModel model = of.file.model;
    std::shared_ptr<const model::ValueFaults> of_buffers;
    const campaign::InputScaling scaling = ScalingOf(scale, mean, deviation);
    campaign::CheckImages(of.file, set, "images", scaling);
    // Codes of images are those of the fault-free network, as everywhere.
    const engine::EvaluationSet prepared = campaign::EvaluationSetOf(model, set, scaling);
    if (!faults.empty()) {
      const memory::MemoryImage image = WholeImage(model, encoding);
      const auto listed = campaign::FaultsOfList(ListOf({faults}), "faults", false, image);
      const memory::FaultMap& map = listed.lists.begin()->second;
      auto values = std::make_shared<model::ValueFaults>();
      values->values.resize(model.values.size());
      memory::AddValueFaults(map, image, std::nullopt, *values);
      Apply(memory::EffectOf(map, image), model);
      if (!values->empty()) of_buffers = values;
    }
    engine::DenseEngine engine(model);
    engine.SetValueFaults(of_buffers);
    logits = engine.Run(prepared.images);
  }
  py::array_t<float> result({logits.size() / classes, classes});
  std::copy(logits.begin(), logits.end(), result.mutable_data());
  return result;
}

std::vector<PyFault> SampleFaults(const PyModel& of, const std::string& fault, double rate, int64_t trial,
                                  uint64_t seed, const std::string& encoding, const std::string& where,
                                  const std::string& chip, std::optional<int> word_bits) {
  const py::gil_scoped_release release;
  const memory::FaultModel model = memory::ParseFaultModel(fault);
  const memory::Memories memories = memory::MemoriesOf({where, chip, word_bits}, {model});
  const memory::MemoryLayout layout{memory::ParseEncoding(memories.EncodingsOr(encoding)), memories.word_bits};
  const memory::MemoryImage image = memory::ImageOn(memories.chip, of.file.model, layout, memories.where);
  if (trial < 0) throw UsageError(fmt::format("trial {}: expected 0 or more", trial));
  const memory::FaultMap map = memory::SampleFaults(KeyOfSeed(seed), static_cast<uint64_t>(trial), image, rate, model);
  std::vector<PyFault> faults;
  for (const memory::Fault& one : map.faults) {
    const memory::MemoryArray& array = image.arrays()[static_cast<size_t>(one.bit.array)];
    faults.push_back({array.name, one.bit.cell / array.bits(), static_cast<int>(one.bit.cell % array.bits()),
                      std::string(memory::NameOf(one.kind))});
  }
  return faults;
}

// ---- campaigns and sweeps ----

std::vector<int64_t> LabelsOf(const py::object& labels) {
  const py::array array = py::array::ensure(labels);
  if (!array || array.ndim() != 1 || (array.dtype().kind() != 'i' && array.dtype().kind() != 'u'))
    throw UsageError("labels: expected one whole number an image");
  std::vector<int64_t> classes;
  for (const auto& label : array.attr("tolist")()) {
    const py::int_ whole(py::reinterpret_borrow<py::object>(label));
    if (whole < py::int_(0) || whole > py::int_(65535))
      throw UsageError(fmt::format("labels: one is {}, expected 0 to 65535", std::string(py::repr(whole))));
    classes.push_back(whole.cast<int64_t>());
  }
  return classes;
}

// What both take of data: arrays, which become files of a folder of their own, or a data set by name.
class Data {
 public:
  Data(const py::kwargs& options, const PyModel& of) {
    choice_.reading = of.reading;
    choice_.input = ScalingOf(Get<double>(options, "input_scale"), Get<std::vector<double>>(options, "mean"),
                              Get<std::vector<double>>(options, "std"));
    choice_.images = Within<int64_t>(options, "count", 0, kMost);
    const py::object images = options["images"], labels = options["labels"];
    if (images.is_none() != labels.is_none()) throw UsageError("images and labels: give both, or neither");
    if (images.is_none()) {
      if (!options["dataset"].is_none()) choice_.dataset = Get<std::string>(options, "dataset");
      if (!options["data"].is_none()) choice_.location.folder = Get<fs::path>(options, "data");
      return;
    }
    if (!options["dataset"].is_none() || !options["data"].is_none())
      throw UsageError("dataset, data: give arrays, or the name of a data set and its folder");
    data::NpyArray classes{"<i8", {}, {}};
    for (const int64_t label : LabelsOf(labels)) {
      for (int byte = 0; byte < 8; ++byte) classes.bytes.push_back(static_cast<uint8_t>(label >> 8 * byte));
    }
    classes.shape = {static_cast<int64_t>(classes.bytes.size() / 8)};
    if (!py::isinstance<py::array>(images)) throw UsageError("images: expected a numpy array");
    const data::NpyArray pixels = ArrayOf(images, "images");
    for (const char* split : {"train", "test"}) {  // evaluating looks at the second alone
      Write(fmt::format("{}_images.npy", split), pixels);
      Write(fmt::format("{}_labels.npy", split), classes);
    }
    choice_.dataset = "npy";
    choice_.location.folder = folder_.path();
  }
  const campaign::DataChoice& choice() const { return choice_; }
  fs::path Temporary(const std::string& name) const { return folder_.path() / name; }

 private:
  void Write(const std::string& name, const data::NpyArray& array) const {
    const std::vector<uint8_t> bytes = data::ToNpy(array);
    WriteFileWhole(folder_.path() / name, std::string(bytes.begin(), bytes.end()));
  }

  const TemporaryFolder folder_;
  campaign::DataChoice choice_;
};

// What the options say of memories, and the settings that campaigns and sweeps share.
memory::Memories MemoriesOf(const py::kwargs& options, const std::vector<memory::FaultModel>& faults) {
  memory::MemoryChoice choice;
  if (!options["where"].is_none()) choice.where = Get<std::string>(options, "where");
  if (!options["chip"].is_none()) choice.chip = Get<std::string>(options, "chip");
  if (!options["word_bits"].is_none()) choice.word_bits = Get<int>(options, "word_bits");
  return memory::MemoriesOf(choice, faults);
}
template <typename Settings>
void SetMemory(const py::kwargs& options, const memory::Memories& memories, Settings& settings) {
  settings.where = memories.where;
  settings.chip = memories.chip;
  settings.word_bits = memories.word_bits;
  settings.threads = ThreadsOf(options);
  settings.memory_bytes = Within<int64_t>(options, "memory", 0, kMost >> 10) << 20;
}
std::vector<memory::Encoding> EncodingsOf(const py::kwargs& options, const memory::Memories& memories) {
  std::vector<memory::Encoding> encodings;
  const auto typed = Get<std::vector<std::string>>(options, "encoding");
  for (const auto& encoding : Split(memories.EncodingsOr(fmt::format("{}", fmt::join(typed, ","))), ','))
    encodings.push_back(memory::ParseEncoding(encoding));
  return encodings;
}

template <typename Row, typename Get>
py::list Column(const std::vector<Row>& rows, const Get& get) {
  py::list column;
  for (const Row& row : rows) column.append(get(row));
  return column;
}

py::dict Inject(const std::vector<PyModel>& models, const py::kwargs& options) {
  campaign::CampaignSettings settings;
  if (models.empty()) throw UsageError("models: names none");
  const Data data(options, models[0]);
  for (const PyModel& of : models) {
    CheckUnchanged(of);
    if (!(of.reading == models[0].reading))
      throw UsageError("models of one campaign are read alike: load them with the same profile and stored_bits");
    settings.models.push_back(of.file.path);
  }
  settings.data = data.choice();
  settings.faults.clear();
  for (const auto& fault : Get<std::vector<std::string>>(options, "fault"))
    settings.faults.push_back(memory::ParseFaultModel(fault));
  settings.rates = Get<std::vector<double>>(options, "rate");
  const memory::Memories memories = MemoriesOf(options, settings.faults);
  settings.encodings = EncodingsOf(options, memories);
  settings.trials = Within<int64_t>(options, "trials", 1, kMost);
  if (!options["until"].is_none())
    settings.until = campaign::ParseUntil(fmt::format("width<{}", FormatShortest(Get<double>(options, "until"))));
  settings.seed = Get<uint64_t>(options, "seed");
  settings.extend = Get<bool>(options, "extend");
  settings.command = "steadfast.inject";
  SetMemory(options, memories, settings);
  if (!options["fault_list"].is_none()) {
    settings.fault_list = data.Temporary("faults.csv");
    if (py::isinstance<py::list>(options["fault_list"]))
      WriteFileWhole(settings.fault_list, ListOf(Get<std::vector<std::vector<PyFault>>>(options, "fault_list")));
    else
      settings.fault_list = Get<fs::path>(options, "fault_list");
  }
  const fs::path store = options["store"].is_none() ? data.Temporary("trials.sqlite") : Get<fs::path>(options, "store");
  const py::object on_progress = options["progress"];
  const campaign::CampaignResult result = Watched<campaign::CampaignProgress>(
      [&](const Cancellation& cancellation, const auto& set_progress) {
        return campaign::RunCampaign(settings, store, set_progress, &cancellation);
      },
      [&](const campaign::CampaignProgress& p) {
        if (!on_progress.is_none()) on_progress(p.done, p.total);
      });
  report::ReportOptions of_report{settings.until.has_value(), std::nullopt};
  if (!options["floor"].is_none()) of_report.floor = Within<double>(options, "floor", 0, 100) / 100;
  const auto report = report::MakeCampaignReport(result.models, result.trials, of_report);
  std::map<int64_t, std::string> labels;
  for (const auto& model : result.models) labels[model.id] = model.label;
  using Row = store::TrialRow;
  py::dict columns;
  columns["id"] = Column(result.trials, [](const Row& row) { return row.id; });
  columns["model"] = Column(result.trials, [&](const Row& row) { return labels.at(row.model); });
  columns["fault"] = Column(result.trials, [](const Row& row) { return row.fault; });
  columns["encoding"] = Column(result.trials, [](const Row& row) { return row.encoding; });
  columns["rate"] = Column(result.trials, [](const Row& row) { return row.rate; });
  columns["trial"] = Column(result.trials, [](const Row& row) { return row.trial; });
  columns["faulty_bits"] = Column(result.trials, [](const Row& row) { return row.faulty_bits; });
  columns["changed_codes"] = Column(result.trials, [](const Row& row) { return row.changed_codes; });
  columns["images"] = Column(result.trials, [](const Row& row) { return row.images; });
  columns["correct"] = Column(result.trials, [](const Row& row) { return row.correct; });
  columns["accuracy"] = Column(result.trials, [](const Row& row) { return row.accuracy(); });
  columns["changed"] = Column(result.trials, [](const Row& row) { return row.changed; });
  columns["broken"] = Column(result.trials, [](const Row& row) { return row.broken; });
  columns["repaired"] = Column(result.trials, [](const Row& row) { return row.repaired; });
  py::dict given;
  given["trials"] = columns;
  given["summary"] = FromJson(report::ToJson(report, store::Store::OpenForReading(store).settings()));
  given["text"] = report::ToText(report);
  given["resumed"] = result.resumed;
  return given;
}

py::dict Sweep(const PyModel& of, const py::kwargs& options) {
  campaign::SweepSettings settings;
  const Data data(options, of);
  CheckUnchanged(of);
  settings.model = of.file.path;
  settings.data = data.choice();
  memory::Memories memories = MemoriesOf(options, {});
  if (memories.chip && options["where"].is_none()) memories.where = memory::ParseWhere("all");
  settings.encoding = EncodingsOf(options, memories).at(0);
  settings.layers = options["layer"].is_none() ? "" : Get<std::string>(options, "layer");
  if (!options["layer"].is_none() && settings.layers.empty()) throw UsageError("layer: names no layer");
  settings.sample = Within<double>(options, "sample", 1e-9, 1);
  settings.drawn_faults = Within<int64_t>(options, "faults", 0, kMost);
  settings.draw_seed = Get<uint64_t>(options, "seed");
  settings.decisions_only = Get<bool>(options, "decisions_only");
  settings.command = "steadfast.sweep";
  SetMemory(options, memories, settings);
  const std::string kind = Get<std::string>(options, "fault");
  const std::vector<std::string> kinds =
      kind == "all" ? std::vector<std::string>{"flip", "sa0", "sa1"} : std::vector<std::string>{kind};
  settings.fault_of_values = std::nullopt;
  if (kind != "all") settings.fault_of_values = memory::ParseFaultKind(kind);
  const fs::path store = options["store"].is_none() ? fs::path() : Get<fs::path>(options, "store");
  const py::object on_progress = options["progress"];
  const campaign::SweepResult result = Watched<campaign::SweepProgress>(
      [&](const Cancellation& cancellation, const auto& set_progress) {
        return campaign::RunSweep(settings, store, set_progress, &cancellation);
      },
      [&](const campaign::SweepProgress& p) {
        if (!on_progress.is_none()) on_progress(p.faults_done, p.faults);
      });
  std::vector<report::SweptFault> faults;
  report::ForEachFault(result.model, result.sweep, result.parts, kinds,
                       [&](const report::SweptFault& fault) { faults.push_back(fault); });
  using Fault = report::SweptFault;
  const auto images = static_cast<double>(result.sweep.images);
  py::dict columns;
  columns["tensor"] = Column(faults, [](const Fault& fault) { return fault.tensor; });
  columns["index"] = Column(faults, [](const Fault& fault) { return fault.index; });
  columns["bit"] = Column(faults, [](const Fault& fault) { return fault.bit; });
  columns["kind"] = Column(faults, [](const Fault& fault) { return fault.kind; });
  columns["active"] = Column(faults, [](const Fault& fault) { return fault.active; });
  columns["correct"] = Column(faults, [](const Fault& fault) { return fault.correct; });
  columns["accuracy"] = Column(faults, [&](const Fault& fault) { return static_cast<double>(fault.correct) / images; });
  columns["changed"] = Column(faults, [](const Fault& fault) { return fault.changed; });
  columns["broken"] = Column(faults, [](const Fault& fault) { return fault.broken; });
  columns["repaired"] = Column(faults, [](const Fault& fault) { return fault.repaired; });
  const auto report = report::MakeSweepReport(result.model, result.sweep, result.parts, kinds,
                                              Within<int64_t>(options, "top", 0, kMost));
  py::dict given;
  given["faults"] = columns;
  given["text"] = report::ToText(report);
  given["clean_accuracy"] = result.model.accuracy();
  given["images"] = result.sweep.images;
  return given;
}

py::object Tolerance(const PyModel& of, const py::kwargs& options) {
  campaign::CampaignSettings settings;
  const Data data(options, of);
  CheckUnchanged(of);
  settings.models = {of.file.path};
  settings.data = data.choice();
  settings.faults = {memory::ParseFaultModel(Get<std::string>(options, "fault"))};
  const memory::Memories memories = MemoriesOf(options, settings.faults);
  settings.encodings = EncodingsOf(options, memories);
  settings.seed = Get<uint64_t>(options, "seed");
  settings.command = "steadfast.tolerance";
  SetMemory(options, memories, settings);
  const campaign::ToleranceQuestion question = {
      .floor = Within<double>(options, "floor", 0, 100) / 100,
      .yield = Get<double>(options, "yield_"),
      .confidence = Get<double>(options, "confidence"),
      .chips = Within<int64_t>(options, "chips", 0, kMost),
      .rates = campaign::RatesBetween(Get<double>(options, "lowest"), Get<double>(options, "highest"),
                                      Get<int64_t>(options, "per_decade"))};
  const fs::path store = options["store"].is_none() ? data.Temporary("trials.sqlite") : Get<fs::path>(options, "store");
  const py::object on_progress = options["progress"];
  const campaign::ToleranceAnswer answer = Watched<campaign::CampaignProgress>(
      [&](const Cancellation& cancellation, const auto& set_progress) {
        return campaign::AskForTolerance(
            question, settings, store, [&](double, const campaign::CampaignProgress& p) { set_progress(p); },
            &cancellation);
      },
      [&](const campaign::CampaignProgress& p) {
        if (!on_progress.is_none()) on_progress(p.done, p.total);
      });
  return FromJson(campaign::ToJson(answer));
}

py::object Quantize(const py::kwargs& options) {
  quantization::FileSettings settings;
  settings.network = Get<std::string>(options, "network");
  settings.output = Get<fs::path>(options, "output");
  settings.dataset = Get<std::string>(options, "dataset");
  if (!options["data"].is_none()) settings.location.folder = Get<fs::path>(options, "data");
  settings.mean = Get<std::vector<double>>(options, "mean");
  settings.deviation = Get<std::vector<double>>(options, "std");
  settings.settings.weight_bits = Get<int>(options, "weight_bits");
  settings.settings.activation_bits = Get<int>(options, "activation_bits");
  settings.settings.per_channel = !Get<bool>(options, "per_tensor");
  settings.settings.signed_activations = Get<bool>(options, "signed");
  settings.settings.calibration = network::ParseCalibration(Get<std::string>(options, "calibration"));
  settings.settings.percentile = Get<double>(options, "percentile");
  settings.settings.threads = ThreadsOf(options);
  settings.calibration_images = Within<int64_t>(options, "calibration_images", 1, kMost);
  settings.float_images = Within<int64_t>(options, "float_images", 1, kMost);
  settings.force = Get<bool>(options, "force");
  const py::object on_progress = options["progress"];
  const quantization::Reached reached = Watched<std::string>(
      [&](const Cancellation& cancellation, const auto& set_progress) {
        return quantization::QuantizeFile(settings, set_progress, cancellation);
      },
      [&](const std::string& step) {
        if (!on_progress.is_none()) on_progress(step);
      });
  return FromJson(quantization::ToJson(settings, reached));
}

py::object Report(const std::vector<fs::path>& stores, const std::optional<fs::path>& output) {
  struct None {};
  if (stores.empty()) throw UsageError("stores: names none");
  std::string text = Watched<None>(
      [&](const Cancellation& cancellation, const auto&) {
        const report::Evidence evidence = report::Gather(stores);
        if (evidence.models.empty())
          throw InputError(fmt::format("{}: holds no models yet: nothing to report", stores.at(0).string()));
        const report::Tie tie = report::MakeTie(evidence, 0, &cancellation);
        if (!output) return report::ToTerminal(evidence, tie);
        WriteFileWhole(*output, report::MakePage(evidence, tie, {"steadfast.report"}));
        return std::string();
      },
      [](const None&) {});
  return output ? py::none() : py::object(py::str(text));
}

std::vector<std::map<std::string, std::string>> FaultModelKinds() {
  std::vector<std::map<std::string, std::string>> kinds;
  for (const memory::FaultModelKind& kind : memory::FaultModelKinds())
    kinds.push_back({{"name", std::string(kind.name)},
                     {"syntax", std::string(kind.syntax)},
                     {"meaning", std::string(kind.meaning)},
                     {"source", std::string(kind.source)}});
  return kinds;
}

}  // namespace
}  // namespace steadfast

PYBIND11_MODULE(_steadfast, module) {
  using namespace steadfast;
  module.attr("__version__") = Version();
  static py::exception<Error> error(module, "Error", PyExc_RuntimeError);
  static py::exception<UsageError> usage(module, "UsageError", py::make_tuple(error, py::handle(PyExc_ValueError)));
  static py::exception<InputError> input(module, "InputError", py::make_tuple(error, py::handle(PyExc_ValueError)));
  static py::exception<IoError> io(module, "IoError", py::make_tuple(error, py::handle(PyExc_OSError)));
  const auto describe = [](py::handle type, const char* doc) { type.attr("__doc__") = doc; };
  describe(error, "What Steadfast raises; its message names file, line or key, and says what to do.");
  describe(usage, "Something impossible was asked for: a rate outside 0 to 1, a tensor that is not there.");
  describe(input, "A file, or a value in it, is not what it should be.");
  describe(io, "The operating system refused: no such file, disk full.");
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const UsageError& e) {
      usage(e.what());
    } catch (const InputError& e) {
      input(e.what());
    } catch (const IoError& e) {
      io(e.what());
    } catch (const Error& e) {
      error(e.what());
    }
  });

  py::class_<model::Parameter>(module, "Parameter", "What is stored of one tensor, in the file's order and shape.")
      .def_readonly("name", &model::Parameter::name)
      .def_property_readonly("role", [](const model::Parameter& p) { return std::string(model::NameOf(p.role)); })
      .def_property_readonly("format", [](const model::Parameter& p) { return model::NameOf(p.format); })
      .def_property_readonly("bits", [](const model::Parameter& p) { return p.format.bits(); })
      .def_property_readonly("shape", [](const model::Parameter& p) { return py::tuple(py::cast(p.shape)); })
      .def_property_readonly("values", &ValuesOf)
      .def_property_readonly("patterns", &PatternsOf)
      .def("__repr__", [](const model::Parameter& p) {
        return fmt::format("<Parameter {}: {} of {} [{}]>", p.name, model::NameOf(p.role), model::NameOf(p.format),
                           fmt::join(p.shape, ", "));
      });

  py::class_<PyFault>(module, "Fault",
                      "Fault(tensor, index, bit, kind='flip'): one faulty bit, of element `index` of the parameter (or "
                      "buffer of values) "
                      "`tensor`, bit 0 being the least significant; kind: flip, sa0, sa1, up or down.")
      .def(py::init([](const std::string& tensor, int64_t index, int bit, const std::string& kind) {
             memory::ParseFaultKind(kind);  // throws for what is none
             return PyFault{tensor, index, bit, kind};
           }),
           py::arg("tensor"), py::arg("index"), py::arg("bit"), py::arg("kind") = "flip")
      .def_readonly("tensor", &PyFault::tensor)
      .def_readonly("index", &PyFault::index)
      .def_readonly("bit", &PyFault::bit)
      .def_readonly("kind", &PyFault::kind)
      .def(
          "__eq__", [](const PyFault& a, const PyFault& b) { return a == b; }, py::is_operator())
      .def("__hash__", [](const PyFault& f) { return py::hash(py::make_tuple(f.tensor, f.index, f.bit, f.kind)); })
      .def(py::pickle(
          [](const PyFault& f) { return py::make_tuple(f.tensor, f.index, f.bit, f.kind); },
          [](const py::tuple& f) {
            return PyFault{f[0].cast<std::string>(), f[1].cast<int64_t>(), f[2].cast<int>(), f[3].cast<std::string>()};
          }))
      .def("__repr__",
           [](const PyFault& f) { return fmt::format("Fault('{}', {}, {}, '{}')", f.tensor, f.index, f.bit, f.kind); });

  py::class_<PyModel>(module, "Model", "A quantized model file, as `load` read it.")
      .def_property_readonly("path", [](const PyModel& m) { return m.file.path; })
      .def_property_readonly("name", [](const PyModel& m) { return m.file.model.name; })
      .def_property_readonly("sha256", [](const PyModel& m) { return m.file.sha256; })
      .def_property_readonly("format", [](const PyModel& m) { return m.file.model.format; })
      .def_property_readonly("profile", [](const PyModel& m) { return std::string(NameOf(m.file.model.profile)); })
      .def_property_readonly("classes", [](const PyModel& m) { return m.file.model.classes(); })
      .def_property_readonly("input_shape",
                             [](const PyModel& m) {
                               const model::ValueShape& shape = m.file.model.values[0].shape;
                               return py::make_tuple(shape.channels, shape.height, shape.width);
                             })
      .def_property_readonly("input_scale", [](const PyModel& m) { return m.file.model.values[0].coding->scale; })
      .def_property_readonly("input_zero_point",  // as the file has it
                             [](const PyModel& m) {
                               const model::ActivationCoding& coding = *m.file.model.values[0].coding;
                               return coding.zero_point + coding.stored_offset();
                             })
      .def_property_readonly("notes", [](const PyModel& m) { return m.file.model.notes; })
      .def_property_readonly("parameters", [](const PyModel& m) { return m.file.model.parameters; })
      .def(
          "inspect", [](const PyModel& m) { return FromJson(model::InspectionOf(m.file)); },
          "All that the file holds: what `steadfast inspect --json` writes.")
      .def("__repr__", [](const PyModel& m) {
        return fmt::format("<Model {}: {}, profile {}, {} classes>", m.file.path.string(), m.file.model.format,
                           NameOf(m.file.model.profile), m.file.model.classes());
      });

  module.def("load", &Load);
  module.def("predict", &Predict);
  module.def("sample_faults", &SampleFaults);
  module.def("inject", &Inject);
  module.def("sweep", &Sweep);
  module.def("tolerance", &Tolerance);
  module.def("quantize", &Quantize);
  module.def("report", &Report);
  module.def("fault_model_kinds", &FaultModelKinds);
  module.def("check_fault_model",
             [](const std::string& text) { return memory::NameOf(memory::ParseFaultModel(text)); });
  module.def("chip_text", [](const std::string& name) { return memory::ToText(memory::ReadChip(name)); });
}
