#include "steadfast/store/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "steadfast/base/error.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/version.h"

namespace steadfast::store {
namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE models (
  id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, path TEXT NOT NULL, network TEXT NOT NULL,
  recipe TEXT NOT NULL, recipe_json TEXT NOT NULL, seed INTEGER NOT NULL, rho REAL NOT NULL, lambda REAL NOT NULL,
  weight_bits INTEGER NOT NULL, activation_bits INTEGER NOT NULL, layout TEXT NOT NULL, memory_bits INTEGER NOT NULL,
  macs INTEGER NOT NULL, images INTEGER NOT NULL, correct INTEGER NOT NULL, margin_sum INTEGER NOT NULL,
  loss_sum INTEGER NOT NULL, zero_share REAL, sharpness_json TEXT NOT NULL, accuracy_json TEXT NOT NULL);
CREATE TABLE training_epochs (
  model INTEGER NOT NULL REFERENCES models, epoch INTEGER NOT NULL, loss REAL, validation_loss REAL,
  validation_accuracy REAL, learning_rate REAL, PRIMARY KEY (model, epoch)) WITHOUT ROWID;
CREATE TABLE layers (
  model INTEGER NOT NULL REFERENCES models, position INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
  output_shape TEXT NOT NULL, weight_shape TEXT NOT NULL, weight_bits INTEGER NOT NULL, activation_bits INTEGER NOT NULL,
  macs INTEGER NOT NULL, memory_bits INTEGER NOT NULL, zero_share REAL, PRIMARY KEY (model, position)) WITHOUT ROWID;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, command TEXT NOT NULL, settings TEXT NOT NULL,
  version TEXT NOT NULL, machine TEXT NOT NULL);
CREATE TABLE trials (
  id TEXT PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, model INTEGER NOT NULL REFERENCES models,
  fault TEXT NOT NULL, encoding TEXT NOT NULL, rate REAL NOT NULL, trial INTEGER NOT NULL, faulty_bits INTEGER NOT NULL,
  changed_codes INTEGER NOT NULL, images INTEGER NOT NULL, correct INTEGER NOT NULL, changed INTEGER NOT NULL,
  broken INTEGER NOT NULL, repaired INTEGER NOT NULL, margin_sum INTEGER NOT NULL, loss_sum INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE fault_lists (name TEXT PRIMARY KEY, csv TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE claims (
  id TEXT PRIMARY KEY, verdict TEXT NOT NULL, effect REAL, unit TEXT NOT NULL, low REAL, high REAL, detail TEXT NOT NULL)
  WITHOUT ROWID;
)sql";

// Since schema version 2.
constexpr const char* kSweepSchema = R"sql(
CREATE TABLE sweeps (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL REFERENCES models, kind TEXT NOT NULL, encoding TEXT NOT NULL,
  word_bits INTEGER NOT NULL, images INTEGER NOT NULL, dataset TEXT NOT NULL, data_sha256 TEXT NOT NULL,
  margins INTEGER NOT NULL, arithmetic TEXT NOT NULL,
  UNIQUE (model, kind, encoding, word_bits, images, data_sha256, margins, arithmetic));
CREATE TABLE sweep_parts (
  sweep INTEGER NOT NULL REFERENCES sweeps, tensor TEXT NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
  bits INTEGER NOT NULL, codes INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs, faults BLOB NOT NULL,
  PRIMARY KEY (sweep, tensor, first)) WITHOUT ROWID;
)sql";

// Since schema version 3.
constexpr const char* kSharpnessSchema = R"sql(
CREATE TABLE sharpness (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL REFERENCES models, run INTEGER NOT NULL REFERENCES runs,
  key TEXT NOT NULL, settings TEXT NOT NULL, dataset TEXT NOT NULL, data_sha256 TEXT NOT NULL, images INTEGER NOT NULL,
  loss REAL, accuracy REAL, UNIQUE (model, key));
CREATE TABLE sharpness_values (
  sharpness INTEGER NOT NULL REFERENCES sharpness ON DELETE CASCADE, position INTEGER NOT NULL, measure TEXT NOT NULL,
  layer TEXT NOT NULL, parameter REAL NOT NULL, value REAL, error REAL, PRIMARY KEY (sharpness, position)) WITHOUT ROWID;
CREATE TABLE sharpness_density (
  sharpness INTEGER NOT NULL REFERENCES sharpness ON DELETE CASCADE, position INTEGER NOT NULL, probe INTEGER NOT NULL,
  value REAL, weight REAL, PRIMARY KEY (sharpness, position)) WITHOUT ROWID;
CREATE TABLE sharpness_points (
  sharpness INTEGER NOT NULL REFERENCES sharpness ON DELETE CASCADE, position INTEGER NOT NULL, surface TEXT NOT NULL,
  x REAL NOT NULL, y REAL NOT NULL, loss REAL, accuracy REAL, PRIMARY KEY (sharpness, position)) WITHOUT ROWID;
CREATE TABLE latencies (
  model INTEGER PRIMARY KEY REFERENCES models, run INTEGER NOT NULL REFERENCES runs, latency TEXT NOT NULL);
)sql";

