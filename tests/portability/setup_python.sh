#!/usr/bin/env bash
# setup.sh chooses a Python that is new enough for the exporter, and where there is none says so before it installs anything.
# The machine is a folder of commands: stand-ins for python3 and the package tools, which write down that they were called.
set -uo pipefail
: "${SOURCE:?}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
called=$work/called checks=0
fail() { printf 'FAILED: %s\n' "$*" >&2; cat "$work/err" >&2; exit 1; }

mkdir -p "$work/torch/lib"
touch "$work/torch/lib/libtorch_cpu.so"

# stand_in NAME: a command of that machine, whose lines are read from stdin.
stand_in() { { printf '#!%s\n' "$BASH"; cat; } >"$work/bin/$1" && chmod +x "$work/bin/$1"; }

# machine [NAME=VERSION ...]: only these interpreters, and all Debian packages but ccache and mold.
machine() {
  rm -rf "${work:?}"/{bin,home,called}
  mkdir "$work/bin"
  local command python
  for command in bash cat cut grep head id mkdir sha256sum sort; do
    ln -s "$(command -v "$command")" "$work/bin/$command"
  done
  for python in "$@"; do
    stand_in "${python%=*}" <<SH
[ "\$1" != -c ] || { echo "${python#*=}"; exit 0; }
echo "${python%=*} \$*" >>"$called"; exit 1
SH
  done
  stand_in apt-get <<<"echo \"apt-get \$*\" >>'$called'"
  stand_in apt-cache <<<'exit 100'
  stand_in dpkg-query <<'SH'
case "$*" in *ccache | *mold) exit 1 ;; esac
printf 'install ok installed'
SH
}

# setup SAYS [NAME=VALUE ...]: `setup.sh --export` on that machine fails, and says so.
setup() {
  local says=$1; shift
  checks=$((checks + 1))
  env -i PATH="$work/bin" HOME="$work/home" JOINTTUNER_TORCH_ROOT="$work/torch" "$@" \
    "$BASH" "$SOURCE/scripts/setup.sh" --export >"$work/out" 2>"$work/err" && fail "setup.sh --export succeeded"
  grep -qF -- "$says" "$work/err" || fail "setup.sh --export does not say '$says'"
}
untouched() {
  [ ! -e "$called" ] || fail "something was called: $(cat "$called")"
  [ ! -e "$work/home" ] || fail "something was written"
}
makes_env_with() { grep -q "^$1 -m venv" "$called" || fail "$1 was not used for the environment: $(cat "$called")"; }

machine python3=3.10
setup "the exporter needs Python 3.11 or newer, and python3 is 3.10; install a newer one beside it"
untouched

machine python3=3.12
setup "JOINTTUNER_PYTHON=/path/to/python3" JOINTTUNER_PYTHON="$work/none"
untouched

machine python3=3.10 python3.11=3.11
setup "python3.11 -m venv failed: is python3.11-venv installed?"
makes_env_with python3.11

machine python3=3.9 another=3.13
setup "another -m venv failed" JOINTTUNER_PYTHON=another
makes_env_with another

# ccache and mold are missing here and apt has no such packages: that stops nothing.
for package in ccache mold; do
  grep -qF "going on without $package" "$work/err" || fail "setup.sh does not say that it goes on without $package"
done
! grep -q apt-get "$called" || fail "something was installed: $(cat "$called")"

printf '%s: %d checks passed\n' "$(basename "$0")" "$checks"
