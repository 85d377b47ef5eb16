#include "steadfast/campaign/store_sink.h"

namespace steadfast::campaign {
namespace {

constexpr size_t kCommitRows = 64;
constexpr auto kCommitInterval = std::chrono::milliseconds(500);

}  // namespace

void StoreSink::Take(store::TrialRow row) {
  const std::lock_guard lock(mutex_);
  pending_.push_back(std::move(row));
  const auto now = std::chrono::steady_clock::now();
  if (pending_.size() >= kCommitRows || now - last_commit_ >= kCommitInterval) Commit();
}

void StoreSink::Finish() {
  const std::lock_guard lock(mutex_);
  Commit();
}

void StoreSink::Commit() {
  store_.AddTrials(run_, pending_);
  const auto count = static_cast<int64_t>(pending_.size());
  for (store::TrialRow& row : pending_) rows_.emplace(row.id, std::move(row));
  pending_.clear();
  last_commit_ = std::chrono::steady_clock::now();
  on_commit_(count);
}

}  // namespace steadfast::campaign
