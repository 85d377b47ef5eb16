// The version of Steadfast, as in CMakeLists.txt.
#pragma once

namespace steadfast {

const char* Version();  // such as "0.1.0"

}  // namespace steadfast
