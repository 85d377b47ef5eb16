// An emulated Cortex-M, and what its debug port does to it: GDB's remote protocol over a socket.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace steadfast {

// A program of this name where PATH says; nothing where it is not installed.
std::filesystem::path FindProgram(const std::string& name);

class EmulatedDevice {
 public:
  // Starts QEMU's mps2-an385 (a Cortex-M3) with a program, stopped. `folder` is for its socket. Throws
  // std::runtime_error where it cannot be started.
  EmulatedDevice(const std::filesystem::path& qemu, const std::filesystem::path& elf,
                 const std::filesystem::path& folder);
  ~EmulatedDevice();
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;

  // Runs until it reaches this address.
  void RunTo(uint32_t address);
  std::vector<uint8_t> Read(uint32_t address, size_t bytes);
  void Write(uint32_t address, std::span<const uint8_t> bytes);

 private:
  std::string Command(const std::string& text);
  std::string Receive();
  void Expect(const std::string& command, const std::string& answer);

  int process_ = -1, socket_ = -1;
  std::string received_;
  bool is_at_stop_ = false;
};

}  // namespace steadfast
