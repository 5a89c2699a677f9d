#!/usr/bin/env bash
# On Debian 13 (g++ 14, FFmpeg 7, fmt 10) setup.sh installs what is needed, and the modules named below compile without a warning and
# pass their tests. That Debian is a folder beside setup.sh's private environment, kept for the next run, which takes two minutes less.
# Skipped, with the reason, where no such folder can be made: it needs root, debootstrap, and a Debian whose mirror it can ask.
set -euo pipefail
: "${SOURCE:?}" "${JOINTTUNER_TORCH_ROOT:?}"
modules=(base media text config)
home=${JOINTTUNER_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/jointtuner}
root=$home/debian13
skip() { printf 'skipped: %s\n' "$*"; exit 77; }
say() { printf 'debian13: %s (%d s)\n' "$*" "$SECONDS"; }

# Mounts are made in a name space of this script's own: whatever becomes of it, none is left, and none is seen by another process.
if [ "${1:-}" != mounts_apart ]; then
  [ "$(id -u)" -eq 0 ] || skip "a Debian in a folder needs root"
  command -v debootstrap >/dev/null || skip "no debootstrap here; scripts/setup.sh --tests installs it"
  unshare --mount --propagation private true || skip "this machine allows no mounts"
  mkdir -p "$home"
  exec flock "$root.lock" unshare --mount --propagation private "$0" mounts_apart
fi

# The mirror that this machine's own Debian comes from.
# shellcheck disable=SC2016  # $(REPO_URI) is apt's to fill in
mirror=$(. /etc/os-release && [ "$ID" = debian ] &&
  apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" "Release: $VERSION_CODENAME" "Component: main" | head -n 1) || true

if [ ! -d "$root" ]; then
  [ -n "$mirror" ] || skip "apt's sources name no mirror of Debian"
  rm -rf --one-file-system "$root.unfinished"
  debootstrap --variant=minbase --include=ca-certificates trixie "$root.unfinished" "$mirror" >"$root.log" 2>&1 ||
    skip "debootstrap could not make a Debian 13 from $mirror: $(tail -n 1 "$root.log")"
  {
    apt-config dump | grep -E '^Acquire::(https?::Proxy(::[^ ]*)? |Check-)' || true  # how this machine reaches the mirror
    echo 'APT::Keep-Downloaded-Packages "false"; Dpkg::Use-Pty "false";'
  } >"$root.unfinished/etc/apt/apt.conf.d/90debian13"
  echo force-unsafe-io >"$root.unfinished/etc/dpkg/dpkg.cfg.d/90debian13"
  cp -r /usr/local/share/ca-certificates "$root.unfinished/usr/local/share"
  chroot "$root.unfinished" update-ca-certificates >>"$root.log" 2>&1
  mv "$root.unfinished" "$root"
  say "made in $root"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"

# seen FOLDER AS: a folder of this machine, to be read and not to be written there.
seen() { mkdir -p "$root$2" && mount --bind -o ro "$1" "$root$2"; }
mount -t proc proc "$root/proc"
seen "$SOURCE" /source
seen "$(dirname "$JOINTTUNER_TORCH_ROOT")" /site-packages
toolkit=${CUDA_HOME:-/usr/local/cuda}
[ ! -f "$toolkit/lib64/libcudart.so.13" ] || seen "$(realpath "$toolkit")" /usr/local/cuda

# there COMMAND...: in that Debian, in the source tree.
there() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 JOINTTUNER_TORCH_ROOT=/site-packages/torch BUILD_DIR=/build \
    CMAKE_BUILD_PARALLEL_LEVEL=2 ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    chroot "$root" bash -euo pipefail -c 'cd /source && "$@"' bash "$@"
}
there scripts/setup.sh
say "its packages are installed"
there bash -euo pipefail -c 'source scripts/build.sh
  build_options=(-DJOINTTUNER_WERROR=ON "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -DNDEBUG")
  build "$@"' bash "${modules[@]/%/_test}"
say "compiled: ${modules[*]}"
for module in "${modules[@]}"; do
  there env OMP_WAIT_POLICY=passive "/build/tests/${module}_test" --gtest_brief=1
done
say "passed: ${modules[*]}"