// Since schema version 5.
constexpr const char* kClassSchema = R"sql(
CREATE TABLE classes (
  model INTEGER PRIMARY KEY REFERENCES models, run INTEGER NOT NULL REFERENCES runs, classes TEXT NOT NULL);
)sql";

// Of sweeps since banks are known; stores without it get it when a sweep is written.
constexpr const char* kBankMapSchema = R"sql(
CREATE TABLE bank_maps (
  model INTEGER PRIMARY KEY REFERENCES models, run INTEGER NOT NULL REFERENCES runs, map TEXT NOT NULL);
)sql";

// Of sweeps that say where their bits lie; stores without it get it when a sweep is written.
constexpr const char* kSweptArraySchema = R"sql(
CREATE TABLE swept_arrays (
  sweep INTEGER NOT NULL REFERENCES sweeps, position INTEGER NOT NULL, tensor TEXT NOT NULL, role TEXT NOT NULL,
  faults INTEGER NOT NULL, place TEXT NOT NULL, PRIMARY KEY (sweep, position)) WITHOUT ROWID;
)sql";

// Since schema version 4. Columns are added to tables of earlier versions.
constexpr const char* kConditionSchema = R"sql(
CREATE TABLE conditions (id INTEGER PRIMARY KEY, condition TEXT NOT NULL UNIQUE);
ALTER TABLE trials ADD COLUMN condition INTEGER REFERENCES conditions;
ALTER TABLE models ADD COLUMN reading INTEGER NOT NULL DEFAULT 1;
)sql";

// A fault of a sweep in the store: little-endian uint32 changed, broken, repaired, int64 margin_delta, uint8 held.
constexpr size_t kSweepFaultBytes = 21;

template <typename T>
void AppendInteger(std::string& bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    bytes.push_back(static_cast<char>(static_cast<std::make_unsigned_t<T>>(value) >> (8 * i) & 0xFF));
}

template <typename T>
T ReadInteger(std::string_view bytes, size_t& at) {
  std::make_unsigned_t<T> value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<std::make_unsigned_t<T>>(
        static_cast<std::make_unsigned_t<T>>(static_cast<uint8_t>(bytes[at++])) << (8 * i));
  return static_cast<T>(value);
}

constexpr const char* kTrialColumns =
    "id, model, fault, encoding, rate, trial, faulty_bits, changed_codes, images, correct, changed, broken, repaired, "
    "margin_sum, loss_sum";

// The condition of all trials of an older store, which kept it only in its settings.
nlohmann::json ConditionOfSettings(const nlohmann::json& settings) {
  nlohmann::json condition = nlohmann::json::object();
  for (const char* key : {"seed", "word_bits", "images", "sampler_version", "arithmetic"}) {
    if (settings.contains(key)) condition[key] = settings.at(key);
  }
  if (settings.contains("dataset") && settings.at("dataset").is_object() &&
      settings.at("dataset").contains("test_sha256"))
    condition["data_sha256"] = settings.at("dataset").at("test_sha256");
  return condition;
}

int64_t ReadingOf(const nlohmann::json& condition) {
  return condition.is_object() ? condition.value("reading", int64_t{1}) : 1;
}

std::string Now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

TrialRow ReadTrial(const Statement& row) {
  return {.id = row.Text(0),
          .model = row.Int(1),
          .fault = row.Text(2),
          .encoding = row.Text(3),
          .rate = row.Real(4),
          .trial = row.Int(5),
          .faulty_bits = row.Int(6),
          .changed_codes = row.Int(7),
          .images = row.Int(8),
          .correct = row.Int(9),
          .changed = row.Int(10),
          .broken = row.Int(11),
          .repaired = row.Int(12),
          .margin_sum = row.Int(13),
          .loss_sum = row.Int(14),
          .condition = row.Int(15)};
}

double RealOrNan(const Statement& row, int column) {
  return row.IsNull(column) ? std::nan("") : row.Real(column);
}

std::optional<double> OptionalReal(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return row.Real(column);
}

}  // namespace

std::string ArithmeticOf(int64_t reading) {
  return reading == 1 ? kArithmetic : fmt::format("{}, reading {}", kArithmetic, reading);
}

bool IsOfPairs(const std::string& kind) {
  return kind.starts_with("pairs-in-word");
}

std::string SweepRow::fault_of_values() const {
  for (const std::string fault : {"sa0", "sa1"}) {
    if (kind.starts_with("bits-" + fault)) return fault;
  }
  return "flip";
}

Store::Store(const std::filesystem::path& path, Database::Mode mode) : path_(path.string()), database_(path, mode) {}

