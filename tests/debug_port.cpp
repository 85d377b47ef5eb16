#include "tests/debug_port.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "steadfast/base/text.h"

namespace steadfast {

std::filesystem::path FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const std::string& folder : Split(path == nullptr ? "/usr/bin" : path, ':')) {
    const std::filesystem::path program = std::filesystem::path(folder) / name;
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return {};
}

EmulatedDevice::EmulatedDevice(const std::filesystem::path& qemu, const std::filesystem::path& elf,
                               const std::filesystem::path& folder) {
  const std::string port = (folder / "debug").string();
  const std::vector<std::string> arguments = {qemu.string(),
                                              "-M",
                                              "mps2-an385",
                                              "-display",
                                              "none",
                                              "-monitor",
                                              "none",
                                              "-serial",
                                              "none",
                                              "-gdb",
                                              "unix:" + port + ",server=on,wait=off",
                                              "-S",
                                              "-kernel",
                                              elf.string()};
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(qemu.c_str(), pointers.data());
    _exit(127);
  }
  socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (port.size() >= sizeof address.sun_path) throw std::runtime_error("the socket's name is too long: " + port);
  std::strcpy(address.sun_path, port.c_str());
  for (int tries = 0; connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0; ++tries) {
    if (tries == 300) throw std::runtime_error("the emulator does not open its debug port");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  Command("?");
}

EmulatedDevice::~EmulatedDevice() {
  if (socket_ >= 0) close(socket_);
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
}

std::string EmulatedDevice::Receive() {
  while (true) {
    const size_t begin = received_.find('$'), end = received_.find('#', begin);
    if (end != std::string::npos && received_.size() >= end + 3) {
      std::string packet = received_.substr(begin + 1, end - begin - 1);
      received_.erase(0, end + 3);
      if (write(socket_, "+", 1) != 1) throw std::runtime_error("the debug port is closed");
      return packet;
    }
    char buffer[4096];
    const ssize_t bytes = read(socket_, buffer, sizeof buffer);
    if (bytes <= 0) throw std::runtime_error("the debug port is closed");
    received_.append(buffer, static_cast<size_t>(bytes));
  }
}

std::string EmulatedDevice::Command(const std::string& text) {
  unsigned sum = 0;
  for (const char letter : text) sum += static_cast<unsigned char>(letter);
  const std::string packet = fmt::format("${}#{:02x}", text, sum & 255);
  if (write(socket_, packet.data(), packet.size()) != static_cast<ssize_t>(packet.size()))
    throw std::runtime_error("the debug port is closed");
  return Receive();
}

void EmulatedDevice::Expect(const std::string& command, const std::string& answer) {
  const std::string given = Command(command);
  if (!given.starts_with(answer))
    throw std::runtime_error(fmt::format("the debug port answers '{}' to '{}'", given, command));
}

void EmulatedDevice::RunTo(uint32_t address) {
  if (is_at_stop_) Expect("s", "T05");  // over the place where it stands
  Expect(fmt::format("Z0,{:x},2", address), "OK");
  Expect("c", "T05");
  Expect(fmt::format("z0,{:x},2", address), "OK");
  is_at_stop_ = true;
}

std::vector<uint8_t> EmulatedDevice::Read(uint32_t address, size_t bytes) {
  constexpr size_t kMost = 1024;  // of a packet
  std::vector<uint8_t> read;
  while (read.size() < bytes) {
    const size_t some = std::min(kMost, bytes - read.size());
    const std::string hex = Command(fmt::format("m{:x},{:x}", address + read.size(), some));
    if (hex.size() != 2 * some) throw std::runtime_error(fmt::format("cannot read {:#x}: {}", address, hex));
    for (size_t i = 0; i < some; ++i)
      read.push_back(static_cast<uint8_t>(std::strtoul(hex.substr(2 * i, 2).c_str(), nullptr, 16)));
  }
  return read;
}

void EmulatedDevice::Write(uint32_t address, std::span<const uint8_t> bytes) {
  std::string hex;
  for (const uint8_t byte : bytes) hex += fmt::format("{:02x}", byte);
  Expect(fmt::format("M{:x},{:x}:{}", address, bytes.size(), hex), "OK");
}

}  // namespace steadfast
