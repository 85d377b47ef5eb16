// The operators of C programs, as text: files of runtime/, data of this program.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace steadfast::device {

// By file name, "steadfast_device.h" among them.
const std::map<std::string, std::string_view>& RuntimeFiles();

}  // namespace steadfast::device
