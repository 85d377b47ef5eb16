#include "steadfast/store/database.h"

#include <fmt/format.h>

#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::store {
namespace {

constexpr int kBusyMilliseconds = 30000;

[[noreturn]] void Throw(const std::string& file, int code, const char* message) {
  const std::string text = fmt::format("{}: {}", file, message);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
    throw InputError(text + "; expected a store written by Steadfast");
  throw IoError(text);
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
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &database, flags, nullptr);
  database_.reset(database);
  if (code != SQLITE_OK) Throw(path_, code, database != nullptr ? sqlite3_errmsg(database) : "cannot open");
  sqlite3_busy_timeout(database, kBusyMilliseconds);
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
