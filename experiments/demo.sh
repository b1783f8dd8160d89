#!/bin/sh
# The demo: handwritten digits in five tasks of two classes; minutes on two cores, installation included.
#
#     sh experiments/demo.sh
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/demo

for METHOD in base deep_inversion abd; do
    "$PYTHON" run.py --config configs/digits.yaml configs/$METHOD.yaml --log_dir $OUT/$METHOD
done
echo
"$PYTHON" -m utils.reports.tables $OUT/base $OUT/deep_inversion $OUT/abd
echo "What the networks dreamed after each task: $PWD/$OUT/abd/figures and $PWD/$OUT/deep_inversion/figures"
