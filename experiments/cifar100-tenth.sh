#!/bin/sh
# CIFAR-100 in five tasks with a tenth of the published epochs and nothing else changed
# (configs/cifar100-tenth.yaml), for a machine without a GPU: one repeat. RESULTS.md has the results.
#
#     sh experiments/cifar100-tenth.sh [--only NAME ...] [any flag of run.py, for every run]
#     sh experiments/sweep.sh experiments/cifar100-tenth.sh --runs_per_gpu 2
#
# The second line runs two at a time and takes more than a day. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"
OUT=${OUTPUT_DIR:-outputs/cifar100-tenth}
PROTOCOL="--config configs/cifar100-tenth.yaml"

run base --config configs/base.yaml "$@"
run abd --config configs/abd.yaml "$@"
run lwf_mc --config configs/lwf_mc.yaml "$@"
run deep_inversion --config configs/deep_inversion.yaml "$@"
# The first task of LwF and of the methods with a coreset is the same training as Base's: take its model.
SAME="--load_model_dir $OUT/base"
run lwf --config configs/lwf.yaml $SAME "$@"
run bic --config configs/bic.yaml $SAME "$@"
run naive_rehearsal --config configs/naive_rehearsal.yaml $SAME "$@"
run e2e --config configs/e2e.yaml $SAME "$@"
run lwf_coreset --config configs/lwf_coreset.yaml $SAME "$@"
run lwf_synthetic --config configs/lwf_synthetic.yaml "$@"
run upper_bound --config configs/base.yaml --first_split_size 100 --other_split_size 100 "$@"
run dgr --config configs/dgr.yaml "$@"

tables $OUT "$@"
