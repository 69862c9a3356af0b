# libnearfield_jax: the handlers, a library of its own beside libnearfield, so that only users of JAX load it.
#
# Only headers of jaxlib are used. XLA takes handlers that were built with older headers than its own and refuses newer
# ones: a wheel for many versions of JAX is built with an old jaxlib (pyproject.toml).
find_package(Python3 COMPONENTS Interpreter REQUIRED)
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c "import os, jaxlib; print(os.path.join(os.path.dirname(jaxlib.__file__), 'include'))"
  OUTPUT_VARIABLE xla_include
  OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET)
if(NOT EXISTS "${xla_include}/xla/ffi/api/ffi.h")
  message(FATAL_ERROR "NEARFIELD_JAX=ON: ${Python3_EXECUTABLE} has no jaxlib with xla/ffi/api/ffi.h. Install jaxlib "
                      "there, choose another Python with -DPython3_EXECUTABLE=..., or leave JAX out with "
                      "-DNEARFIELD_JAX=OFF")
endif()

add_library(nearfield_jax SHARED native/ffi_call.cpp native/jax_ffi.cpp native/leading_axes.cpp)
target_include_directories(nearfield_jax SYSTEM PRIVATE ${xla_include})
target_link_libraries(nearfield_jax PRIVATE nearfield)
set(jax_exports ${CMAKE_CURRENT_SOURCE_DIR}/native/exports.map)
target_link_options(nearfield_jax PRIVATE ${wheel_link_options} LINKER:--version-script=${jax_exports})
# Beside libnearfield, in the build tree as in the wheel.
set_target_properties(
  nearfield_jax
  PROPERTIES CXX_VISIBILITY_PRESET hidden
             VISIBILITY_INLINES_HIDDEN ON
             NO_SONAME ON
             LINK_DEPENDS ${jax_exports}
             LIBRARY_OUTPUT_DIRECTORY $<TARGET_FILE_DIR:nearfield>
             BUILD_RPATH_USE_ORIGIN ON
             BUILD_WITH_INSTALL_RPATH ON
             INSTALL_RPATH $ORIGIN)
install(TARGETS nearfield_jax LIBRARY DESTINATION _lib)
