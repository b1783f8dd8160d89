#!/bin/sh
# CIFAR-100 in five tasks, scaled down for a machine without a GPU (configs/cifar100-laptop.yaml): one repeat
# of each method of tables 1 and 2. RESULTS.md has the accuracies, which are not the published ones.
#
#     sh experiments/cifar100-laptop.sh [--only NAME ...] [any flag of run.py, for every run]
#
# `--only base abd` runs these two. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"
OUT=${OUTPUT_DIR:-outputs/cifar100-laptop}
PROTOCOL="--config configs/cifar100-laptop.yaml"

run base --config configs/base.yaml "$@"
# The first task of LwF and of the methods with a coreset is the same training as Base's: take its model.
SAME="--load_model_dir $OUT/base"
run lwf --config configs/lwf.yaml $SAME "$@"
run naive_rehearsal --config configs/naive_rehearsal.yaml $SAME "$@"
run lwf_coreset --config configs/lwf_coreset.yaml $SAME "$@"
run e2e --config configs/e2e.yaml $SAME "$@"
run bic --config configs/bic.yaml $SAME "$@"
run lwf_mc --config configs/lwf_mc.yaml "$@"
run abd --config configs/abd.yaml "$@"
run deep_inversion --config configs/deep_inversion.yaml "$@"
run lwf_synthetic --config configs/lwf_synthetic.yaml "$@"
run dgr --config configs/dgr.yaml "$@"
run upper_bound --config configs/base.yaml --first_split_size 100 --other_split_size 100 "$@"

tables $OUT "$@"
