#!/usr/bin/env bash
# What this backbone cannot do is refused before any work, naming the nearest that it can: sizes, frame counts, long prompts, strengths.
source "$(dirname "$0")/recipe.sh"
write_config "$work/config.json"
fact() { grep -oE "\"$1\": *[0-9]+" "$BUNDLE/bundle.json" | head -n 1 | grep -oE '[0-9]+$'; }
sample() { "$JOINTTUNER" sample --backbone "$BUNDLE" --steps 1 --output "$work/s" "$@"; }
many=$(for _ in $(seq $(($(fact max_length) + 1))); do printf 'word '; done)

for side in height width; do
  fits=$HEIGHT
  [ $side = height ] || fits=$WIDTH
  step=$(($(fact spatial_compression) * $(fact ${side}_multiple)))
  refuses 2 "data.$side: $((fits + 1)) px, but this backbone takes multiples of $step" train --set data.$side=$((fits + 1))
  refuses 2 "use $fits or $((fits + step))" sample --prompt "a cat" --$side $((fits + 1))
done
compression=$(fact temporal_compression)
if [ "$compression" -gt 1 ]; then
  refuses 2 "data.frames: this backbone does not take $((FRAMES + 1)) frames; use $FRAMES or $((FRAMES + compression))" train --set data.frames=$((FRAMES + 1))
  refuses 2 "use $FRAMES or $((FRAMES + compression))" sample --prompt "a cat" --frames $((FRAMES + 1))
fi
refuses 1 "tokens" sample --prompt "$many"
refuses 1 "tokens" train --set "data.images=[{\"path\": \"$work/images\", \"caption\": \"$many\"}]"
for group in spatial temporal; do
  if ! grep -q "\"group\": *\"$group\"" "$BUNDLE/bundle.json"; then
    refuses 2 "has no $group sites" sample --prompt "a cat" --$group-scale 0.5
  fi
done
[ ! -e "$work/s" ] || fail "a refused command wrote $work/s"
passed
