# Motley::torch: LibTorch's CPU library through an imported target of our own, since find_package(Torch) of the PyPI wheel
# insists on a CUDA toolkit. A LibTorch of the user's in CMAKE_PREFIX_PATH comes before the one scripts/setup installed.
if(NOT DEFINED MOTLEY_DEPS)
  set(MOTLEY_DEPS "${PROJECT_SOURCE_DIR}/.deps")
endif()
# PyTorch's own torch.utils.cmake_prefix_path is the folder share/cmake of such a LibTorch.
set(_torch_roots ${CMAKE_PREFIX_PATH})
list(TRANSFORM _torch_roots REPLACE "/share/cmake/?$" "")
list(APPEND _torch_roots "${MOTLEY_DEPS}/torch")
find_path(MOTLEY_TORCH_INCLUDE ATen/ATen.h PATHS ${_torch_roots} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_library(MOTLEY_TORCH_CPU torch_cpu PATHS ${_torch_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
find_library(MOTLEY_C10 c10 PATHS ${_torch_roots} PATH_SUFFIXES lib NO_DEFAULT_PATH)
if(NOT MOTLEY_TORCH_INCLUDE OR NOT MOTLEY_TORCH_CPU OR NOT MOTLEY_C10)
  message(FATAL_ERROR "LibTorch not found: run scripts/setup, or name a LibTorch 2.11 in CMAKE_PREFIX_PATH")
endif()
set(_torch_version "")
if(EXISTS "${MOTLEY_TORCH_INCLUDE}/torch/headeronly/version.h")
  file(READ "${MOTLEY_TORCH_INCLUDE}/torch/headeronly/version.h" _torch_version)
endif()
if(NOT _torch_version MATCHES "TORCH_VERSION_MAJOR 2[^0-9]" OR NOT _torch_version MATCHES "TORCH_VERSION_MINOR 11[^0-9]")
  message(WARNING "LibTorch in ${MOTLEY_TORCH_INCLUDE} is not 2.11, the version Motley is tested with")
endif()
get_filename_component(_torch_lib "${MOTLEY_TORCH_CPU}" DIRECTORY)

if(NOT TARGET Motley::torch)
  add_library(Motley::torch INTERFACE IMPORTED GLOBAL)
  # After every other folder: LibTorch brings headers of an fmt of its own, which must not be mixed with the system's.
  target_compile_options(Motley::torch INTERFACE "SHELL:-idirafter ${MOTLEY_TORCH_INCLUDE}"
                                                 "SHELL:-idirafter ${MOTLEY_TORCH_INCLUDE}/torch/csrc/api/include")
  target_link_libraries(Motley::torch INTERFACE "${MOTLEY_TORCH_CPU}" "${MOTLEY_C10}" Threads::Threads)
  # libtorch_cpu of the wheel loads libcudart and libcupti, found beside it through its own rpath or through this one; NCCL
  # is looked up by name when the program runs, and a wheel of it lies beside LibTorch's.
  get_filename_component(_nccl_lib "${_torch_lib}/../../nvidia/nccl/lib" ABSOLUTE)
  target_link_options(Motley::torch INTERFACE "-Wl,-rpath,${_torch_lib}" "-Wl,-rpath,${MOTLEY_DEPS}/cuda/lib" "-Wl,-rpath,${_nccl_lib}"
                                              "-Wl,--disable-new-dtags" "-Wl,--allow-shlib-undefined")
endif()
