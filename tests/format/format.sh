#!/usr/bin/env bash
# One hand for the whole tree: clang-format, ruff and shellcheck, at the versions that scripts/setup.sh installs.
# `format.sh --fix` writes what clang-format and ruff would have; without it the first difference fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

python=$(scripts/setup.sh --print-python 2>/dev/null) || { echo "skipped: run scripts/setup.sh --tests first"; exit 77; }
tools=$(dirname "$python")
for tool in "$tools/clang-format" "$tools/ruff" shellcheck; do
  command -v "$tool" >/dev/null || { echo "skipped: $(basename "$tool") is missing; run scripts/setup.sh --tests"; exit 77; }
done

mapfile -t sources < <(find include src tests bench -name '*.h' -o -name '*.cpp' -o -name '*.cu' | sort)
mapfile -t scripts < <(find scripts tests world bench src .ci -name '*.sh' -o -path .ci/run | sort)
folders=(exporter tests world bench)
if [ "${#sources[@]}" -lt 300 ] || [ "${#scripts[@]}" -lt 15 ]; then
  echo "format: expected the project's sources, found too few" >&2
  exit 1
fi

if [ "${1:-}" = --fix ]; then
  "$tools/clang-format" -i "${sources[@]}"
  "$tools/ruff" format --quiet "${folders[@]}"
  "$tools/ruff" check --fix "${folders[@]}"
fi
failed=0
"$tools/clang-format" --dry-run --Werror "${sources[@]}" || failed=1
"$tools/ruff" format --check --diff "${folders[@]}" || failed=1
"$tools/ruff" check --quiet "${folders[@]}" || failed=1
shellcheck -x "${scripts[@]}" || failed=1
[ $failed -eq 0 ] && echo "format: ${#sources[@]} C++ and CUDA sources, ${#scripts[@]} shell scripts and all Python as they should be"
exit $failed
