// Everything of a network that is stored: weights, and what stands beside them.
//
// A parameter is an array of elements as the model file keeps it, in the file's own order: index i is the file's
// element i, whatever the engine does inside. An element is its stored bits; what they mean follows from the format:
// codes of 1 to 8 bits with a level map (level = multiplier * code + offset), int32, or a float of 16 or 32 bits. Any
// pattern of bits is allowed in memory that fails, so what a parameter means is defined for every pattern
// (docs/formats.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast::model {

struct LevelMap {
  int multiplier = 1;
  int offset = 0;
  bool operator==(const LevelMap&) const = default;
};

struct CodeFormat {
  int bits = 8;  // 1 to 8
  bool is_signed = true;
  bool narrow = false;  // signed codes that leave out -2^(bits-1)
  LevelMap levels = {};

  int lowest_code() const { return is_signed ? -(1 << (bits - 1)) + (narrow ? 1 : 0) : 0; }
  int highest_code() const { return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }
  int level(int code) const { return levels.multiplier * code + levels.offset; }
  // Two's complement, in the low `bits` bits, and back; every pattern has a code.
  uint32_t pattern(int code) const { return static_cast<uint32_t>(code) & ((1u << bits) - 1); }
  int code(uint32_t pattern) const {
    if (!is_signed) return static_cast<int>(pattern);
    const uint32_t sign = 1u << (bits - 1);
    return static_cast<int>(pattern ^ sign) - static_cast<int>(sign);
  }
  bool operator==(const CodeFormat&) const = default;
};

// The largest |level| that a memory cell of this format can hold, faults included: narrow or not, a faulty two's
// complement code can be -2^(bits-1).
int LargestStoredLevel(const CodeFormat& format);

// The format of a quantizer without zero: unsigned codes, levels 2 code + 1 - 2^bits.
CodeFormat FormatWithoutZero(int bits);

enum class Role : uint8_t { kWeight, kBias, kScale, kMultiplier, kMean, kVariance, kActivationScale };
std::string_view NameOf(Role role);  // "weight", "bias", …

struct StorageFormat {
  enum class Kind : uint8_t { kCodes, kInt32, kFloat32, kFloat16, kBfloat16 };
  Kind kind = Kind::kCodes;
  CodeFormat codes = {};  // of kCodes

  int bits() const;  // of an element
  bool is_float() const { return kind != Kind::kCodes && kind != Kind::kInt32; }
  bool operator==(const StorageFormat&) const = default;
};
std::string NameOf(const StorageFormat& format);  // "int4", "uint4", "int32", "float32", …

struct Parameter {
  std::string name;
  Role role = Role::kWeight;
  std::vector<int64_t> shape;  // weights of a convolution: [out, in / groups, kh, kw]; linear: [out, in], or [in, out]
                               // where output_axis is 1; of TFLite files [out, kh, kw, in / groups]
                               // (channels_last), depthwise ones [1, kh, kw, out] (output_axis 3)
  StorageFormat format;
  std::vector<uint32_t> bits;  // [elements], row-major: two's complement or IEEE patterns in the low bits
  int scale = -1;              // codes and int32: the parameter that holds their scales, 1 or one an output
  int output_axis = 0;         // weights: the dimension of the outputs
  bool channels_last = false;  // weights of 4 dimensions: the file has the products of an output as [kh, kw, in]
  // Weights and scales of 1 that let a normalization stand alone: they belong to the program, and no memory holds them.
  bool is_fixed = false;

  int64_t elements() const { return static_cast<int64_t>(bits.size()); }
  // Of weights: outputs, and products an output.
  int64_t outputs() const { return shape[static_cast<size_t>(output_axis)]; }
  int64_t products() const { return elements() / outputs(); }
  // Of weights with 4 dimensions: the kernel's rows, columns, and channels that an output sees.
  int64_t kernel_h() const { return shape[channels_last || output_axis != 0 ? 1 : 2]; }
  int64_t kernel_w() const { return shape[channels_last || output_axis != 0 ? 2 : 3]; }
  int64_t group_inputs() const { return output_axis != 0 ? 1 : shape[channels_last ? 3 : 1]; }
  // The element of a weight by output and product, and back. Products count channels first, then the kernel's rows and
  // columns.
  int64_t IndexOf(int64_t output, int64_t product) const {
    if (output_axis != 0) return product * outputs() + output;
    return output * products() + (channels_last ? PlaceOf(product, products() / shape[3]) : product);
  }
  int64_t OutputOf(int64_t index) const { return output_axis == 0 ? index / products() : index % outputs(); }
  int64_t ProductOf(int64_t index) const {
    if (output_axis != 0) return index / outputs();
    return channels_last ? PlaceOf(index % products(), shape[3]) : index % products();
  }
  // Whether its elements stand output by output, the products in their order.
  bool is_in_order() const { return output_axis == 0 && !channels_last; }

  int code(int64_t index) const { return format.codes.code(bits[static_cast<size_t>(index)]); }            // of kCodes
  int level(int64_t index) const { return format.codes.level(code(index)); }                               // of kCodes
  int32_t integer(int64_t index) const { return static_cast<int32_t>(bits[static_cast<size_t>(index)]); }  // of kInt32
  float real(int64_t index) const { return RealOfBits(bits[static_cast<size_t>(index)]); }                 // of floats
  // What a pattern means as a float; the 16-bit formats are exact in 32 bits.
  float RealOfBits(uint32_t pattern) const;
  bool operator==(const Parameter&) const = default;

 private:
  // Of a product in a matrix of which each row has `columns` elements: where it is in the transposed one.
  int64_t PlaceOf(int64_t product, int64_t columns) const {
    return product % columns * (products() / columns) + product / columns;
  }
};

// A float parameter of 32 bits.
Parameter FloatParameter(std::string name, Role role, std::vector<int64_t> shape, std::span<const float> values);

}  // namespace steadfast::model
