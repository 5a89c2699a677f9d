add_library(jointtuner_flags INTERFACE)
target_compile_features(jointtuner_flags INTERFACE cxx_std_20)
target_compile_options(jointtuner_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
  -Woverloaded-virtual -Wno-unused-parameter>)
# ccache sees which precompiled header a source was compiled with.
target_compile_options(jointtuner_flags INTERFACE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
# std::min and the like in device code are constexpr functions.
target_compile_options(jointtuner_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
if(JOINTTUNER_WERROR)
  target_compile_options(jointtuner_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
  target_compile_options(jointtuner_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
include(CheckLinkerFlag)
check_linker_flag(CXX -fuse-ld=mold JOINTTUNER_LINKS_WITH_MOLD)  # where mold is, and the compiler knows it: g++ from 12.1
if(JOINTTUNER_LINKS_WITH_MOLD)
  target_link_options(jointtuner_flags INTERFACE -fuse-ld=mold)
endif()

# jointtuner_read_modules(): the rows of src/README.md, as jointtuner_modules (bottom first) and jointtuner_<module>_may_include.
function(jointtuner_read_modules)
  set(_table "${PROJECT_SOURCE_DIR}/src/README.md")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_table}")
  file(STRINGS "${_table}" _rows REGEX "^\\| [a-z]+ \\|.*\\|$")
  set(_modules)
  foreach(_row IN LISTS _rows)
    string(REGEX MATCH "^\\| ([a-z]+) \\|.*\\| ([a-z, -]+) \\|$" _ "${_row}")
    set(_name "${CMAKE_MATCH_1}")
    set(_right "${CMAKE_MATCH_2}")
    if(_name STREQUAL "module")
      continue()
    elseif(_right STREQUAL "all above")
      set(_below ${_modules})
    elseif(_right MATCHES "^(-|options only)$")
      set(_below)
    else()
      string(REPLACE ", " ";" _below "${_right}")
    endif()
    list(APPEND _modules "${_name}")
    set(jointtuner_${_name}_may_include "${_below}" PARENT_SCOPE)
  endforeach()
  set(jointtuner_modules "${_modules}" PARENT_SCOPE)
endfunction()
jointtuner_read_modules()

# jointtuner_module(NAME [LINK target...]): the library of src/NAME/*.cpp, of which folders `cuda` are for a build with CUDA and
# folders `without_cuda` for one without. It links the modules that its row names, and what LINK names of the outside.
function(jointtuner_module name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  file(GLOB_RECURSE _sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp" "${PROJECT_SOURCE_DIR}/src/${name}/*.cu")
  if(JOINTTUNER_CUDA)
    list(FILTER _sources EXCLUDE REGEX "/src/${name}/(.*/)?(without_cuda|on_cpu)/")
  else()
    list(FILTER _sources EXCLUDE REGEX "/src/${name}/(.*/)?cuda/")
  endif()
  add_library(jointtuner_${name} STATIC ${_sources})
  target_include_directories(jointtuner_${name} BEFORE PUBLIC "${PROJECT_SOURCE_DIR}/include")
  target_include_directories(jointtuner_${name} SYSTEM BEFORE PUBLIC "${CMAKE_BINARY_DIR}/fmt_first")
  list(TRANSFORM jointtuner_${name}_may_include PREPEND "jointtuner_" OUTPUT_VARIABLE _below)
  if(NOT name STREQUAL "base")
    list(PREPEND _below jointtuner_base)
  endif()
  target_link_libraries(jointtuner_${name} PUBLIC torchlib::torch ${_below} ${ARG_LINK} PRIVATE jointtuner_flags fmt::fmt)
endfunction()

# The headers that most sources read, parsed once for all sources with equal flags. A source still includes what it uses: with
# -DJOINTTUNER_PRECOMPILED_HEADERS=OFF it has to compile as well.
set(jointtuner_precompiled_headers <ATen/Functions.h> <ATen/TensorOperators.h> <ATen/core/Tensor.h> <fmt/format.h> <fmt/ranges.h>
  <nlohmann/json.hpp> <algorithm> <filesystem> <fstream> <functional> <map> <memory> <optional> <set> <sstream> <string>
  <utility> <vector>)
# jointtuner_precompile(TARGET [REUSE_FROM other | headers...])
function(jointtuner_precompile target)
  if(NOT JOINTTUNER_PRECOMPILED_HEADERS)
    return()
  elseif(ARGV1 STREQUAL "REUSE_FROM")
    target_precompile_headers(${target} REUSE_FROM ${ARGV2})
  else()
    target_precompile_headers(${target} PRIVATE ${jointtuner_precompiled_headers} ${ARGN})
  endif()
endfunction()

# What single modules need besides; a module that is not named here needs nothing.
set(_base_links spdlog::spdlog nlohmann_json::nlohmann_json OpenSSL::Crypto)
set(_media_links FFmpeg::FFmpeg opencv_core opencv_imgproc opencv_imgcodecs)
set(_text_links ICU::uc ICU::i18n SentencePiece::SentencePiece)
set(_cli_links CLI11::CLI11)
foreach(_module IN LISTS jointtuner_modules)
  jointtuner_module(${_module} LINK ${_${_module}_links})
  if(_module MATCHES "^(base|kernels)$")
    jointtuner_precompile(jointtuner_${_module})  # kernels is compiled with OpenMP
  else()
    jointtuner_precompile(jointtuner_${_module} REUSE_FROM jointtuner_base)
  endif()
endforeach()

# Static initialisers in kernels register operators, and a plain archive member that nobody names would be dropped by the linker, so
# the whole archive is linked. One option: CMake drops repeated ones, so that a second archive would lose its --whole-archive.
target_link_options(jointtuner_kernels INTERFACE
  "-Wl,--push-state,--whole-archive,$<TARGET_FILE:jointtuner_kernels>,--pop-state")
# at::parallel_for is a plain loop in files compiled without OpenMP. A flag, not the OpenMP target: the run-time library is LibTorch's,
# libgomp. Clang's own would be a second one in the process, with threads of its own; for libgomp clang makes plain loops.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(_openmp -fopenmp=libgomp)
else()
  set(_openmp -fopenmp)
endif()
target_compile_options(jointtuner_kernels PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${_openmp}>)
target_link_options(jointtuner_kernels PUBLIC ${_openmp})
if(JOINTTUNER_CUDA)
  target_link_libraries(jointtuner_base PRIVATE CUDA::cudart)
  list(JOIN CMAKE_CUDA_ARCHITECTURES "," _architectures)
  target_compile_definitions(jointtuner_base PRIVATE JOINTTUNER_CUDA_ARCHITECTURES="${_architectures}")
  target_compile_options(jointtuner_kernels PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-unknown-pragmas>)  # unroll
  set_target_properties(jointtuner_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(jointtuner_kernels SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endif()
set_source_files_properties("${PROJECT_SOURCE_DIR}/src/doctor/machine.cpp" PROPERTIES COMPILE_DEFINITIONS
  JOINTTUNER_COMPILER="${CMAKE_CXX_COMPILER_ID}\ ${CMAKE_CXX_COMPILER_VERSION}")
foreach(_module cli doctor)
  target_compile_definitions(jointtuner_${_module} PRIVATE JOINTTUNER_VERSION="${PROJECT_VERSION}")
endforeach()
