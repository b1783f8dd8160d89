#!/bin/sh
# The demo: handwritten digits in five tasks of two classes; minutes on two cores, installation included.
#
#     sh experiments/demo.sh [--only NAME ...] [any flag of run.py, for every run]
set -e
. "$(dirname -- "$0")/runs.sh"
OUT=${OUTPUT_DIR:-outputs/demo}
PROTOCOL="--config configs/digits.yaml"

run base --config configs/base.yaml "$@"
run deep_inversion --config configs/deep_inversion.yaml "$@"
run abd --config configs/abd.yaml "$@"

echo
tables $OUT "$@"
echo "What the networks dreamed after each task: $PWD/$OUT/abd/figures and $PWD/$OUT/deep_inversion/figures"
