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
#include "steadfast/base/text.h"
#include "steadfast/base/version.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/campaign/tolerance.h"
#include "steadfast/data/npy.h"
#include "steadfast/engine/dense.h"
#include "steadfast/memory/fault_list.h"
#include "steadfast/memory/fault_sampler.h"
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
  return {model::ReadModelFile(path, reading), reading};
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

using Bytes = py::array_t<uint8_t, py::array::c_style>;

data::NpyArray ArrayOf(const py::array& array, const char* what) {
  if (!py::isinstance<Bytes>(array))
    throw UsageError(
        fmt::format("{}: an array of {}, expected bytes (numpy.uint8, in C order): a network takes each "
                    "pixel as one byte, and mean and std say what becomes of it",
                    what, std::string(py::str(array.dtype()))));
  const auto bytes = Bytes(array);
  return {"|u1", {bytes.shape(), bytes.shape() + bytes.ndim()}, {bytes.data(), bytes.data() + bytes.size()}};
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
  set.labels.assign(set.images.size() / static_cast<size_t>(set.shape.pixels()), 0);
  std::vector<float> logits;
  const auto classes = static_cast<size_t>(of.file.model.classes());
  {
    const py::gil_scoped_release release;
    model::QuantizedModel model = of.file.model;
    const campaign::InputScaling scaling = ScalingOf(scale, mean, deviation);
    campaign::CheckFits(scaling, model, of.file.path.string());
    // Codes of images are those of the fault-free network, as everywhere.
    const engine::EvaluationSet prepared = campaign::EvaluationSetOf(model, set, scaling);
    if (!faults.empty()) {
      const memory::MemoryImage image = WholeImage(model, encoding);
      const auto listed = campaign::FaultsOfList(ListOf({faults}), "faults", false, image);
      Apply(memory::EffectOf(listed.lists.begin()->second, image), model);
    }
    logits = engine::DenseEngine(model).Run(prepared.images);
  }
  py::array_t<float> result({logits.size() / classes, classes});
  std::copy(logits.begin(), logits.end(), result.mutable_data());
  return result;
}

std::vector<PyFault> SampleFaults(const PyModel& of, const std::string& fault, double rate, int64_t trial,
                                  uint64_t seed, const std::string& encoding, const std::optional<std::string>& where,
                                  const std::optional<std::string>& chip, int word_bits) {
  const py::gil_scoped_release release;
  campaign::CampaignSettings settings;
  settings.word_bits = word_bits;
  if (where) settings.where = memory::ParseWhere(*where);
  if (chip) {
    settings.chip = memory::ReadChip(*chip);
    if (!where) settings.where = memory::ParseWhere("all");
  }
  const memory::MemoryImage image = campaign::ImageOf(settings, of.file.model, memory::ParseEncoding(encoding));
  const memory::FaultModel model = memory::ParseFaultModel(fault);
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
  return array.cast<std::vector<int64_t>>();
}

