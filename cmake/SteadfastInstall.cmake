# The installed CMake package: find_package(Steadfast), targets Steadfast::engine and so on.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Steadfast)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/SteadfastConfig.cmake.in
  ${PROJECT_BINARY_DIR}/SteadfastConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/SteadfastConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/SteadfastConfig.cmake ${PROJECT_BINARY_DIR}/SteadfastConfigVersion.cmake
  DESTINATION ${package_dir})
install(EXPORT SteadfastTargets NAMESPACE Steadfast:: DESTINATION ${package_dir})
