#!/usr/bin/env bash
# Installs what jointtuner needs, and only what is missing. Safe to run as often as you like.
set -euo pipefail

usage() {
  cat <<'TXT'
usage: scripts/setup.sh [--export | --tests | --world | --print-torch-root | --print-python]

  (no option)         Debian/Ubuntu packages and LibTorch: what the program and its tests need
  --export            also the Python packages of the backbone exporter (diffusers, transformers, ...)
  --tests             also what further tests need: formatters and linters beside --print-python, shellcheck, debootstrap
  --world             also what pretraining and the benchmark of the sprite world need (world/README.md)
  --print-torch-root  prints the torch folder that the build uses, installs nothing
  --print-python      prints the exporter's Python interpreter, installs nothing

Environment:
  JOINTTUNER_TORCH_ROOT  an existing torch folder (.../site-packages/torch, version 2.11.x) to use instead of a private one
  JOINTTUNER_HOME        where private files go (default: $XDG_CACHE_HOME/jointtuner or ~/.cache/jointtuner)
  JOINTTUNER_PYTHON      the Python that the private environment is made with (default: the first of python3, python3.14,
                         ... python3.11 that is new enough: the exporter needs 3.11, LibTorch's wheel 3.10)

Examples:
  scripts/setup.sh
  JOINTTUNER_TORCH_ROOT=$(python3 -c 'import torch,os; print(os.path.dirname(torch.__file__))') scripts/setup.sh
TXT
}

torch_version=2.11.0
home=${JOINTTUNER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/jointtuner}
env_dir=$home/env-torch-$torch_version
python=$env_dir/bin/python
torch_least=3.10 exporter_least=3.11  # versions of Python, as the wheels below ask for them

packages=(build-essential cmake ninja-build pkg-config git python3 python3-venv
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  libavformat-dev libavcodec-dev libswscale-dev libavutil-dev
  libcli11-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libgtest-dev libgmock-dev libssl-dev libicu-dev
  libsentencepiece-dev)
faster_packages=(ccache mold)           # the build does without, where a distribution has none
test_packages=(shellcheck debootstrap)  # the tests that use them are skipped without
# The wheel of the CUDA build of torch: --no-deps keeps 2 GB of NVIDIA wheels away where the toolkit's own libraries serve.
torch_wheels=("torch==$torch_version" nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5 nvidia-cufile==1.15.1.6)
run_time_wheels=(nvidia-cuda-runtime nvidia-cuda-cupti)  # without a toolkit: all that libtorch_cpu.so itself links
# Complete, for --no-deps: asked to resolve, pip would bring torch's 3 GB of NVIDIA wheels along.
export_wheels=(diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0 safetensors==0.8.0 tokenizers==0.23.3
  sentencepiece==0.2.3 protobuf==7.36.2 numpy==2.4.6 pillow==13.0.0 av==18.1.0 huggingface_hub==2.4.0 hf-xet==1.8.0
  filelock==4.2.12 typing_extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 networkx==3.6.1 Jinja2==3.1.6 MarkupSafe==3.0.4
  fsspec==2026.9.0 regex==2026.11.15 requests==2.34.2 urllib3==2.8.0 idna==3.20 certifi==2026.10.18
  charset-normalizer==3.5.2 importlib_metadata==10.2.0 zipp==4.1.2 packaging==26.3 PyYAML==6.0.3 tqdm==4.70.1
  psutil==7.2.2 typer==0.29.2 click==8.5.1 rich==15.0.0 markdown-it-py==4.3.0 mdurl==0.1.2 Pygments==2.21.0
  shellingham==1.5.4 annotated-doc==0.0.7 httpx2==2.16.2 httpcore2==2.16.2 h11==0.16.0 anyio==4.16.0 truststore==0.10.5
  pydantic==2.14.3 pydantic_core==2.50.4 annotated-types==0.8.0 typing-inspection==0.4.5 lazy-importer==0.1.0)
test_wheels=(clang-format==23.1.5 ruff==0.17.6)
world_wheels=(matplotlib==3.11.2 contourpy==1.3.3 cycler==0.12.1 fonttools==4.68.0 kiwisolver==1.5.1
  pyparsing==3.3.3 python-dateutil==4.0.0 tzdata==2026.6)

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

torch_root() {
  if [ -n "${JOINTTUNER_TORCH_ROOT:-}" ]; then
    [ -f "$JOINTTUNER_TORCH_ROOT/lib/libtorch_cpu.so" ] ||
      fail "JOINTTUNER_TORCH_ROOT=$JOINTTUNER_TORCH_ROOT holds no lib/libtorch_cpu.so; give the folder .../site-packages/torch"
    printf '%s\n' "$JOINTTUNER_TORCH_ROOT"
    return
  fi
  local found
  for found in "$env_dir"/lib/python3*/site-packages/torch; do
    [ -f "$found/lib/libtorch_cpu.so" ] && printf '%s\n' "$found" && return
  done
  return 1
}

have_toolkit() { [ -f "${CUDA_HOME:-/usr/local/cuda}/lib64/libcudart.so.13" ]; }

not_installed() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || printf '%s\n' "$name"
  done
}