// What both take of data: arrays, which become files of a folder of their own, or a data set by name.
class Data {
 public:
  Data(const py::kwargs& options, const PyModel& of) {
    choice_.reading = of.reading;
    choice_.input = ScalingOf(options["input_scale"].cast<double>(), options["mean"].cast<std::vector<double>>(),
                              options["std"].cast<std::vector<double>>());
    choice_.images = options["count"].cast<int64_t>();
    const py::object images = options["images"], labels = options["labels"];
    if (images.is_none() != labels.is_none()) throw UsageError("images and labels: give both, or neither");
    if (images.is_none()) {
      if (!options["dataset"].is_none()) choice_.dataset = options["dataset"].cast<std::string>();
      if (!options["data"].is_none()) choice_.location.folder = options["data"].cast<fs::path>();
      return;
    }
    if (!options["dataset"].is_none()) throw UsageError("dataset: give arrays, or the name of a data set");
    data::NpyArray classes{"<i8", {}, {}};
    for (const int64_t label : LabelsOf(labels)) {
      for (int byte = 0; byte < 8; ++byte) classes.bytes.push_back(static_cast<uint8_t>(label >> 8 * byte));
    }
    classes.shape = {static_cast<int64_t>(classes.bytes.size() / 8)};
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

// What a store's settings say of where parameters lie.
template <typename Settings>
void SetMemory(const py::kwargs& options, Settings& settings, const char* where_of_chip) {
  settings.word_bits = options["word_bits"].cast<int>();
  if (!options["chip"].is_none()) {
    settings.chip = memory::ReadChip(options["chip"].cast<std::string>());
    settings.where = memory::ParseWhere(where_of_chip);
  }
  if (!options["where"].is_none()) settings.where = memory::ParseWhere(options["where"].cast<std::string>());
  settings.threads = options["threads"].cast<int>();
  settings.memory_bytes = options["memory"].cast<int64_t>() << 20;
}

template <typename Row, typename Get>
py::list Column(const std::vector<Row>& rows, const Get& get) {
  py::list column;
  for (const Row& row : rows) column.append(get(row));
  return column;
}

py::dict Inject(const std::vector<PyModel>& models, const py::kwargs& options) {
  campaign::CampaignSettings settings;
  const Data data(options, models.at(0));
  for (const PyModel& of : models) {
    if (!(of.reading == models[0].reading))
      throw UsageError("models of one campaign are read alike: load them with the same profile and stored_bits");
    settings.models.push_back(of.file.path);
  }
  settings.data = data.choice();
  settings.faults.clear();
  for (const auto& fault : options["fault"].cast<std::vector<std::string>>())
    settings.faults.push_back(memory::ParseFaultModel(fault));
  settings.rates = options["rate"].cast<std::vector<double>>();
  settings.encodings.clear();
  for (const auto& encoding : options["encoding"].cast<std::vector<std::string>>())
    settings.encodings.push_back(memory::ParseEncoding(encoding));
  settings.trials = options["trials"].cast<int64_t>();
  if (!options["until"].is_none())
    settings.until = campaign::ParseUntil(fmt::format("width<{}", FormatShortest(options["until"].cast<double>())));
  settings.seed = options["seed"].cast<uint64_t>();
  settings.extend = options["extend"].cast<bool>();
  settings.command = "steadfast.inject";
  SetMemory(options, settings, "all,activations");
  if (!options["fault_list"].is_none()) {
    settings.fault_list = data.Temporary("faults.csv");
    if (py::isinstance<py::list>(options["fault_list"]))
      WriteFileWhole(settings.fault_list, ListOf(options["fault_list"].cast<std::vector<std::vector<PyFault>>>()));
    else
      settings.fault_list = options["fault_list"].cast<fs::path>();
  }
  const fs::path store =
      options["store"].is_none() ? data.Temporary("trials.sqlite") : options["store"].cast<fs::path>();
  const py::object on_progress = options["progress"];
  const campaign::CampaignResult result = Watched<campaign::CampaignProgress>(
      [&](const Cancellation& cancellation, const auto& set_progress) {
        return campaign::RunCampaign(settings, store, set_progress, &cancellation);
      },
      [&](const campaign::CampaignProgress& p) {
        if (!on_progress.is_none()) on_progress(p.done, p.total);
      });
  report::ReportOptions of_report{settings.until.has_value(), std::nullopt};
  if (!options["floor"].is_none()) of_report.floor = options["floor"].cast<double>() / 100;
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
  settings.model = of.file.path;
  settings.data = data.choice();
  settings.encoding = memory::ParseEncoding(options["encoding"].cast<std::string>());
  settings.layers = options["layer"].is_none() ? "" : options["layer"].cast<std::string>();
  settings.sample = options["sample"].cast<double>();
  settings.drawn_faults = options["faults"].cast<int64_t>();
  settings.draw_seed = options["seed"].cast<uint64_t>();
  settings.decisions_only = options["decisions_only"].cast<bool>();
  settings.command = "steadfast.sweep";
  SetMemory(options, settings, "all");
  const std::string kind = options["fault"].cast<std::string>();
  const std::vector<std::string> kinds =
      kind == "all" ? std::vector<std::string>{"flip", "sa0", "sa1"} : std::vector<std::string>{kind};
  settings.fault_of_values = std::nullopt;
  if (kind != "all") settings.fault_of_values = memory::ParseFaultKind(kind);
  const fs::path store = options["store"].is_none() ? fs::path() : options["store"].cast<fs::path>();
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
  const auto report =
      report::MakeSweepReport(result.model, result.sweep, result.parts, kinds, options["top"].cast<int64_t>());
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
  settings.models = {of.file.path};
  settings.data = data.choice();
  settings.faults = {memory::ParseFaultModel(options["fault"].cast<std::string>())};
  settings.encodings = {memory::ParseEncoding(options["encoding"].cast<std::string>())};
  settings.seed = options["seed"].cast<uint64_t>();
  settings.command = "steadfast.tolerance";
  SetMemory(options, settings, "all,activations");
  const campaign::ToleranceQuestion question = {
      .floor = options["floor"].cast<double>() / 100,
      .yield = options["yield_"].cast<double>(),
      .confidence = options["confidence"].cast<double>(),
      .chips = options["chips"].cast<int64_t>(),
      .rates = campaign::RatesBetween(options["lowest"].cast<double>(), options["highest"].cast<double>(),
                                      options["per_decade"].cast<int64_t>())};
  const fs::path store =
      options["store"].is_none() ? data.Temporary("trials.sqlite") : options["store"].cast<fs::path>();
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
  settings.network = options["network"].cast<std::string>();
  settings.output = options["output"].cast<fs::path>();
  settings.dataset = options["dataset"].cast<std::string>();
  if (!options["data"].is_none()) settings.location.folder = options["data"].cast<fs::path>();
  settings.mean = options["mean"].cast<std::vector<double>>();
  settings.deviation = options["std"].cast<std::vector<double>>();
  settings.settings.weight_bits = options["weight_bits"].cast<int>();
  settings.settings.activation_bits = options["activation_bits"].cast<int>();
  settings.settings.per_channel = !options["per_tensor"].cast<bool>();
  settings.settings.signed_activations = options["signed"].cast<bool>();
  settings.settings.calibration = network::ParseCalibration(options["calibration"].cast<std::string>());
  settings.settings.percentile = options["percentile"].cast<double>();
  settings.settings.threads = options["threads"].cast<int>();
  settings.calibration_images = options["calibration_images"].cast<int64_t>();
  settings.float_images = options["float_images"].cast<int64_t>();
  settings.force = options["force"].cast<bool>();
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

  py::class_<model::Parameter>(module, "Parameter")
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

  py::class_<PyFault>(module, "Fault")
      .def(py::init([](const std::string& tensor, int64_t index, int bit, const std::string& kind) {
             return PyFault{tensor, index, bit, kind};
           }),
           py::arg("tensor"), py::arg("index"), py::arg("bit"), py::arg("kind") = "flip")
      .def_readonly("tensor", &PyFault::tensor)
      .def_readonly("index", &PyFault::index)
      .def_readonly("bit", &PyFault::bit)
      .def_readonly("kind", &PyFault::kind)
      .def("__eq__", [](const PyFault& a, const PyFault& b) { return a == b; })
      .def("__repr__",
           [](const PyFault& f) { return fmt::format("Fault('{}', {}, {}, '{}')", f.tensor, f.index, f.bit, f.kind); });

  py::class_<PyModel>(module, "Model")
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
      .def_property_readonly("notes", [](const PyModel& m) { return m.file.model.notes; })
      .def_property_readonly("parameters", [](const PyModel& m) { return m.file.model.parameters; })
      .def("inspect", [](const PyModel& m) { return FromJson(model::InspectionOf(m.file)); })
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
