# What draws the figures of a report, fetched from npm while building: versions are locked in package-lock.json, and only
# the packages' built bundles are used; they are embedded in the program. With tests, the browser driver comes too.
find_program(NPM npm)
if(NOT NPM)
  message(FATAL_ERROR "npm was not found, and the figures of reports need it while building: install it (apt-get install "
    "nodejs npm), or build without figures: -DSTEADFAST_FIGURES=OFF")
endif()
set(figures_dir ${PROJECT_BINARY_DIR}/figures)
set(STEADFAST_FIGURE_MODULES ${figures_dir}/node_modules)
set(STEADFAST_FIGURE_FILES
  ${STEADFAST_FIGURE_MODULES}/vega/build/vega.min.js
  ${STEADFAST_FIGURE_MODULES}/vega-lite/build/vega-lite.min.js
  ${STEADFAST_FIGURE_MODULES}/vega-embed/build/vega-embed.min.js)
if(NOT STEADFAST_TESTS)
  set(omit_dev --omit=dev)
endif()
add_custom_command(
  OUTPUT ${STEADFAST_FIGURE_FILES}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${figures_dir}
  COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_SOURCE_DIR}/package.json ${PROJECT_SOURCE_DIR}/package-lock.json ${figures_dir}
  COMMAND ${NPM} ci --prefix ${figures_dir} --ignore-scripts --no-audit --no-fund --loglevel=error ${omit_dev}
  COMMAND ${CMAKE_COMMAND} -E touch ${STEADFAST_FIGURE_FILES}
  DEPENDS ${PROJECT_SOURCE_DIR}/package.json ${PROJECT_SOURCE_DIR}/package-lock.json
  WORKING_DIRECTORY ${PROJECT_BINARY_DIR}
  COMMENT "Fetching what draws the figures (npm ci)"
  VERBATIM)
