#!/usr/bin/env bash
# Installs what is missing, builds the program with warnings as errors, and runs every test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
  cat <<'TXT'
usage: scripts/test.sh [ctest option ...]

Installs what is missing (scripts/setup.sh --tests), builds into build/ and runs every test. Safe to run twice: the second
run rebuilds what changed. Ends with ctest's summary and its exit code.

Examples:
  scripts/test.sh
  scripts/test.sh -R kernels        only the tests whose name matches
  BUILD_DIR=/tmp/build scripts/test.sh
TXT
  exit 0
fi

scripts/setup.sh --tests
source scripts/build.sh
build_options=(-DJOINTTUNER_WERROR=ON)
build all

export OMP_WAIT_POLICY=passive  # two test programs at once: spinning threads would take each other's cores
echo "test: running ctest" >&2
ctest --test-dir "$BUILD_DIR" --output-on-failure --timeout 900 --parallel 2 "$@"
