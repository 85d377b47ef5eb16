// What this machine is, for records: results name the machine they came from.
#pragma once

#include <string>

namespace steadfast {

// Number of CPUs this process may use, at least 1.
int AvailableCores();

// Processor model and core count, such as "Intel(R) Xeon(R) Processor, 2 cores, Linux 6.1".
std::string MachineDescription();

}  // namespace steadfast
