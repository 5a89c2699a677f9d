#!/usr/bin/env bash
# scripts/batch.sh: every combination, one that fails does not stop the rest, a second call does only what is missing.
source "$(dirname "$0")/recipe.sh"
write_config "$work/config.json" '"train": {"steps": 2, "checkpoint_every": 0}'
mkdir "$work/pictures" "$work/clips" "$work/broken"
cp "$image" "$work/pictures/a.jpg"; echo "a cat" >"$work/pictures/a.txt"
cp "$video" "$work/clips/a.mp4"; echo "a dog" >"$work/clips/a.txt"
echo "not a clip" >"$work/broken/a.mp4"; echo "a dog" >"$work/broken/a.txt"
printf '# a table\nsubject\tcat\t%s\ta cat\nmotion\twalk\t%s\t{subject}\nmotion\tbad\t%s\t{subject} runs\nseed\t0\nseed\t5\n' \
  "$work/pictures" "$work/clips" "$work/broken" >"$work/table.tsv"
batch() { JOINTTUNER=$JOINTTUNER "$SOURCE/scripts/batch.sh" --config "$work/config.json" --table "$work/table.tsv" --output "$work/batch" --device cpu; }
refuses 1 "2 of 4 done, 2 failed" batch
for run in cat_walk_s0 cat_walk_s5; do
  checks=$((checks + 1))
  [ -n "$(find "$work/batch/$run/samples" -name '*.mp4')" ] || fail "$run has no sample"
done
checks=$((checks + 1))
grep -q $'^cat_bad_s0\tFAILED: .*a.mp4' "$work/batch/batch_summary.tsv" || { cat "$work/batch/batch_summary.tsv" >&2; fail "the summary does not name the broken clip"; }
cp "$video" "$work/broken/a.mp4"
succeeds "second call" batch
checks=$((checks + 1))
[ "$(grep -c 'done before' "$work/batch/batch_summary.tsv")" -eq 2 ] || fail "finished runs were done again"
printf 'subject\tcat\t%s\n' "$work/pictures" >"$work/table.tsv"
refuses 2 "table.tsv:1: a subject row has four columns" batch
passed
