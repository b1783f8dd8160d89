#!/bin/sh
# Why synthetic replay fails and what ABD mends, measured on the networks that finished runs have saved.
#
#     sh experiments/diagnose.sh RUN [RUN ...] [--markdown | --csv] [--figure FILE] [--images N]
#
# RUN is a run's --log_dir.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
"$PYTHON" -m utils.reports.diagnose "$@"
