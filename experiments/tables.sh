#!/bin/sh
# Tables 1 and 2 of the paper, and those of R-DFCIL's protocol, with what the runs under OUTPUTS have reached so far, finished or not.
#
#     sh experiments/tables.sh [OUTPUTS] [--markdown | --csv] [--figures DIR]        OUTPUTS: a folder; default: the repository's outputs
#
# Folders that are runs themselves are set side by side instead.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
"$PYTHON" -m utils.reports.tables "$@"
