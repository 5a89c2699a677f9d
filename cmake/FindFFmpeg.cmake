# FFmpeg::FFmpeg: libavformat, libavcodec, libswscale and libavutil through pkg-config.
find_package(PkgConfig REQUIRED)
pkg_check_modules(FFMPEG IMPORTED_TARGET libavformat libavcodec libswscale libavutil)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(FFmpeg REQUIRED_VARS FFMPEG_LINK_LIBRARIES VERSION_VAR FFMPEG_libavformat_VERSION
  REASON_FAILURE_MESSAGE "Install libavformat, libavcodec, libswscale and libavutil: scripts/setup.sh does.")
if(FFmpeg_FOUND AND NOT TARGET FFmpeg::FFmpeg)
  add_library(FFmpeg::FFmpeg ALIAS PkgConfig::FFMPEG)
endif()
