# opencv_core, opencv_imgproc, opencv_imgcodecs as imported targets. Debian puts OpenCV's own package file into
# libopencv-dev, which drags in every module; the three small -dev packages have headers and libraries only.
find_path(OpenCV_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4)
set(_libraries)
foreach(_module IN LISTS OpenCV_FIND_COMPONENTS)
  find_library(OpenCV_${_module}_LIBRARY opencv_${_module})
  list(APPEND _libraries OpenCV_${_module}_LIBRARY)
endforeach()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenCV REQUIRED_VARS OpenCV_INCLUDE_DIR ${_libraries}
  REASON_FAILURE_MESSAGE "Install libopencv-core-dev, libopencv-imgproc-dev and libopencv-imgcodecs-dev: scripts/setup.sh does.")
if(OpenCV_FOUND)
  foreach(_module IN LISTS OpenCV_FIND_COMPONENTS)
    if(NOT TARGET opencv_${_module})
      add_library(opencv_${_module} SHARED IMPORTED)
      set_target_properties(opencv_${_module} PROPERTIES IMPORTED_LOCATION "${OpenCV_${_module}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${OpenCV_INCLUDE_DIR}" INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${OpenCV_INCLUDE_DIR}")
    endif()
  endforeach()
endif()
