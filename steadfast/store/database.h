// SQLite with errors as exceptions and statements that close themselves.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
  // Throws IoError where it cannot be opened, InputError where it is no database.
  Database(const std::filesystem::path& path, Mode mode);

  void Execute(const std::string& sql);
  Statement Prepare(std::string_view sql) const { return Statement(database_.get(), sql, path_); }
  int64_t last_insert_id() const { return sqlite3_last_insert_rowid(database_.get()); }

 private:
  std::string path_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
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
