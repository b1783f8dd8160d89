#!/bin/sh
# How long a training step of every learner takes on this machine (docs/performance.md).
#
#     sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [any flag of run.py, e.g. --precision bf16]
#     sh experiments/benchmark.sh --against DIR     a checkout of the authors' code and this one in turns
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
exec "$PYTHON" -m utils.benchmark "$@"
