#!/bin/sh
# CIFAR-100 in five tasks, scaled down for a machine without a GPU (configs/cifar100-laptop.yaml): one repeat of each
# learner, the shortest first. Not the published numbers; RESULTS.md has what came out and how long it took.
#
#     sh experiments/cifar100-laptop.sh
#
# A stopped script, started again, goes on where it was.
set -e
cd "$(dirname "$0")/.."
sh install_requirements.sh
PYTHON=${PYTHON:-.venv/bin/python}
OUT=outputs/cifar100-laptop

for METHOD in base lwf lwf_mc abd deep_inversion; do
    $PYTHON run.py --config configs/$METHOD.yaml configs/cifar100-laptop.yaml --log_dir $OUT/$METHOD
done
$PYTHON -m utils.tables $OUT/base $OUT/lwf $OUT/lwf_mc $OUT/deep_inversion $OUT/abd
