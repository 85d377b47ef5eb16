// What this machine is, for records: results name the machine they came from.
#pragma once

#include <cstdint>
#include <string>

namespace steadfast {

// Number of CPUs this process may use, at least 1.
int AvailableCores();

// Bytes of memory that this process may still take: what the system has left, and within a container (cgroup v2) what
// its limit leaves, files that the system keeps in memory not counted; 0 where neither is known.
int64_t AvailableMemory();

// Processor model and core count, such as "Intel(R) Xeon(R) Processor, 2 cores, Linux 6.1".
std::string MachineDescription();

}  // namespace steadfast
