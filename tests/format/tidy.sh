#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy over the program's sources, or over those given. Half an hour on two cores, so it is run
# by hand before a release and not by ctest. Needs clang and clang-tidy (Debian's packages of these names).
#   tests/format/tidy.sh                        all of src
#   tests/format/tidy.sh src/train/*.cpp        some
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for tool in clang++ clang-tidy; do
  command -v $tool >/dev/null || { echo "tidy: $tool is missing: apt-get install clang clang-tidy" >&2; exit 1; }
done

build=${BUILD_DIR:-build}/tidy
cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DJOINTTUNER_TESTS=OFF \
  -DJOINTTUNER_PRECOMPILED_HEADERS=OFF >/dev/null
if [ $# -eq 0 ]; then
  mapfile -t sources < <(find src -name '*.cpp' -not -path '*/cuda/*' | sort)
else
  sources=("$@")
fi
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p "$build" --quiet --warnings-as-errors='*'
echo "tidy: ${#sources[@]} sources without a finding"