Store Store::Create(const std::filesystem::path& path) {
  Store store(path, Database::Mode::kCreate);
  if (store.HasTables()) store.CheckSchema();  // before anything of another program's database changes
  store.database_.UseWriteAheadLog();
  store.database_.Execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;");
  {
    Transaction transaction(store.database_);
    if (!store.HasTables()) {
      store.database_.Execute(kSchema);
      store.database_.Execute(kSweepSchema);
      store.database_.Execute(kSharpnessSchema);
      store.database_.Execute(kConditionSchema);
      store.database_.Execute(kClassSchema);
      store.database_.Prepare("INSERT INTO meta VALUES ('schema_version', ?), ('written_by', ?)")
          .Bind(fmt::format("{}", kSchemaVersion))
          .Bind(fmt::format("steadfast {}", Version()))
          .Run();
    }
    transaction.Commit();
  }
  store.CheckSchema();
  store.Upgrade();
  return store;
}

Store Store::OpenForReading(const std::filesystem::path& path) {
  Store store(path, Database::Mode::kReadOnly);
  store.CheckSchema();
  return store;
}

Store Store::OpenForWriting(const std::filesystem::path& path) {
  Store store(path, Database::Mode::kReadWrite);
  store.CheckSchema();
  store.database_.Execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;");
  store.Upgrade();
  return store;
}

// A store of an earlier schema version gets the tables that came later.
void Store::Upgrade() {
  Transaction transaction(database_);
  auto version = database_.Prepare("SELECT value FROM meta WHERE key = 'schema_version'");
  if (!version.Step() || version.Text(0) == fmt::format("{}", kSchemaVersion)) return;
  if (!HasTable("sweeps")) database_.Execute(kSweepSchema);
  if (!HasTable("sharpness")) database_.Execute(kSharpnessSchema);
  if (!HasTable("conditions")) {
    database_.Execute(kConditionSchema);
    const nlohmann::json shared = settings();
    if (!shared.is_null()) {
      // What an earlier version kept once for all trials of the store.
      const int64_t condition = AddCondition(ConditionOfSettings(shared));
      database_.Prepare("UPDATE trials SET condition = ?").Bind(condition).Run();
    }
  }
  if (!HasTable("classes")) database_.Execute(kClassSchema);
  database_.Prepare("UPDATE meta SET value = ? WHERE key = 'schema_version'")
      .Bind(fmt::format("{}", kSchemaVersion))
      .Run();
  version.Run();
  transaction.Commit();
}

bool Store::HasColumn(const char* table, const char* column) const {
  auto found = database_.Prepare("SELECT count(*) FROM pragma_table_info(?) WHERE name = ?");
  found.Bind(std::string_view(table)).Bind(std::string_view(column));
  return found.Step() && found.Int(0) > 0;
}

bool Store::HasTable(const char* name) const {
  auto tables = database_.Prepare("SELECT count(*) FROM sqlite_master WHERE name = ?");
  tables.Bind(std::string_view(name));
  return tables.Step() && tables.Int(0) > 0;
}

bool Store::HasTables() const {
  auto tables = database_.Prepare("SELECT count(*) FROM sqlite_master WHERE type = 'table'");
  return tables.Step() && tables.Int(0) > 0;
}

void Store::CheckSchema() {
  if (!HasTable("meta")) throw InputError(fmt::format("{}: is a database, but is not a Steadfast store", path_));
  auto version = database_.Prepare("SELECT value FROM meta WHERE key = 'schema_version'");
  const std::string found = version.Step() ? version.Text(0) : "none";
  if (found != fmt::format("{}", kSchemaVersion) && found != "1" && found != "2" && found != "3" && found != "4") {
    throw InputError(fmt::format(
        "{}: has schema version {}, and this program reads version {}; use the version of Steadfast that wrote it",
        path_, found, kSchemaVersion));
  }
}

nlohmann::json Store::settings() const {
  auto statement = database_.Prepare("SELECT value FROM meta WHERE key = 'settings'");
  if (!statement.Step()) return {};
  return ParseStored(statement.Text(0), "settings");
}

nlohmann::json Store::ParseStored(const std::string& text, const char* what) const {
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) throw InputError(fmt::format("{}: its {} are damaged", path_, what));
  return json;
}

