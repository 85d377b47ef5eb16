#include "steadfast/store/database.h"

#include <fmt/format.h>

#include <cctype>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "steadfast/base/error.h"

namespace steadfast::store {
namespace {

constexpr int kBusyMilliseconds = 30000;

// A path as SQLite's URIs want it.
std::string UriOf(const std::string& path) {
  std::string uri = "file:";
  for (unsigned char c : path) {
    const bool plain =
        std::isalnum(c) != 0 || std::string_view("/._-~").find(static_cast<char>(c)) != std::string_view::npos;
    uri += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return uri;
}

[[noreturn]] void Throw(const std::string& file, int code, const char* message) {
  const std::string text = fmt::format("{}: {}", file, message);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) throw InputError(text + "; it is not a Steadfast store");
  throw IoError(text);
}

// What changes when a file is written to: its size and the time of its last change.
std::pair<uintmax_t, std::filesystem::file_time_type> StampOf(const std::string& path) {
  std::error_code error;  // a file that is not there has a stamp too
  const uintmax_t size = std::filesystem::file_size(path, error);
  return {size, std::filesystem::last_write_time(path, error)};
}

}  // namespace

Statement::Statement(sqlite3* database, std::string_view sql, const std::string& file)
    : file_(file), statement_(nullptr, sqlite3_finalize) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) Throw(file_, code, sqlite3_errmsg(database));
  statement_.reset(statement);
}

void Statement::Check(int code) const {
  if (code != SQLITE_OK) Throw(file_, code, sqlite3_errmsg(sqlite3_db_handle(statement_.get())));
}

Statement& Statement::Bind(int64_t value) {
  Check(sqlite3_bind_int64(statement_.get(), next_++, value));
  return *this;
}
Statement& Statement::Bind(double value) {
  Check(std::isnan(value) ? sqlite3_bind_null(statement_.get(), next_++)
                          : sqlite3_bind_double(statement_.get(), next_++, value));
  return *this;
}
Statement& Statement::Bind(std::string_view value) {
  Check(sqlite3_bind_text(statement_.get(), next_++, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
  return *this;
}
Statement& Statement::BindBytes(std::string_view bytes) {
  Check(sqlite3_bind_blob64(statement_.get(), next_++, bytes.data(), bytes.size(), SQLITE_TRANSIENT));
  return *this;
}
Statement& Statement::BindReference(int64_t id) {
  Check(id == 0 ? sqlite3_bind_null(statement_.get(), next_++) : sqlite3_bind_int64(statement_.get(), next_++, id));
  return *this;
}
Statement& Statement::Bind(const std::optional<double>& value) {
  return Bind(value.value_or(std::nan("")));
}

bool Statement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) Check(code);
  return false;
}

void Statement::Run() {
  while (Step()) {
  }
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  next_ = 1;
}

std::string Statement::Text(int column) const {
  const auto* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return "";
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::string Statement::Bytes(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  return bytes == nullptr ? ""
                          : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

Database::Database(const std::filesystem::path& path, Mode mode)
    : path_(path.string()), database_(nullptr, sqlite3_close) {
  if (mode == Mode::kCreate && path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) throw IoError(fmt::format("{}: cannot create folder: {}", path.parent_path().string(), error.message()));
  }
  const int flags = mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY
                    : mode == Mode::kCreate ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                            : SQLITE_OPEN_READWRITE;
  if (Open(path_, flags)) return;
  // The folder cannot be written to: without a log the file is complete by itself; with one, a copy is read.
  std::error_code error;
  const auto log = std::filesystem::file_size(path_ + "-wal", error);
  if (error || log == 0) {
    if (Open(UriOf(path_) + "?immutable=1", flags | SQLITE_OPEN_URI)) return;
  } else {
    OpenCopy();
    return;
  }
  Throw(path_, SQLITE_CANTOPEN, "cannot be opened in a folder that must not be written to");
}

Database::~Database() {
  if (database_ != nullptr && uses_log_) FoldWriteAheadLog();  // of an interrupted run too
}

bool Database::Open(const std::string& name, int flags) {
  sqlite3* database = nullptr;
  int code = sqlite3_open_v2(name.c_str(), &database, flags, nullptr);
  database_.reset(database);
  if (code != SQLITE_OK) Throw(path_, code, database != nullptr ? sqlite3_errmsg(database) : "cannot open");
  sqlite3_busy_timeout(database, kBusyMilliseconds);
  if ((flags & SQLITE_OPEN_READONLY) == 0) return true;
  code = sqlite3_exec(database, "SELECT count(*) FROM sqlite_master", nullptr, nullptr, nullptr);
  return code != SQLITE_CANTOPEN && (code & 0xFF) != SQLITE_READONLY;
}

void Database::OpenCopy() {
  copy_ = std::make_unique<TemporaryFolder>();
  const std::string file = copy_->path() / "store";
  const std::string log = path_ + "-wal";
  std::error_code error;
  // A program that is writing may move pages from the log into the file: both copies must be of the same moment.
  for (int tries = 0;; ++tries) {
    const auto before = std::pair(StampOf(path_), StampOf(log));
    std::filesystem::remove(file);
    std::filesystem::remove(file + "-wal");
    std::filesystem::copy_file(path_, file, error);
    if (!error && std::filesystem::exists(log)) std::filesystem::copy_file(log, file + "-wal", error);
    if (error)
      throw IoError(fmt::format("{}: cannot be copied to {}: {}", path_, copy_->path().string(), error.message()));
    if (before == std::pair(StampOf(path_), StampOf(log))) break;
    constexpr int kTries = 50;
    if (tries == kTries)
      throw IoError(fmt::format("{}: another program keeps writing to it: try again when that has ended", path_));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::filesystem::permissions(file, std::filesystem::perms::owner_all, error);
  Open(file, SQLITE_OPEN_READWRITE);
}

void Database::UseWriteAheadLog() {
  // When programs start together on a new file, SQLite lets one of them change the mode and refuses the others at once.
  for (int tries = 0;; ++tries) {
    try {
      Execute("PRAGMA journal_mode=WAL");
      uses_log_ = true;
      return;
    } catch (const IoError&) {
      constexpr int kTries = 600;
      if (tries == kTries || (sqlite3_errcode(database_.get()) & 0xFF) != SQLITE_BUSY) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

void Database::FoldWriteAheadLog() {
  sqlite3_busy_timeout(database_.get(), 0);
  try {
    Execute("PRAGMA journal_mode=DELETE");
  } catch (const Error&) {
    // Another program has the file open.
  }
  sqlite3_busy_timeout(database_.get(), kBusyMilliseconds);
}

void Database::Execute(const std::string& sql) {
  char* message = nullptr;
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, &message);
  const std::unique_ptr<char, void (*)(void*)> owner(message, sqlite3_free);
  if (code != SQLITE_OK) Throw(path_, code, message != nullptr ? message : sqlite3_errmsg(database_.get()));
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.Execute("ROLLBACK");
  } catch (const Error&) {
    // Already unwinding; SQLite rolls an open transaction back when the database closes.
  }
}

void Transaction::Commit() {
  database_.Execute("COMMIT");
  open_ = false;
}

}  // namespace steadfast::store
