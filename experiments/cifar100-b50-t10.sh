#!/bin/sh
# CIFAR-100, 50 classes first, then 10 tasks of 5: R-DFCIL's protocol (configs/cifar100-b50-t10.yaml), three repeats of the
# data-free methods. The tables set them beside the numbers of its paper.
#
#     sh experiments/cifar100-b50-t10.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below, or the files in configs/ that they name;
# `python run.py --help` explains each. A stopped script, started again, resumes where it was.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/cifar100-b50-t10

for METHOD in rdfcil cwd rfd abd deep_inversion; do
    "$PYTHON" run.py --config configs/cifar100-b50-t10.yaml configs/$METHOD.yaml --gpuid "${1:-0}" --log_dir $OUT/$METHOD
done

"$PYTHON" -m utils.reports.tables $OUT
