#!/bin/sh
# CIFAR-100 in five tasks, scaled down for a machine without a GPU (configs/cifar100-laptop.yaml): one repeat
# of each method of tables 1 and 2. RESULTS.md has the accuracies, which are not the published ones.
#
#     sh experiments/cifar100-laptop.sh
#
# A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/cifar100-laptop

run() {  # METHOD [FLAG ...]
    METHOD=$1
    shift
    "$PYTHON" run.py --config configs/cifar100-laptop.yaml configs/$METHOD.yaml "$@"
}

run base --log_dir $OUT/base
# The first task of LwF and of the methods with a coreset is the same training as Base's: take its model.
for METHOD in lwf naive_rehearsal lwf_coreset e2e bic; do
    run $METHOD --load_model_dir $OUT/base --log_dir $OUT/$METHOD
done
for METHOD in lwf_mc abd deep_inversion lwf_synthetic dgr; do
    run $METHOD --log_dir $OUT/$METHOD
done
run base --first_split_size 100 --other_split_size 100 --log_dir $OUT/upper_bound

"$PYTHON" -m utils.reports.tables $OUT/upper_bound $OUT/base $OUT/lwf $OUT/lwf_mc $OUT/dgr \
    $OUT/deep_inversion $OUT/lwf_synthetic $OUT/abd $OUT/naive_rehearsal $OUT/lwf_coreset $OUT/e2e $OUT/bic
