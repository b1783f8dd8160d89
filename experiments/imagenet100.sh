#!/bin/sh
# ImageNet-100 in ten tasks of 10 classes, three repeats per method; top-5 accuracy. Put ImageNet into
# datasets/ilsvrc, as train/WNID/*.JPEG and val/WNID/*.JPEG. (half-first.sh imagenet100-b50-t5: 50 classes first.)
#
#     sh experiments/imagenet100.sh [GPU] [--only NAME ...] [any flag of run.py, for every run]
#
# GPU: its index, default 0; -1 for the CPU. `--only abd base` runs these two. Edit the files in configs/ that it
# names. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"
OUT=${OUTPUT_DIR:-outputs/imagenet100-t10}
PROTOCOL="--config configs/imagenet100-t10.yaml"
SAME="--load_model_dir $OUT/base"

run base --config configs/base.yaml "$@"
run lwf --config configs/lwf.yaml $SAME "$@"
run lwf_mc --config configs/lwf_mc.yaml "$@"
run deep_inversion --config configs/deep_inversion.yaml $SAME "$@"
run abd --config configs/abd.yaml "$@"
run rdfcil --config configs/rdfcil.yaml "$@"
run naive_rehearsal --config configs/naive_rehearsal.yaml $SAME "$@"
run e2e --config configs/e2e.yaml $SAME "$@"
run bic --config configs/bic.yaml $SAME "$@"

tables $OUT "$@"
