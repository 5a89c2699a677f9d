# shellcheck shell=bash
# Sourced by test.sh and demo.sh, in the repository's root: build TARGET... configures and builds into $BUILD_DIR.
BUILD_DIR=${BUILD_DIR:-build}
build_options=()  # further cmake options, e.g. -DJOINTTUNER_WERROR=ON

# Clones of the project share what ccache holds: paths below this folder do not count.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1

build() {
  local options=(-DCMAKE_BUILD_TYPE=Release "${build_options[@]}")
  # The CUDA half of LibTorch is linked where a driver and nvcc are: it costs start-up time and memory elsewhere.
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1 && command -v nvcc >/dev/null; then
    options+=(-DJOINTTUNER_CUDA=ON)
  fi
  [ -f "$BUILD_DIR/build.ninja" ] || options+=(-G Ninja)
  echo "build: configuring $BUILD_DIR" >&2
  cmake -S . -B "$BUILD_DIR" "${options[@]}" >"$BUILD_DIR.configure.log" 2>&1 ||
    { cat "$BUILD_DIR.configure.log" >&2; return 1; }
  mv "$BUILD_DIR.configure.log" "$BUILD_DIR/configure.log"
  echo "build: compiling $* (the first time takes some minutes)" >&2
  if [ -t 2 ]; then
    cmake --build "$BUILD_DIR" --target "$@" >&2
    return
  fi
  cmake --build "$BUILD_DIR" --target "$@" >"$BUILD_DIR/compile.log" 2>&1 ||
    { grep -vE '^\[[0-9]+/[0-9]+\] ' "$BUILD_DIR/compile.log" | tail -n 60 >&2; return 1; }
}
