#!/bin/sh
# Runs as tables, one for each data set and split, beside the published numbers (docs/run-folder.md, "Tables").
#
#     sh experiments/tables.sh [RUN or FOLDER ...] [--markdown | --latex | --csv] [--paper] [--figures DIR] [--format png]
#
# A FOLDER holds runs at any depth; default: the repository's outputs. --paper adds published rows without a run.
set -e
STARTED_IN=$PWD
. "$(dirname -- "$0")/common.sh"
"$PYTHON" -m utils.reports.tables "$@"
