#!/bin/sh
# CIFAR-100 in five tasks with a tenth of the published epochs and nothing else changed
# (configs/cifar100-tenth.yaml), for a machine without a GPU: one repeat. RESULTS.md has the results.
#
#     sh experiments/sweep.sh experiments/cifar100-tenth.sh --runs_per_gpu 2 --gpuid -1
#
# takes more than a day, two runs at a time. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/cifar100-tenth

run() {  # METHOD [FLAG ...]
    METHOD=$1
    shift
    "$PYTHON" run.py --config configs/cifar100-tenth.yaml configs/$METHOD.yaml "$@"
}

run base --log_dir $OUT/base
for METHOD in abd lwf_mc deep_inversion; do
    run $METHOD --log_dir $OUT/$METHOD
done
# The first task of LwF and of the methods with a coreset is the same training as Base's: take its model.
for METHOD in lwf bic naive_rehearsal e2e lwf_coreset; do
    run $METHOD --load_model_dir $OUT/base --log_dir $OUT/$METHOD
done
run lwf_synthetic --log_dir $OUT/lwf_synthetic
run base --first_split_size 100 --other_split_size 100 --log_dir $OUT/upper_bound
run dgr --log_dir $OUT/dgr

"$PYTHON" -m utils.reports.tables $OUT
