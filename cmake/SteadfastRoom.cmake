# One library target a room, with its tests and benchmarks beside it.
#
#   steadfast_room(memory
#     HEADERS fault_map.h            public headers, installed and verified to compile on their own
#     SOURCES fault_map.cpp
#     LIBTORCH                       its sources include LibTorch's headers
#     UNHURRIED                      reads, prints or asks others to calculate: -O1, which compiles in two thirds of the time
#     HURRIED float_run.cpp          but for these, which calculate
#     USES base model                rooms it may include (docs/architecture.md has the table)
#     LIBRARIES / PRIVATE_LIBRARIES  libraries from outside
#     TESTS fault_map_test.cpp       one executable a room: steadfast_memory_test
#     TEST_USES engine               further rooms the tests need
#     BENCHMARKS fault_map_bench.cpp)
#
# Several files are compiled as one translation unit, which halves the time: so names in a room's unnamed namespaces
# differ. Operators, which all define the same few functions, and kernels are compiled one by one, and are never unhurried.
# Tests are.
# STEADFAST_UNITY=OFF compiles every file by itself, and finds one that leaves an include out.
option(STEADFAST_UNITY "Compile several files of a room at once" ON)

# steadfast_compile_together(target files): at most so many files a translation unit.
function(steadfast_compile_together target files)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${STEADFAST_UNITY} UNITY_BUILD_BATCH_SIZE ${files})
endfunction()

# Of what reads, prints or asks others to calculate.
set(STEADFAST_UNHURRIED_OPTIONS $<$<CONFIG:Release>:-O1>)

function(steadfast_room name)
  cmake_parse_arguments(room "LIBTORCH;UNHURRIED" "" "HEADERS;SOURCES;HURRIED;USES;LIBRARIES;PRIVATE_LIBRARIES;TESTS;TEST_USES;BENCHMARKS" ${ARGN})
  set(target steadfast_${name})
  add_library(${target} STATIC)
  add_library(Steadfast::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_sources(${target}
    PRIVATE ${room_SOURCES}
    PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${room_HEADERS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  list(TRANSFORM room_USES PREPEND steadfast_)
  target_link_libraries(${target} PUBLIC ${room_USES} ${room_LIBRARIES} PRIVATE ${room_PRIVATE_LIBRARIES} steadfast_flags)
  install(TARGETS ${target} EXPORT SteadfastTargets FILE_SET HEADERS)
  steadfast_compile_together(${target} 8)
  set(alone ${room_SOURCES})
  list(FILTER alone INCLUDE REGEX "^(operators|kernels)/.*cpp$")
  list(APPEND alone ${room_HURRIED})
  set_source_files_properties(${alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  if(room_UNHURRIED)
    target_compile_options(${target} PRIVATE ${STEADFAST_UNHURRIED_OPTIONS})
    set_source_files_properties(${alone} PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-O3>")
  endif()
  if(NOT room_LIBTORCH)  # rooms with LibTorch have a precompiled header of their own
    steadfast_reuse_headers(${target} steadfast_precompiled)
  endif()

  list(TRANSFORM room_TEST_USES PREPEND steadfast_)
  if(STEADFAST_TESTS AND room_TESTS)
    add_executable(${target}_test ${room_TESTS})
    target_link_libraries(${target}_test PRIVATE ${target} ${room_TEST_USES} steadfast_flags
      GTest::gtest_main rapidcheck)
    target_compile_options(${target}_test PRIVATE ${STEADFAST_UNHURRIED_OPTIONS})
    steadfast_compile_together(${target}_test 6)
    if(NOT room_LIBTORCH)
      steadfast_reuse_headers(${target}_test steadfast_precompiled_tests)
    endif()
    gtest_discover_tests(${target}_test DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${STEADFAST_TEST_TIMEOUT})
  endif()
  if(STEADFAST_BENCHMARKS AND room_BENCHMARKS)
    add_executable(${target}_bench ${room_BENCHMARKS})
    target_link_libraries(${target}_bench PRIVATE ${target} ${room_TEST_USES} steadfast_flags benchmark::benchmark_main)
  endif()
endfunction()
