#!/bin/sh
# The runs of other scripts side by side on this machine or a cluster; started again, it resumes (docs/sweeps.md).
#
#     sh experiments/sweep.sh SCRIPT [SCRIPT ...] [--runs_per_gpu N] [--gpuid N ...] [--address A]
#     sh experiments/sweep.sh SCRIPT --list        the runs of the script, one per line
#     sh experiments/sweep.sh SCRIPT --only K      the K-th of them alone
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
case " $* " in
    *" --list "* | *" --only "*) ;;
    *) sh install_requirements.sh dev ;; # with Ray
esac
exec "$PYTHON" -m utils.sweep "$@"
