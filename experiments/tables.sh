#!/bin/sh
# The published tables with what the runs under OUTPUTS have reached so far, finished or not.
#
#     sh experiments/tables.sh [OUTPUTS] [--markdown | --csv] [--figures DIR]        OUTPUTS: a folder; default: the repository's outputs
#
# Folders that are runs themselves are set side by side instead. Runs that differ in nothing but --seed and --repeat
# are repeats of one another.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
"$PYTHON" -m utils.reports.tables "$@"
