# Headers that nearly every file needs and that take seconds to read, read once: nlohmann-json, {fmt} and the standard
# library for rooms, GoogleTest beside them for tests. Rooms on LibTorch have a precompiled header of their own.
# STEADFAST_PRECOMPILE=OFF builds without, which finds a file that leaves an include out.
option(STEADFAST_PRECOMPILE "Read common headers once" ON)

set(STEADFAST_COMMON_HEADERS <nlohmann/json.hpp> <fmt/format.h> <algorithm> <chrono> <cmath> <cstdint> <filesystem>
  <functional> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <utility> <vector>)

if(STEADFAST_PRECOMPILE)
  add_library(steadfast_precompiled STATIC cmake/precompiled.cpp)
  target_link_libraries(steadfast_precompiled PRIVATE steadfast_flags nlohmann_json::nlohmann_json fmt::fmt)
  target_precompile_headers(steadfast_precompiled PRIVATE ${STEADFAST_COMMON_HEADERS})
  if(STEADFAST_TESTS)
    add_library(steadfast_precompiled_tests STATIC cmake/precompiled.cpp)
    target_link_libraries(steadfast_precompiled_tests PRIVATE steadfast_flags nlohmann_json::nlohmann_json fmt::fmt
      GTest::gtest)
    target_precompile_headers(steadfast_precompiled_tests PRIVATE <gtest/gtest.h> ${STEADFAST_COMMON_HEADERS})
  endif()
endif()

# steadfast_reuse_headers(target from): takes the headers of steadfast_precompiled or steadfast_precompiled_tests, which
# are only good for targets with the same definitions: {fmt}'s too.
function(steadfast_reuse_headers target from)
  if(STEADFAST_PRECOMPILE)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:fmt::fmt>)
    target_precompile_headers(${target} REUSE_FROM ${from})
  endif()
endfunction()
