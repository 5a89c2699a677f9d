# Every package the project links, in one place. Nothing is downloaded here: scripts/setup.sh installs.
include(LibTorch)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(ICU REQUIRED COMPONENTS uc i18n)
find_package(SentencePiece REQUIRED)
find_package(OpenCV REQUIRED COMPONENTS core imgproc imgcodecs)
find_package(FFmpeg REQUIRED)
find_package(Threads REQUIRED)
if(JOINTTUNER_TESTS)
  find_package(GTest REQUIRED)
endif()

if(JOINTTUNER_CUDA)
  include(Cuda)
  find_package(CUDAToolkit REQUIRED)
endif()

# The torch wheel ships fmt 12 in its include folder; spdlog is built against the system's fmt. A folder that holds only a
# link to the system's fmt, searched first, keeps them apart.
get_target_property(_fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET _fmt_include 0 _fmt_include)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/fmt_first")
file(CREATE_LINK "${_fmt_include}/fmt" "${CMAKE_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # The settings under which ccache takes precompiled headers; it looks at their contents.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
    "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime" "${CCACHE_PROGRAM}")
endif()
