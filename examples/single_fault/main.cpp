// What one flipped bit does to a network: reads a model file if one is named, else makes LeNet-5 with random weights,
// flips the sign bit of the first weight, and compares the answers on random images.
#include <cstdio>

#include "steadfast/engine/evaluator.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/memory/memory_image.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

int main(int argc, char** argv) {
  using namespace steadfast;
  const model::QuantizedModel network = argc > 1 ? model::ReadModel(argv[1]) : model::RandomLeNet5(4, 4, 1);
  const auto images = model::RandomImages(network, 1000, 2);
  const std::vector<uint16_t> labels(1000, 0);
  const auto set = engine::MakeEvaluationSet(network, images, labels);
  const auto golden = engine::RunGolden(network, set, 1);

  const memory::MemoryImage image(network, {memory::Encoding::kTwosComplement, 32});
  const int sign_bit = image.arrays()[0].bits() - 1;
  const memory::FaultMap faults{{{{0, sign_bit}, memory::FaultKind::kFlip}}};
  const auto change = memory::EffectOf(faults, image);
  const auto scores = engine::Evaluator(network, set).Evaluate(change, golden);
  const model::Change& flip = change.changes.at(0);
  const model::CodeFormat& format = network.parameter(flip.parameter).format.codes;
  std::printf("code %d became %d; %lld of %lld predictions changed\n", format.code(flip.old_bits),
              format.code(flip.new_bits), static_cast<long long>(scores.changed),
              static_cast<long long>(scores.images));
}
