#include "steadfast/base/version.h"

namespace steadfast {

const char* Version() {
  return STEADFAST_VERSION;
}

}  // namespace steadfast
