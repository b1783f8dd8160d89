#!/bin/sh
# The runs of other scripts side by side on this machine or a cluster; the same command resumes them (docs/sweeps.md).
#
#     sh experiments/sweep.sh experiments/cifar100-fivetask.sh [SCRIPT ...] [--runs_per_gpu N] [--gpuid N ...] [--address A]
#     sh experiments/sweep.sh experiments/cifar100-fivetask.sh --list        the runs of the script, one per line
#     sh experiments/sweep.sh experiments/cifar100-fivetask.sh --only K      the K-th of them alone
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
case " $* " in
    *" --list "* | *" --only "*) ;;
    *) sh install_requirements.sh dev ;; # with Ray
esac
exec "$PYTHON" -m utils.sweep "$@"
