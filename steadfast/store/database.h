// SQLite with errors as exceptions and statements that close themselves.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "steadfast/base/file.h"

namespace steadfast::store {

class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql, const std::string& file);

  // Binds the next parameter.
  Statement& Bind(int64_t value);
  Statement& Bind(double value);  // NaN becomes NULL
  Statement& Bind(std::string_view value);
  Statement& Bind(const std::optional<double>& value);
  Statement& BindBytes(std::string_view bytes);
  Statement& BindReference(int64_t id);  // 0 becomes NULL

  // True while there is a row.
  bool Step();
  // Runs to the end and makes the statement ready to be bound again.
  void Run();

  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  double Real(int column) const { return sqlite3_column_double(statement_.get(), column); }
  std::string Text(int column) const;
  std::string Bytes(int column) const;
  bool IsNull(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

 private:
  void Check(int code) const;

  std::string file_;
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement_;
  int next_ = 1;
};

class Database {
 public:
  enum class Mode { kCreate, kReadWrite, kReadOnly };
  // Throws IoError if the file cannot be opened, InputError if it is not a database. A database that is only read may
  // lie in a folder without write permission, even with a write-ahead log beside it from an interrupted run.
  Database(const std::filesystem::path& path, Mode mode);
  ~Database();
  Database(Database&&) noexcept = default;
  Database& operator=(Database&&) noexcept = default;

  // Commits go to a log beside the file from now on.
  void UseWriteAheadLog();
  // Folds the log into the file, which is then complete by itself. If another program has the file open, the log stays,
  // and nothing is lost.
  void FoldWriteAheadLog();

  void Execute(const std::string& sql);
  Statement Prepare(std::string_view sql) const { return Statement(database_.get(), sql, path_); }
  int64_t last_insert_id() const { return sqlite3_last_insert_rowid(database_.get()); }

 private:
  bool Open(const std::string& name, int flags);  // false: a folder that must not be written to is in the way
  void OpenCopy();

  std::string path_;
  std::unique_ptr<TemporaryFolder> copy_;  // where the files had to be copied to be read; goes after database_
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
  bool uses_log_ = false;
};

// Everything done while it lives is committed together by Commit(), or not at all.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) { database_.Execute("BEGIN IMMEDIATE"); }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void Commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace steadfast::store
