// The dense path: the whole network on blocks of 64 images, bit-identical to the reference.
//
// Images lie in the lanes of vector registers (codes of 64 images side by side), so a weight is one broadcast, there is
// no im2col, and small layers run as fast as large ones. Products are 4-way int8 dot products (VNNI where the machine
// has it); a max-pool right behind a convolution is taken on the sums, before requantization, which is monotone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::engine {

inline constexpr int64_t kBlockImages = 64;

// The instruction sets that dense kernels exist for.
enum class InstructionSet { kPortable, kAvx2, kAvx512Vnni };
std::string_view NameOf(InstructionSet set);
std::vector<InstructionSet> SupportedInstructionSets();  // of this machine, slowest first

// Images with those of a block side by side: [block][element][64]. Made once, used by every run.
class PreparedImages {
 public:
  // images: [n, elements]
  PreparedImages(std::span<const uint8_t> images, int64_t elements);
  int64_t images() const { return images_; }
  int64_t blocks() const { return (images_ + kBlockImages - 1) / kBlockImages; }
  std::span<const uint8_t> block(int64_t b) const {
    return std::span(bytes_).subspan(static_cast<size_t>(b * elements_ * kBlockImages),
                                     static_cast<size_t>(elements_ * kBlockImages));
  }
  int64_t images_in(int64_t b) const { return std::min(kBlockImages, images_ - b * kBlockImages); }

 private:
  int64_t images_;
  int64_t elements_;
  std::vector<uint8_t> bytes_;
};

// One engine serves one thread. Holds packed weights and a workspace of one block.
class DenseEngine {
 public:
  // The model must be valid; what is needed of it is copied.
  explicit DenseEngine(const model::QuantizedModel& model);
  DenseEngine(const model::QuantizedModel& model, InstructionSet set);
  ~DenseEngine();
  DenseEngine(DenseEngine&&) noexcept;
  DenseEngine& operator=(DenseEngine&&) noexcept;

  // Takes the weight codes of a model with the same structure.
  void SetWeights(const model::QuantizedModel& model);

  // Keeps the codes of every value from now on (no pooling on sums), for CodesOf.
  void KeepAllValues(const model::QuantizedModel& model);
  // The codes of a value after the last block: [element][64], of which the first images_in(block) images count.
  std::span<const uint8_t> CodesOf(int value) const;

  // Runs one block; logits: [images_in(block), classes].
  void RunBlock(const PreparedImages& images, int64_t block, std::span<float> logits);

  // All images; [n, classes].
  std::vector<float> Run(const PreparedImages& images);

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace steadfast::engine
