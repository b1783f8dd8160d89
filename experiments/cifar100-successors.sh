#!/bin/sh
# R-DFCIL, CwD and RFD under ABD's published protocol on CIFAR-100 (configs/cifar100.yaml): 5, 10 and 20 equal
# tasks, three repeats. The tables show them together with the runs of experiments/cifar100-fivetask.sh.
#
#     sh experiments/cifar100-successors.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below, or the files in configs/ that they name; `python run.py --help` explains them.
# A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/common.sh"

split() {  # NAME CLASSES_OF_A_TASK
    for METHOD in rdfcil cwd rfd; do
        "$PYTHON" run.py --config configs/cifar100.yaml configs/$METHOD.yaml --gpuid "$GPU" \
            --first_split_size $2 --other_split_size $2 --log_dir outputs/cifar100-$1task/$METHOD
    done
}

GPU=${1:-0}
split five 20
split ten 10
split twenty 5

"$PYTHON" -m utils.reports.tables outputs
