#!/bin/sh
# Sets up (once) and runs the tests, a process a core; arguments go to pytest:  sh tests/run.sh -k abd
set -e
. "$(dirname -- "$0")/../experiments/common.sh"
sh install_requirements.sh dev
"$PYTHON" -m pytest tests --numprocesses auto --dist loadfile "$@"
