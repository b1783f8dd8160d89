#!/bin/sh
# Many runs at once on this machine or a cluster; started again, it resumes (docs/sweeps.md).
#
#     sh experiments/sweep.sh SCRIPT ... [--runs_per_gpu N] [-- arguments of the scripts]
#     sh experiments/sweep.sh --grid NAME=V,V ... [--seeds N] [--runs_per_gpu N] -- flags of run.py
#
# With --list it prints the runs, one per line; with --only K it runs the K-th of them.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
WORDS=" $* "
case ${WORDS%% -- *} in
    *" --list"* | *" --only "*) ;;
    *) sh install_requirements.sh dev ;; # with Ray
esac
exec "$PYTHON" -m utils.sweep "$@"
