#!/bin/sh
# TinyImageNet, 100 classes first, then 5, 10 or 25 equal tasks: R-DFCIL's protocol, three repeats of each
# data-free method. The tables set them beside the numbers of its paper.
#
#     sh experiments/tinyimagenet-b100.sh [GPU] [TASKS ...]        default: 0 5 10 25; GPU -1: the CPU
#
# Edit the files in configs/ that it names; `python run.py --help` explains their settings.
# A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/common.sh"
GPU=${1:-0}
[ $# -eq 0 ] || shift

for TASKS in ${*:-5 10 25}; do
    NAME=tinyimagenet-b100-t$TASKS
    for METHOD in rdfcil cwd rfd abd deep_inversion; do
        "$PYTHON" run.py --config configs/$NAME.yaml configs/$METHOD.yaml --gpuid "$GPU" \
            --log_dir outputs/$NAME/$METHOD
    done
    "$PYTHON" -m utils.reports.tables outputs/$NAME
done
