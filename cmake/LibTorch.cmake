# torchlib::torch, an imported target for the LibTorch that lies inside a torch wheel.
#   JOINTTUNER_TORCH_ROOT   .../site-packages/torch (cache, -D or the environment; scripts/setup.sh --print-torch-root)
#   JOINTTUNER_CUDA         ON: torch_cuda and c10_cuda as well
# find_package(Torch) is not used: it needs nvcc even for a build that uses no CUDA.
include_guard(GLOBAL)
set(JOINTTUNER_TORCH_ROOT "$ENV{JOINTTUNER_TORCH_ROOT}" CACHE PATH "torch folder of an installed wheel")
if(NOT JOINTTUNER_TORCH_ROOT)
  execute_process(COMMAND "${CMAKE_CURRENT_LIST_DIR}/../scripts/setup.sh" --print-torch-root
    OUTPUT_VARIABLE _root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(JOINTTUNER_TORCH_ROOT "${_root}" CACHE PATH "torch folder of an installed wheel" FORCE)
endif()
set(_torch_version_header "${JOINTTUNER_TORCH_ROOT}/include/torch/headeronly/version.h")
if(NOT EXISTS "${JOINTTUNER_TORCH_ROOT}/lib/libtorch_cpu.so" OR NOT EXISTS "${_torch_version_header}")
  message(FATAL_ERROR "LibTorch was not found ('${JOINTTUNER_TORCH_ROOT}'). Run scripts/setup.sh, or pass "
    "-DJOINTTUNER_TORCH_ROOT=<site-packages>/torch of an installed torch 2.11.0 wheel.")
endif()
file(STRINGS "${_torch_version_header}" _version REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" _version "${_version}")
list(JOIN _version "." TORCH_VERSION)
if(NOT TORCH_VERSION VERSION_GREATER_EQUAL 2.11 OR TORCH_VERSION VERSION_GREATER_EQUAL 2.12)
  message(WARNING "LibTorch ${TORCH_VERSION}: jointtuner is tested with 2.11.0 only")
endif()
message(STATUS "LibTorch ${TORCH_VERSION} in ${JOINTTUNER_TORCH_ROOT}")

# Run-time folders: the wheel, its sibling nvidia wheels, the toolkit.
get_filename_component(_site_packages "${JOINTTUNER_TORCH_ROOT}" DIRECTORY)
set(_rpath "${JOINTTUNER_TORCH_ROOT}/lib")
file(GLOB _nvidia_folders "${_site_packages}/nvidia/*/lib")
list(APPEND _rpath ${_nvidia_folders})
foreach(_folder "$ENV{CUDA_HOME}/lib64" "/usr/local/cuda/lib64")
  if(EXISTS "${_folder}/libcudart.so.13")
    list(APPEND _rpath "${_folder}")
    break()
  endif()
endforeach()

function(_torch_library name)
  add_library(torchlib::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(torchlib::${name} PROPERTIES IMPORTED_LOCATION "${JOINTTUNER_TORCH_ROOT}/lib/lib${name}.so")
endfunction()
_torch_library(c10)
_torch_library(torch_cpu)
find_package(Threads REQUIRED)
add_library(torchlib::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(torchlib::torch SYSTEM INTERFACE
  "${JOINTTUNER_TORCH_ROOT}/include" "${JOINTTUNER_TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(torchlib::torch INTERFACE torchlib::torch_cpu torchlib::c10 Threads::Threads)
# DT_RPATH, not RUNPATH: it also serves the libraries' own needs (libcudart.so.13, libcupti.so.13).
target_link_options(torchlib::torch INTERFACE "LINKER:--disable-new-dtags")
foreach(_folder IN LISTS _rpath)
  target_link_options(torchlib::torch INTERFACE "LINKER:-rpath,${_folder}" "LINKER:-rpath-link,${_folder}")
endforeach()
if(JOINTTUNER_CUDA)
  _torch_library(c10_cuda)
  _torch_library(torch_cuda)
  # Nothing refers to a symbol of libtorch_cuda: its static initialisers register the CUDA kernels.
  target_link_libraries(torchlib::torch INTERFACE
    "-Wl,--push-state,--no-as-needed" torchlib::torch_cuda torchlib::c10_cuda "-Wl,--pop-state")
endif()
