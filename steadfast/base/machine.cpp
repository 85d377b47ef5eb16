#include "steadfast/base/machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <thread>

namespace steadfast {

int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

int64_t AvailableMemory() {
  int64_t available = std::numeric_limits<int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    int64_t kibibytes = 0;
    if (key == "MemAvailable:" && meminfo >> kibibytes) available = kibibytes << 10;
  }
  std::ifstream limit("/sys/fs/cgroup/memory.max"), taken("/sys/fs/cgroup/memory.current");
  int64_t most = 0, now = 0;  // "max" is no number, and then there is no limit
  if (limit >> most && taken >> now) {
    std::ifstream counts("/sys/fs/cgroup/memory.stat");
    int64_t count = 0;
    for (std::string key; counts >> key >> count;) {
      if (key == "inactive_file" || key == "active_file" || key == "slab_reclaimable") now -= count;
    }
    available = std::min(available, std::max<int64_t>(most - now, 1));
  }
  return available == std::numeric_limits<int64_t>::max() ? 0 : available;
}

std::string MachineDescription() {
  std::string processor = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      processor = line.substr(line.find(": ") + 2);
      break;
    }
  }
  utsname system = {};
  uname(&system);
  return fmt::format("{}, {} cores, {} {} {}", processor, AvailableCores(), system.sysname, system.release,
                     system.machine);
}

}  // namespace steadfast
