# The GPU's kernels, in a library of their own that libnearfield loads on demand: libnearfield_cuda.so, beside it.
# NEARFIELD_CUDA: off; on, an error without nvcc; auto, on where nvcc is found, but not in sanitized or cross builds nor
# inside another project.
set(NEARFIELD_CUDA auto CACHE STRING "Build the kernels for NVIDIA GPUs: auto, on or off")
set_property(CACHE NEARFIELD_CUDA PROPERTY STRINGS auto on off)
string(TOLOWER "${NEARFIELD_CUDA}" wanted)
if(NOT wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "NEARFIELD_CUDA=${NEARFIELD_CUDA}: must be auto, on or off")
endif()

set(NEARFIELD_CUDA_BUILT OFF)
if(wanted STREQUAL "on" OR (wanted STREQUAL "auto" AND PROJECT_IS_TOP_LEVEL AND NOT NEARFIELD_SANITIZE
                            AND NOT CMAKE_CROSSCOMPILING))
  # Turing, Ampere, Hopper; Ampere's PTX for all that came after them.
  set(CMAKE_CUDA_ARCHITECTURES "75-real;80;90a-real")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.0)
      find_package(CUDAToolkit REQUIRED)
      set(NEARFIELD_CUDA_BUILT ON)
    endif()
  endif()
  if(wanted STREQUAL "on" AND NOT NEARFIELD_CUDA_BUILT)
    message(FATAL_ERROR "NEARFIELD_CUDA=on: needs nvcc 12.0 or newer, in PATH or named by CUDACXX")
  endif()
endif()

# A library that is built without the kernels says so, and loads none.
if(NEARFIELD_CUDA_BUILT)
  target_sources(nearfield_core PRIVATE engine/cuda/loader.cpp)
  target_link_libraries(nearfield_core PUBLIC ${CMAKE_DL_LIBS})
else()
  target_sources(nearfield_core PRIVATE engine/cuda/no_cuda.cpp)
endif()
message(STATUS "CUDA kernels: ${NEARFIELD_CUDA_BUILT}")

if(NEARFIELD_CUDA_BUILT)
  add_library(nearfield_cuda MODULE
    engine/cuda/library/attention_double.cu
    engine/cuda/library/attention_float.cu
    engine/cuda/library/small.cu
    engine/cuda/library/table.cpp)
  target_include_directories(nearfield_cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(nearfield_cuda PRIVATE CUDA::cudart_static)
  # Nothing of it is to be seen but its one function. Kernels are C++17: older CMakes know no later CUDA.
  set_target_properties(
    nearfield_cuda PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                              POSITION_INDEPENDENT_CODE ON CUDA_STANDARD 17 PREFIX lib SUFFIX .so)
  target_link_options(nearfield_cuda PRIVATE LINKER:--exclude-libs,ALL)
endif()
