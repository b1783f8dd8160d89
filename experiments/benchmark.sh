#!/bin/sh
# How long a step of every learner takes on this machine, what the time goes to, and how far that is from the floor.
#
#     sh experiments/benchmark.sh [--learners NAME ...] [--rounds N] [--markdown | --csv] [any flag of run.py, e.g. --precision bf16]
#     sh experiments/benchmark.sh --count           operations that a step dispatches
#     sh experiments/benchmark.sh --against DIR     a checkout of the authors' implementation and this one in turns (docs/performance.md)
#
# Let nothing else run meanwhile.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
"$PYTHON" -m utils.benchmark "$@"