void Store::ClaimSettings(const std::function<nlohmann::json(const nlohmann::json& there)>& decide) {
  Transaction transaction(database_);
  const nlohmann::json there = settings(), claimed = decide(there);
  if (!(claimed == there)) {
    database_.Prepare("INSERT INTO meta VALUES ('settings', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .Bind(claimed.dump())
        .Run();
  }
  transaction.Commit();
}

int64_t Store::AddCondition(const nlohmann::json& condition) {
  const std::string text = condition.dump();
  database_.Prepare("INSERT OR IGNORE INTO conditions (condition) VALUES (?)").Bind(text).Run();
  auto found = database_.Prepare("SELECT id FROM conditions WHERE condition = ?");
  found.Bind(text);
  found.Step();
  return found.Int(0);
}

std::map<int64_t, nlohmann::json> Store::Conditions() const {
  std::map<int64_t, nlohmann::json> conditions;
  if (!HasTable("conditions")) return conditions;  // schema versions 1 to 3
  auto row = database_.Prepare("SELECT id, condition FROM conditions");
  while (row.Step()) conditions.emplace(row.Int(0), ParseStored(row.Text(1), "conditions of trials"));
  return conditions;
}

void Store::CheckLabel(const std::string& label, const std::string& sha256) const {
  auto found = database_.Prepare("SELECT sha256 FROM models WHERE label = ?");
  found.Bind(label);
  if (!found.Step() || found.Text(0) == sha256) return;
  throw InputError(fmt::format(
      "{}: holds another model named {} (hash {}…, the file's is {}…); name another store, or rename the model", path_,
      label, found.Text(0).substr(0, 12), sha256.substr(0, 12)));
}

int64_t Store::AddModel(const ModelRow& m) {
  Transaction transaction(database_);
  CheckLabel(m.label, m.sha256);
  auto found = database_.Prepare(
      "SELECT id, sha256, images, correct, margin_sum, loss_sum, reading FROM models WHERE label = ?");
  found.Bind(m.label);
  if (found.Step()) {
    if (found.Int(6) < m.reading && found.Int(2) == m.images) {
      const int64_t id = found.Int(0);
      ReplaceModel(id, m);
      transaction.Commit();
      return id;
    }
    if (found.Int(2) != m.images || found.Int(3) != m.correct || found.Int(4) != m.margin_sum ||
        found.Int(5) != m.loss_sum) {
      throw InputError(fmt::format(
          "{}: holds {} as evaluated on other images ({} of {} right without faults there, {} of {} here); name "
          "another store",
          path_, m.label, found.Int(3), found.Int(2), m.correct, m.images));
    }
    return found.Int(0);
  }
  database_
      .Prepare(
          "INSERT INTO models (label, sha256, path, network, recipe, recipe_json, seed, rho, lambda, weight_bits, "
          "activation_bits, layout, memory_bits, macs, images, correct, margin_sum, loss_sum, zero_share, "
          "sharpness_json, "
          "accuracy_json, reading) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
      .Bind(m.label)
      .Bind(m.sha256)
      .Bind(m.path)
      .Bind(m.network)
      .Bind(m.recipe)
      .Bind(m.recipe_json)
      .Bind(m.seed)
      .Bind(m.rho)
      .Bind(m.lambda)
      .Bind(m.weight_bits)
      .Bind(m.activation_bits)
      .Bind(m.layout)
      .Bind(m.memory_bits)
      .Bind(m.macs)
      .Bind(m.images)
      .Bind(m.correct)
      .Bind(m.margin_sum)
      .Bind(m.loss_sum)
      .Bind(m.zero_share)
      .Bind(m.sharpness_json)
      .Bind(m.accuracy_json)
      .Bind(m.reading)
      .Run();
  const int64_t id = database_.last_insert_id();
  AddLayersAndEpochs(id, m);
  transaction.Commit();
  return id;
}

// Replaces what older rules read from the file.
void Store::ReplaceModel(int64_t id, const ModelRow& m) {
  database_
      .Prepare(
          "UPDATE models SET path = ?, layout = ?, memory_bits = ?, macs = ?, images = ?, correct = ?, margin_sum = ?, "
          "loss_sum = ?, reading = ? WHERE id = ?")
      .Bind(m.path)
      .Bind(m.layout)
      .Bind(m.memory_bits)
      .Bind(m.macs)
      .Bind(m.images)
      .Bind(m.correct)
      .Bind(m.margin_sum)
      .Bind(m.loss_sum)
      .Bind(m.reading)
      .Bind(id)
      .Run();
  // What earlier arithmetic measured is not evidence beside what this one measures.
  database_.Prepare("DELETE FROM sharpness WHERE model = ?").Bind(id).Run();
  database_.Prepare("DELETE FROM latencies WHERE model = ?").Bind(id).Run();
  database_.Prepare("DELETE FROM classes WHERE model = ?").Bind(id).Run();
  if (HasTable("bank_maps")) database_.Prepare("DELETE FROM bank_maps WHERE model = ?").Bind(id).Run();
  database_.Prepare("DELETE FROM layers WHERE model = ?").Bind(id).Run();
  database_.Prepare("DELETE FROM training_epochs WHERE model = ?").Bind(id).Run();
  AddLayersAndEpochs(id, m);
}

void Store::AddLayersAndEpochs(int64_t id, const ModelRow& m) {
  auto layer = database_.Prepare("INSERT INTO layers VALUES (?,?,?,?,?,?,?,?,?,?,?)");
  for (size_t i = 0; i < m.layers.size(); ++i) {
    const LayerRow& l = m.layers[i];
    layer.Bind(id)
        .Bind(static_cast<int64_t>(i))
        .Bind(l.name)
        .Bind(l.kind)
        .Bind(l.output_shape)
        .Bind(l.weight_shape)
        .Bind(l.weight_bits)
        .Bind(l.activation_bits)
        .Bind(l.macs)
        .Bind(l.memory_bits)
        .Bind(l.zero_share)
        .Run();
  }
  auto epoch = database_.Prepare("INSERT INTO training_epochs VALUES (?,?,?,?,?,?)");
  for (const EpochRow& e : m.epochs) {
    epoch.Bind(id)
        .Bind(e.epoch)
        .Bind(e.loss)
        .Bind(e.validation_loss)
        .Bind(e.validation_accuracy)
        .Bind(e.learning_rate)
        .Run();
  }
}

std::vector<ModelRow> Store::Models() const {
  std::vector<ModelRow> models;
  auto row = database_.Prepare(fmt::format(
      "SELECT id, label, sha256, path, network, recipe, recipe_json, seed, rho, lambda, weight_bits, activation_bits, "
      "layout, "
      "memory_bits, macs, images, correct, margin_sum, loss_sum, zero_share, sharpness_json, accuracy_json, {} FROM "
      "models ORDER BY id",
      HasColumn("models", "reading") ? "reading" : "1"));
  while (row.Step()) {
    ModelRow m;
    m.id = row.Int(0);
    m.label = row.Text(1);
    m.sha256 = row.Text(2);
    m.path = row.Text(3);
    m.network = row.Text(4);
    m.recipe = row.Text(5);
    m.recipe_json = row.Text(6);
    m.seed = row.Int(7);
    m.rho = row.Real(8);
    m.lambda = row.Real(9);
    m.weight_bits = row.Int(10);
    m.activation_bits = row.Int(11);
    m.layout = row.Text(12);
    m.memory_bits = row.Int(13);
    m.macs = row.Int(14);
    m.images = row.Int(15);
    m.correct = row.Int(16);
    m.margin_sum = row.Int(17);
    m.loss_sum = row.Int(18);
    m.zero_share = OptionalReal(row, 19);
    m.sharpness_json = row.Text(20);
    m.accuracy_json = row.Text(21);
    m.reading = row.Int(22);
    models.push_back(std::move(m));
  }
  for (ModelRow& m : models) {
    auto layer = database_.Prepare(
        "SELECT name, kind, output_shape, weight_shape, weight_bits, activation_bits, macs, memory_bits, zero_share "
        "FROM layers WHERE model = ? ORDER BY position");
    layer.Bind(m.id);
    while (layer.Step()) {
      m.layers.push_back({layer.Text(0), layer.Text(1), layer.Text(2), layer.Text(3), layer.Int(4), layer.Int(5),
                          layer.Int(6), layer.Int(7), OptionalReal(layer, 8)});
    }
    auto epoch = database_.Prepare(
        "SELECT epoch, loss, validation_loss, validation_accuracy, learning_rate FROM training_epochs WHERE model = ? "
        "ORDER BY epoch");
    epoch.Bind(m.id);
    while (epoch.Step()) m.epochs.push_back({epoch.Int(0), epoch.Real(1), epoch.Real(2), epoch.Real(3), epoch.Real(4)});
  }
  return models;
}

int64_t Store::BeginRun(const std::string& command, const nlohmann::json& settings) {
  database_.Prepare("INSERT INTO runs (started, command, settings, version, machine) VALUES (?,?,?,?,?)")
      .Bind(Now())
      .Bind(command)
      .Bind(settings.dump())
      .Bind(std::string_view(Version()))
      .Bind(MachineDescription())
      .Run();
  return database_.last_insert_id();
}

void Store::FinishRun(int64_t run) {
  database_.Prepare("UPDATE runs SET finished = ? WHERE id = ?").Bind(Now()).Bind(run).Run();
  database_.FoldWriteAheadLog();
}

bool Store::HasTrials() const {
  return database_.Prepare("SELECT 1 FROM trials LIMIT 1").Step();
}

void Store::AddTrials(int64_t run, const std::vector<TrialRow>& trials) {
  if (trials.empty()) return;
  Transaction transaction(database_);
  auto insert = database_.Prepare(fmt::format(
      "INSERT OR IGNORE INTO trials (run, {}, condition) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", kTrialColumns));
  for (const TrialRow& t : trials) {
    insert.Bind(run)
        .Bind(t.id)
        .Bind(t.model)
        .Bind(t.fault)
        .Bind(t.encoding)
        .Bind(t.rate)
        .Bind(t.trial)
        .Bind(t.faulty_bits)
        .Bind(t.changed_codes)
        .Bind(t.images)
        .Bind(t.correct)
        .Bind(t.changed)
        .Bind(t.broken)
        .Bind(t.repaired)
        .Bind(t.margin_sum)
        .Bind(t.loss_sum)
        .BindReference(t.condition)
        .Run();
  }
  transaction.Commit();
}

std::string Store::TrialColumns() const {
  return fmt::format("{}, {}", kTrialColumns, HasColumn("trials", "condition") ? "condition" : "NULL");
}

std::vector<TrialRow> Store::AllTrials() const {
  std::vector<TrialRow> trials;
  auto row = database_.Prepare(
      fmt::format("SELECT {} FROM trials ORDER BY model, fault, encoding, rate, trial", TrialColumns()));
  while (row.Step()) trials.push_back(ReadTrial(row));
  return trials;
}

std::function<bool(const TrialRow&)> Store::IsStale() const {
  std::map<int64_t, int64_t> reading_of_model, reading_of_condition;
  for (const ModelRow& model : Models()) reading_of_model[model.id] = model.reading;
  for (const auto& [id, condition] : Conditions()) reading_of_condition[id] = ReadingOf(condition);
  return [=](const TrialRow& trial) {
    const auto model = reading_of_model.find(trial.model);
    const auto condition = reading_of_condition.find(trial.condition);
    const int64_t reading = condition == reading_of_condition.end() ? 1 : condition->second;
    return model != reading_of_model.end() && reading < model->second;
  };
}

std::vector<TrialRow> Store::Trials() const {
  std::vector<TrialRow> trials = AllTrials();
  std::erase_if(trials, IsStale());
  return trials;
}

int64_t Store::StaleTrials() const {
  const std::vector<TrialRow> trials = AllTrials();
  return std::count_if(trials.begin(), trials.end(), IsStale());
}

std::optional<TrialRow> Store::Trial(const std::string& id) const {
  auto row = database_.Prepare(fmt::format("SELECT {} FROM trials WHERE id = ?", TrialColumns()));
  row.Bind(id);
  if (!row.Step()) return std::nullopt;
  return ReadTrial(row);
}

void Store::AddFaultList(const std::string& name, const std::string& csv) {
  database_.Prepare("INSERT OR IGNORE INTO fault_lists VALUES (?, ?)").Bind(name).Bind(csv).Run();
}

std::optional<std::string> Store::FaultList(const std::string& name) const {
  auto row = database_.Prepare("SELECT csv FROM fault_lists WHERE name = ?");
  row.Bind(name);
  if (!row.Step()) return std::nullopt;
  return row.Text(0);
}

int64_t Store::AddSweep(const SweepRow& s) {
  Transaction transaction(database_);
  for (const SweepRow& other : AllSweeps()) {
    SweepRow same = s;
    same.id = other.id;
    same.dataset = other.dataset;  // the hash tells
    same.arrays = other.arrays;
    if (same != other) continue;
    std::vector<SweptArray> arrays = other.arrays;  // of all that this sweep was ever asked for
    for (const SweptArray& array : s.arrays) {
      const auto found =
          std::find_if(arrays.begin(), arrays.end(), [&](const auto& one) { return one.tensor == array.tensor; });
      if (found == arrays.end())
        arrays.push_back(array);
      else
        *found = array;
    }
    if (other.arrays != arrays) AddSweptArrays(other.id, arrays);
    transaction.Commit();
    return other.id;
  }
  database_
      .Prepare(
          "INSERT INTO sweeps (model, kind, encoding, word_bits, images, dataset, data_sha256, margins, arithmetic) "
          "VALUES (?,?,?,?,?,?,?,?,?)")
      .Bind(s.model)
      .Bind(s.kind)
      .Bind(s.encoding)
      .Bind(s.word_bits)
      .Bind(s.images)
      .Bind(s.dataset)
      .Bind(s.data_sha256)
      .Bind(int64_t{s.margins})
      .Bind(s.arithmetic)
      .Run();
  const int64_t id = database_.last_insert_id();
  AddSweptArrays(id, s.arrays);
  transaction.Commit();
  return id;
}

void Store::AddSweptArrays(int64_t sweep, const std::vector<SweptArray>& arrays) {
  if (!HasTable("swept_arrays")) database_.Execute(kSweptArraySchema);
  database_.Prepare("DELETE FROM swept_arrays WHERE sweep = ?").Bind(sweep).Run();
  int64_t position = 0;
  for (const SweptArray& array : arrays) {
    database_.Prepare("INSERT INTO swept_arrays VALUES (?,?,?,?,?,?)")
        .Bind(sweep)
        .Bind(position++)
        .Bind(array.tensor)
        .Bind(array.role)
        .Bind(array.faults)
        .Bind(array.place.dump())
        .Run();
  }
}

std::vector<SweepRow> Store::Sweeps() const {
  std::map<int64_t, std::string> arithmetic_of_model;
  for (const ModelRow& model : Models()) arithmetic_of_model[model.id] = ArithmeticOf(model.reading);
  std::vector<SweepRow> sweeps = AllSweeps();
  std::erase_if(sweeps, [&](const SweepRow& s) { return s.arithmetic != arithmetic_of_model[s.model]; });
  return sweeps;
}

std::vector<SweepRow> Store::AllSweeps() const {
  std::vector<SweepRow> sweeps;
  if (!HasTable("sweeps")) return sweeps;  // schema version 1
  auto row = database_.Prepare(
      "SELECT id, model, kind, encoding, word_bits, images, dataset, data_sha256, margins, arithmetic FROM sweeps "
      "ORDER BY id");
  while (row.Step()) {
    sweeps.push_back({row.Int(0),
                      row.Int(1),
                      row.Text(2),
                      row.Text(3),
                      row.Int(4),
                      row.Int(5),
                      row.Text(6),
                      row.Text(7),
                      row.Int(8) != 0,
                      row.Text(9),
                      {}});
  }
  if (!HasTable("swept_arrays")) return sweeps;
  for (SweepRow& sweep : sweeps) {
    auto array =
        database_.Prepare("SELECT tensor, role, faults, place FROM swept_arrays WHERE sweep = ? ORDER BY position");
    array.Bind(sweep.id);
    while (array.Step())
      sweep.arrays.push_back(
          {array.Text(0), array.Text(1), array.Int(2), ParseStored(array.Text(3), "the place of a swept array")});
  }
  return sweeps;
}

void Store::AddSweepPart(int64_t run, int64_t sweep, const SweepPart& part) {
  std::string bytes;
  bytes.reserve(part.faults.size() * kSweepFaultBytes);
  for (const SweepPart::Fault& f : part.faults) {
    AppendInteger(bytes, f.changed);
    AppendInteger(bytes, f.broken);
    AppendInteger(bytes, f.repaired);
    AppendInteger(bytes, f.margin_delta);
    AppendInteger(bytes, f.held);
  }
  const auto count = static_cast<int64_t>(part.faults.size());
  Transaction transaction(database_);
  // A program that divided the sweep into other parts may have left some of these faults.
  database_.Prepare("DELETE FROM sweep_parts WHERE sweep = ? AND tensor = ? AND first < ? AND first + count > ?")
      .Bind(sweep)
      .Bind(part.tensor)
      .Bind(part.first + count)
      .Bind(part.first)
      .Run();
  database_.Prepare("INSERT INTO sweep_parts VALUES (?,?,?,?,?,?,?,?)")
      .Bind(sweep)
      .Bind(part.tensor)
      .Bind(part.first)
      .Bind(count)
      .Bind(part.bits)
      .Bind(part.codes)
      .Bind(run)
      .BindBytes(bytes)
      .Run();
  transaction.Commit();
}

std::vector<SweepPart> Store::SweepParts(int64_t sweep) const {
  std::vector<SweepPart> parts;
  auto row = database_.Prepare(
      "SELECT tensor, bits, codes, first, count, faults FROM sweep_parts WHERE sweep = ? ORDER BY tensor, first");
  row.Bind(sweep);
  while (row.Step()) {
    SweepPart part{row.Text(0), row.Int(1), row.Int(2), row.Int(3), {}};
    const std::string bytes = row.Bytes(5);
    if (bytes.size() != static_cast<size_t>(row.Int(4)) * kSweepFaultBytes)
      throw InputError(fmt::format("{}: a part of a sweep is damaged ({}, fault {})", path_, part.tensor, part.first));
    for (size_t at = 0; at < bytes.size();) {
      SweepPart::Fault f;
      f.changed = ReadInteger<uint32_t>(bytes, at);
      f.broken = ReadInteger<uint32_t>(bytes, at);
      f.repaired = ReadInteger<uint32_t>(bytes, at);
      f.margin_delta = ReadInteger<int64_t>(bytes, at);
      f.held = ReadInteger<uint8_t>(bytes, at);
      part.faults.push_back(f);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

void Store::AddSharpness(int64_t run, const SharpnessRow& s) {
  Transaction transaction(database_);
  database_.Prepare("DELETE FROM sharpness WHERE model = ? AND key = ?").Bind(s.model).Bind(s.key).Run();
  database_
      .Prepare(
          "INSERT INTO sharpness (model, run, key, settings, dataset, data_sha256, images, loss, accuracy) "
          "VALUES (?,?,?,?,?,?,?,?,?)")
      .Bind(s.model)
      .Bind(run)
      .Bind(s.key)
      .Bind(s.settings)
      .Bind(s.dataset)
      .Bind(s.data_sha256)
      .Bind(s.images)
      .Bind(s.loss)
      .Bind(s.accuracy)
      .Run();
  const int64_t id = database_.last_insert_id();
  int64_t position = 0;
  auto value = database_.Prepare("INSERT INTO sharpness_values VALUES (?,?,?,?,?,?,?)");
  for (const auto& v : s.values)
    value.Bind(id).Bind(position++).Bind(v.measure).Bind(v.layer).Bind(v.parameter).Bind(v.value).Bind(v.error).Run();
  auto node = database_.Prepare("INSERT INTO sharpness_density VALUES (?,?,?,?,?)");
  for (const auto& n : s.density) node.Bind(id).Bind(position++).Bind(n.probe).Bind(n.value).Bind(n.weight).Run();
  auto point = database_.Prepare("INSERT INTO sharpness_points VALUES (?,?,?,?,?,?,?)");
  for (const auto& p : s.points)
    point.Bind(id).Bind(position++).Bind(p.surface).Bind(p.x).Bind(p.y).Bind(p.loss).Bind(p.accuracy).Run();
  transaction.Commit();
}

std::vector<SharpnessRow> Store::Sharpness() const {
  std::vector<SharpnessRow> rows;
  if (!HasTable("sharpness")) return rows;  // schema versions 1 and 2
  auto row = database_.Prepare(
      "SELECT id, model, key, settings, dataset, data_sha256, images, loss, accuracy FROM sharpness ORDER BY model, "
      "id");
  while (row.Step()) {
    rows.push_back({row.Int(0),
                    row.Int(1),
                    row.Text(2),
                    row.Text(3),
                    row.Text(4),
                    row.Text(5),
                    row.Int(6),
                    RealOrNan(row, 7),
                    RealOrNan(row, 8),
                    {},
                    {},
                    {}});
  }
  for (SharpnessRow& s : rows) {
    auto value = database_.Prepare(
        "SELECT measure, layer, parameter, value, error FROM sharpness_values WHERE sharpness = ? ORDER BY position");
    value.Bind(s.id);
    while (value.Step())
      s.values.push_back({value.Text(0), value.Text(1), value.Real(2), RealOrNan(value, 3), RealOrNan(value, 4)});
    auto node =
        database_.Prepare("SELECT probe, value, weight FROM sharpness_density WHERE sharpness = ? ORDER BY position");
    node.Bind(s.id);
    while (node.Step()) s.density.push_back({node.Int(0), RealOrNan(node, 1), RealOrNan(node, 2)});
    auto point = database_.Prepare(
        "SELECT surface, x, y, loss, accuracy FROM sharpness_points WHERE sharpness = ? ORDER BY position");
    point.Bind(s.id);
    while (point.Step()) {
      s.points.push_back({point.Text(0), point.Real(1), point.Real(2), RealOrNan(point, 3), RealOrNan(point, 4)});
    }
  }
  return rows;
}

void Store::SetLatency(int64_t run, int64_t model, const nlohmann::json& latency) {
  database_.Prepare("INSERT OR REPLACE INTO latencies VALUES (?,?,?)").Bind(model).Bind(run).Bind(latency.dump()).Run();
}

void Store::SetClasses(int64_t run, int64_t model, const nlohmann::json& classes) {
  database_.Prepare("INSERT OR REPLACE INTO classes VALUES (?,?,?)").Bind(model).Bind(run).Bind(classes.dump()).Run();
}

void Store::SetBankMap(int64_t run, int64_t model, const nlohmann::json& map) {
  Transaction transaction(database_);
  if (!HasTable("bank_maps")) database_.Execute(kBankMapSchema);
  database_.Prepare("INSERT OR REPLACE INTO bank_maps VALUES (?,?,?)").Bind(model).Bind(run).Bind(map.dump()).Run();
  transaction.Commit();
}

std::vector<std::pair<int64_t, nlohmann::json>> Store::DocumentsOf(const char* table, const char* column) const {
  std::vector<std::pair<int64_t, nlohmann::json>> documents;
  if (!HasTable(table)) return documents;
  auto row = database_.Prepare(fmt::format("SELECT model, {} FROM {} ORDER BY model", column, table));
  while (row.Step()) documents.emplace_back(row.Int(0), ParseStored(row.Text(1), table));
  return documents;
}
std::vector<std::pair<int64_t, nlohmann::json>> Store::Latencies() const {
  return DocumentsOf("latencies", "latency");
}
std::vector<std::pair<int64_t, nlohmann::json>> Store::Classes() const {
  return DocumentsOf("classes", "classes");
}

std::vector<std::pair<int64_t, nlohmann::json>> Store::BankMaps() const {
  return DocumentsOf("bank_maps", "map");
}

std::vector<RunRow> Store::Runs() const {
  std::vector<RunRow> runs;
  auto row =
      database_.Prepare("SELECT id, started, finished, command, settings, version, machine FROM runs ORDER BY id");
  while (row.Step()) {
    runs.push_back({row.Int(0), row.Text(1), row.Text(2), row.Text(3), row.Text(4), row.Text(5), row.Text(6)});
  }
  return runs;
}

void Store::SetClaims(const std::vector<ClaimRow>& claims) {
  Transaction transaction(database_);
  database_.Execute("DELETE FROM claims");
  auto insert = database_.Prepare("INSERT INTO claims VALUES (?,?,?,?,?,?,?)");
  for (const ClaimRow& c : claims) {
    insert.Bind(c.id).Bind(c.verdict).Bind(c.effect).Bind(c.unit).Bind(c.low).Bind(c.high).Bind(c.detail_json).Run();
  }
  transaction.Commit();
}

std::vector<ClaimRow> Store::Claims() const {
  std::vector<ClaimRow> claims;
  auto row = database_.Prepare("SELECT id, verdict, unit, effect, low, high, detail FROM claims ORDER BY id");
  while (row.Step())
    claims.push_back({row.Text(0), row.Text(1), row.Text(2), row.Real(3), row.Real(4), row.Real(5), row.Text(6)});
  return claims;
}

std::vector<std::string> Differences(const nlohmann::json& there, const nlohmann::json& here, const std::string& path) {
  std::vector<std::string> differences;
  if (there == here) return differences;
  if (!there.is_object() || !here.is_object()) {
    const auto text = [](const nlohmann::json& json) { return json.is_null() ? std::string("absent") : json.dump(); };
    differences.push_back(fmt::format("{}: {} there, {} here", path, text(there), text(here)));
    return differences;
  }
  nlohmann::json keys = there;
  keys.update(here);
  for (const auto& [key, unused] : keys.items()) {
    const auto deeper = Differences(there.value(key, nlohmann::json()), here.value(key, nlohmann::json()),
                                    path.empty() ? key : path + "." + key);
    differences.insert(differences.end(), deeper.begin(), deeper.end());
  }
  return differences;
}

}  // namespace steadfast::store
