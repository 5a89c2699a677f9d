# shellcheck shell=bash
# Sourced by every recipe: the real binary, a scratch folder, a small config, and what to expect of them.
# In the environment: JOINTTUNER (the program), SOURCE (the repository), and what families.json says of one family: BUNDLE (a tiny
# bundle), HEIGHT, WIDTH, FRAMES (of a small clip that it takes), SAMPLING (sampler/guidance/guidance schedule of its published
# pipeline), PIPELINE (its name in tests/pipelines/tiny.py); FOREIGN_BUNDLE (nothing of this one fits it); for oracles also PYTHON.
# DEVICE=cuda runs them on a GPU; by default the CPU, whose results the oracles know.
set -uo pipefail
: "${JOINTTUNER:?}" "${SOURCE:?}" "${BUNDLE:?}" "${HEIGHT:?}" "${WIDTH:?}" "${FRAMES:?}"
export OMP_WAIT_POLICY=passive
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache
checks=0

# Real pictures and a real clip; without the captions beside them, since tiny bundles' text encoders take few tokens.
mkdir "$work/images" "$work/videos"
cp "$SOURCE"/examples/images/*.jpg "$work/images"
cp "$SOURCE"/examples/videos/*.mp4 "$work/videos"
# shellcheck disable=SC2034  # for the recipes
image=$(find "$work/images" -type f | sort | head -n 1)
# shellcheck disable=SC2034  # for the recipes
video=$(find "$work/videos" -type f | sort | head -n 1)

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
passed() { printf '%s, %s: %d checks passed\n' "$(basename "$0")" "$(basename "$BUNDLE")" "$checks"; [ "$checks" -gt 0 ]; }

# equal WHAT FILE FILE: the same bytes.
equal() { checks=$((checks + 1)); cmp "$2" "$3" || fail "$1: $2 and $3 differ"; }

# succeeds WHAT COMMAND...
succeeds() {
  local what=$1; shift
  checks=$((checks + 1))
  "$@" >"$work/out" 2>"$work/err"
  local got=$?
  [ $got -eq 0 ] || { tail -n 20 "$work/err" >&2; fail "$what: exit code $got"; }
}

# refuses CODE "part of the message" COMMAND...: ends with that exit code and says so in one clear message.
refuses() {
  local code=$1 part=$2; shift 2
  checks=$((checks + 1))
  "$@" >"$work/out" 2>"$work/err"
  local got=$?
  [ $got -eq "$code" ] || { tail -n 5 "$work/err" >&2; fail "expected exit code $code, got $got: $*"; }
  grep -qF -- "$part" "$work/err" || { cat "$work/err" >&2; fail "the message of '$*' does not say '$part'"; }
  ! grep -qE 'Exception raised from|frame #|terminate called|\.cpp:[0-9]' "$work/err" || { cat "$work/err" >&2; fail "a backtrace in the message of '$*'"; }
}

# write_config FILE [SECTIONS]: a small run; SECTIONS is JSON such as '"train": {...}, "preview": {...}'.
write_config() {
  local file=$1 extra=${2:-'"train": {"steps": 6, "learning_rate": 0.01, "checkpoint_every": 2}'}
  cat >"$file" <<JSON
{
  "run": {"name": "run", "output": "$work/runs", "seed": 3, "device": "${DEVICE:-cpu}", "threads": 1},
  "backbone": {"bundle": "$BUNDLE"},
  "data": {
    "images": [{"path": "$work/images", "caption": "a cat"}],
    "videos": [{"path": "$work/videos", "caption": "a dog"}],
    "height": $HEIGHT, "width": $WIDTH, "frames": $FRAMES, "fps": 8
  },
  "adapter": {"rank": 2},
  "sample": {"prompts": ["a cat", "a dog"], "seeds": [1], "steps": 3, "guidance": 3},
  $extra
}
JSON
}

train() { "$JOINTTUNER" train --config "$work/config.json" "$@"; }
