// Several models at once, each at its share of the rate; a model of which only some cells count; and one that is drawn
// anew for each image.
#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

// Parts are independent: each has a key of its own, the first the trial's.
PhiloxKey KeyOfPart(PhiloxKey key, size_t part) {
  constexpr uint32_t kOdd = 0x9E3779B9;
  return {key[0], key[1] ^ kOdd * static_cast<uint32_t>(part)};
}

class Mixture final : public FaultProcess {
 public:
  explicit Mixture(std::vector<std::pair<double, FaultModel>> parts) : parts_(std::move(parts)) {}
  std::string text() const override {
    std::vector<std::string> texts;
    for (const auto& [share, model] : parts_)
      texts.push_back(fmt::format("{}*{}", FormatShortest(share), NameOf(model)));
    return fmt::format("{}", fmt::join(texts, "+"));
  }
  bool sees_chip() const override {
    for (const auto& [share, model] : parts_) {
      if (model.process().sees_chip()) return true;
    }
    return false;
  }
  bool takes_rate() const override {
    for (const auto& [share, model] : parts_) {
      if (model.process().takes_rate()) return true;
    }
    return false;
  }
  std::vector<std::pair<std::string, std::string>> tables() const override {
    std::vector<std::pair<std::string, std::string>> all;
    for (const auto& [share, model] : parts_) {
      for (auto& table : model.process().tables()) all.push_back(std::move(table));
    }
    return all;
  }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    std::vector<FaultMap> maps;
    for (size_t p = 0; p < parts_.size(); ++p)
      maps.push_back(parts_[p].second.process().Sample(target, KeyOfPart(key, p), trial, parts_[p].first * rate));
    return Overlaid(std::move(maps));
  }
  void Check(const Target& target) const override {
    for (const auto& [share, model] : parts_) model.process().Check(target);
  }
  bool is_transient() const override {
    for (const auto& [share, model] : parts_) {
      if (model.process().is_transient()) return true;
    }
    return false;
  }
  void SampleImages(const Target& target, PhiloxKey key, uint32_t trial, double rate, ImageRange images,
                    const TakeMap& take) const override {
    std::vector<std::vector<FaultMap>> maps(static_cast<size_t>(images.count));  // [image of the range][part]
    for (size_t p = 0; p < parts_.size(); ++p)
      parts_[p].second.process().SampleImages(
          target, KeyOfPart(key, p), trial, parts_[p].first * rate, images, [&](int64_t image, FaultMap map) {
            maps[static_cast<size_t>(image - images.first)].push_back(std::move(map));
          });
    for (int64_t i = 0; i < images.count; ++i)
      take(images.first + i, Overlaid(std::move(maps[static_cast<size_t>(i)])));
  }

 private:
  std::vector<std::pair<double, FaultModel>> parts_;
};

// Reads that are upset: what a cell gives while one image is computed. Each image has a key of its own.
class Transient final : public FaultProcess {
 public:
  explicit Transient(FaultModel model) : model_(std::move(model)) {}
  std::string text() const override { return fmt::format("transient:{}", NameOf(model_)); }
  bool is_transient() const override { return true; }
  void Check(const Target& target) const override { model_.process().Check(target); }
  bool sees_chip() const override { return model_.process().sees_chip(); }
  bool takes_rate() const override { return model_.process().takes_rate(); }
  std::vector<std::pair<std::string, std::string>> tables() const override { return model_.process().tables(); }
  FaultMap Sample(const Target&, PhiloxKey, uint32_t, double) const override { return {}; }
  void SampleImages(const Target& target, PhiloxKey key, uint32_t trial, double rate, ImageRange images,
                    const TakeMap& take) const override {
    constexpr uint32_t kImages = 0x494D4147;
    Target small = target;
    small.many_maps = true;
    for (int64_t i = images.first; i < images.first + images.count; ++i) {
      const auto random = Philox4x32({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), kImages, 0}, key);
      take(i, model_.process().Sample(small, {random[0], random[1]}, trial, rate));
    }
  }

 private:
  FaultModel model_;
};

class Targeted final : public FaultProcess {
 public:
  Targeted(FaultModel model, Where where) : model_(std::move(model)), where_(std::move(where)) {}
  std::string text() const override {
    if (NameOf(where_).find(',') != std::string::npos) return fmt::format("{}@({})", NameOf(model_), NameOf(where_));
    return fmt::format("{}@{}", NameOf(model_), NameOf(where_));
  }
  bool sees_chip() const override {
    return model_.process().sees_chip() || where_.text.find("bank=") != std::string::npos;
  }
  bool takes_rate() const override { return model_.process().takes_rate(); }
  std::vector<std::pair<std::string, std::string>> tables() const override { return model_.process().tables(); }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    const Target narrower = Narrowed(target);
    FaultMap map = model_.process().Sample(narrower, key, trial, rate);
    std::erase_if(map.faults, [&](const Fault& fault) { return !narrower.Holds(fault.bit); });
    return map;
  }
  bool is_transient() const override { return model_.process().is_transient(); }
  void Check(const Target& target) const override {
    const Target narrower = Narrowed(target);
    target.image.CheckFilters(where_, narrower.only);
    model_.process().Check(narrower);
  }
  void SampleImages(const Target& target, PhiloxKey key, uint32_t trial, double rate, ImageRange images,
                    const TakeMap& take) const override {
    const Target narrower = Narrowed(target);
    model_.process().SampleImages(narrower, key, trial, rate, images, [&](int64_t image, FaultMap map) {
      std::erase_if(map.faults, [&](const Fault& fault) { return !narrower.Holds(fault.bit); });
      take(image, std::move(map));
    });
  }

 private:
  Target Narrowed(const Target& target) const {
    Target narrower{target.image, target.many_maps, true, target.image.SelectArrays(where_)};
    if (std::all_of(narrower.only.begin(), narrower.only.end(), [](const auto& filters) { return filters.empty(); }))
      throw UsageError(fmt::format("{}: nothing that can fail is {}; --where says what can", text(), NameOf(where_)));
    return narrower;
  }

  FaultModel model_;
  Where where_;
};

}  // namespace

FaultProcessPtr MakeMixture(std::vector<std::pair<double, FaultModel>> parts) {
  return std::make_shared<Mixture>(std::move(parts));
}

FaultProcessPtr MakeTransient(FaultModel model) {
  return std::make_shared<Transient>(std::move(model));
}

FaultProcessPtr MakeTargeted(FaultModel model, Where where) {
  return std::make_shared<Targeted>(std::move(model), std::move(where));
}

}  // namespace steadfast::memory