# install_packages OPTIONAL...: all of `packages`, and those of OPTIONAL that this distribution has.
install_packages() {
  command -v dpkg-query >/dev/null ||
    { say "no dpkg here: install these yourself (Debian's names): ${packages[*]} $*"; return; }
  local missing optional name sudo=()
  mapfile -t missing < <(not_installed "${packages[@]}")
  mapfile -t optional < <(not_installed "$@")
  [ ${#missing[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ] || { say "Debian packages: all there"; return; }
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      [ ${#missing[@]} -eq 0 ] || fail "these packages are missing and need root: apt-get install ${missing[*]} ${optional[*]}"
      say "going on without ${optional[*]}: to install packages needs root"
      return
    fi
    sudo=(sudo)
  fi
  [ ${#missing[@]} -eq 0 ] || "${sudo[@]}" apt-get update -qq
  for name in "${optional[@]}"; do
    if apt-cache show "$name" >/dev/null 2>&1; then missing+=("$name"); else say "going on without $name: apt has no such package"; fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian packages: ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
is_new_enough() { [ "$(printf '%s\n' "$2" "$(version_of "$1")" | sort -V | head -n 1)" = "$2" ]; }

# found_python LEAST: an interpreter for the private environment, of version LEAST or newer; fails where there is none.
found_python() {
  local candidate candidates=(python3 python3.14 python3.13 python3.12 python3.11)
  [ -z "${JOINTTUNER_PYTHON:-}" ] || candidates=("$JOINTTUNER_PYTHON")
  for candidate in "${candidates[@]}"; do
    if is_new_enough "$candidate" "$1"; then printf '%s\n' "$candidate"; return; fi
  done
  return 1
}

has_env() { [ -x "$python" ] && is_new_enough "$python" "$1"; }

# Asked before anything is installed.
check_exporter_python() {
  has_env $exporter_least || found_python $exporter_least >/dev/null && return
  local named=${JOINTTUNER_PYTHON:-python3}
  command -v "$named" >/dev/null || [ -n "${JOINTTUNER_PYTHON:-}" ] || return 0  # comes with the Debian packages
  fail "the exporter needs Python $exporter_least or newer, and $named is $(version_of "$named" || echo no Python);" \
    "install a newer one beside it (python3.11 and python3.11-venv) or name one with JOINTTUNER_PYTHON=/path/to/python3"
}

# make_env LEAST: the private environment; made anew where its interpreter is older. One that suits the exporter comes first.
make_env() {
  has_env "$1" && return
  local with
  with=$(found_python $exporter_least || found_python "$1") ||
    fail "no Python $1 or newer was found; name one with JOINTTUNER_PYTHON=/path/to/python3"
  say "making a private Python environment in $env_dir with $with"
  mkdir -p "$home"
  "$with" -m venv --clear "$env_dir" || fail "$with -m venv failed: is ${with##*/}-venv installed?"
}

pip_install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

install_torch() {
  local root
  if root=$(torch_root); then say "LibTorch: $root"; return; fi
  make_env $torch_least
  say "installing LibTorch $torch_version (a 1 GB download) into $env_dir"
  pip_install --no-deps "${torch_wheels[@]}"
  have_toolkit || pip_install --no-deps "${run_time_wheels[@]}"
  torch_root >/dev/null || fail "the torch wheel was installed but has no lib/libtorch_cpu.so"
}

# stamp NAME WHEEL...: the file that is there once exactly these wheels are.
stamp() { printf '%s/%s-%s.done\n' "$env_dir" "$1" "$(printf '%s ' "${@:2}" | sha256sum | cut -c1-16)"; }

install_export() {
  make_env $exporter_least
  local stamp
  stamp=$(stamp export "${export_wheels[@]}")
  [ -f "$stamp" ] && { say "exporter's Python packages: all there"; return; }
  say "installing the exporter's Python packages into $env_dir"
  if have_toolkit; then
    "$python" -m pip show -q torch 2>/dev/null || pip_install --no-deps "${torch_wheels[@]}"
  else
    pip_install "torch==$torch_version"  # Python's torch loads every NVIDIA library at import
  fi
  pip_install --no-deps "${export_wheels[@]}"
  "$python" -c 'import torch, diffusers, transformers' || fail "the exporter's Python packages do not import"
  touch "$stamp"
}

install_world() {
  local stamp
  stamp=$(stamp world "${world_wheels[@]}")
  [ -f "$stamp" ] && { say "the world's Python packages: all there"; return; }
  say "installing the world's Python packages into $env_dir"
  pip_install --no-deps "${world_wheels[@]}"
  "$python" -c 'import matplotlib.pyplot' || fail "the world's Python packages do not import"
  touch "$stamp"
}

install_tests() {
  local stamp
  stamp=$(stamp tests "${test_wheels[@]}")
  [ -f "$stamp" ] && { say "formatters and linters: all there"; return; }
  say "installing formatters and linters into $env_dir"
  pip_install --no-deps "${test_wheels[@]}"
  local tool
  for tool in clang-format ruff; do
    "$env_dir/bin/$tool" --version >/dev/null || fail "$tool was installed but does not run"
  done
  touch "$stamp"
}

with_export=0 with_tests=0 with_world=0
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --print-torch-root) torch_root || fail "LibTorch is not installed yet: run scripts/setup.sh"; exit 0 ;;
  --print-python) [ -x "$python" ] || fail "the exporter's Python is not installed yet: run scripts/setup.sh --export"; printf '%s\n' "$python"; exit 0 ;;
  --export) with_export=1 ;;
  --tests) with_export=1 with_tests=1 ;;
  --world) with_export=1 with_world=1 ;;
  "") ;;
  *) usage >&2; fail "unknown option '$1'" ;;
esac
[ $with_export -eq 0 ] || check_exporter_python
optional_packages=("${faster_packages[@]}")
[ $with_tests -eq 0 ] || optional_packages+=("${test_packages[@]}")
install_packages "${optional_packages[@]}"
install_torch
[ $with_export -eq 0 ] || install_export
[ $with_tests -eq 0 ] || install_tests
[ $with_world -eq 0 ] || install_world
say "ready"
