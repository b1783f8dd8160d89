#!/bin/sh
# The runs of other scripts side by side, so many on each device; started again, it resumes (docs/sweeps.md).
#
#     sh experiments/sweep.sh experiments/cifar100-fivetask.sh [SCRIPT ...] [--runs_per_gpu N] [--gpuid N ...] [--engine ray [--address A]]
set -e
. "$(dirname -- "$0")/common.sh"
exec "$PYTHON" -m utils.sweeps.sweep "$@"
