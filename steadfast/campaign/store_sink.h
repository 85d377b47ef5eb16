// Writes trials to a store in groups, from any number of threads; only what is in the store counts as done.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "steadfast/store/store.h"

namespace steadfast::campaign {

class StoreSink {
 public:
  // on_commit: called with the number of rows that have just become safe.
  StoreSink(store::Store& store, int64_t run, std::function<void(int64_t)> on_commit)
      : store_(store), run_(run), on_commit_(std::move(on_commit)), last_commit_(std::chrono::steady_clock::now()) {}

  void Take(store::TrialRow row);
  // Commits what is left. To be called at the end, also of an interrupted campaign.
  void Finish();
  // The rows taken so far, by id.
  const std::map<std::string, store::TrialRow>& rows() const { return rows_; }

 private:
  void Commit();

  store::Store& store_;
  const int64_t run_;
  const std::function<void(int64_t)> on_commit_;
  std::mutex mutex_;
  std::vector<store::TrialRow> pending_;
  std::map<std::string, store::TrialRow> rows_;
  std::chrono::steady_clock::time_point last_commit_;
};

}  // namespace steadfast::campaign
