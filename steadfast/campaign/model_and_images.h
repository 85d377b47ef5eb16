// Of tests: a model file, and a test set of random images in IDX format that fits it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "steadfast/base/file.h"
#include "steadfast/campaign/loaded_model.h"  // DataChoice
#include "steadfast/engine/reference.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace steadfast::campaign {

class WithModelAndImages : public testing::Test {
 protected:
  // labels: one class after the other, or what the model answers.
  void Write(const model::QuantizedModel& model, int64_t n, bool is_right = false) {
    std::filesystem::create_directories(folder_ / "idx");
    model_ = model;
    model::WriteModel(model, path_);
    const model::ValueShape& shape = model.values[0].shape;
    images_ = model::RandomImages(model, n, 11);
    labels_.resize(static_cast<size_t>(n));
    for (size_t i = 0; i < labels_.size(); ++i)
      labels_[i] = static_cast<uint16_t>(i % static_cast<size_t>(model.classes()));
    const auto classes = static_cast<size_t>(model.classes());
    const std::vector<float> logits = is_right ? engine::RunReference(model, images_) : std::vector<float>();
    for (size_t i = 0; i < logits.size() / classes; ++i)
      labels_[i] = static_cast<uint16_t>(engine::ArgMax(std::span(logits).subspan(i * classes, classes)));
    for (const std::string split : {"train", "t10k"}) {
      WriteFileWhole(folder_ / ("idx/" + split + "-images-idx3-ubyte"),
                     BigEndian(0x803) + BigEndian(n) + BigEndian(shape.height) + BigEndian(shape.width) +
                         std::string(images_.begin(), images_.end()));
      WriteFileWhole(folder_ / ("idx/" + split + "-labels-idx1-ubyte"),
                     BigEndian(0x801) + BigEndian(n) + std::string(labels_.begin(), labels_.end()));
    }
  }
  DataChoice Data() const {
    DataChoice data;
    data.dataset = "idx";
    data.location.folder = folder_;
    return data;
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path(), path_ = folder_ / "model.onnx";
  model::QuantizedModel model_;
  std::vector<uint8_t> images_;
  std::vector<uint16_t> labels_;

 private:
  static std::string BigEndian(int64_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xFF));
    return bytes;
  }
};

}  // namespace steadfast::campaign
