#!/bin/sh
# Sets up (once) and runs the tests, a process a core; arguments go to pytest:  sh tests/run.sh -k abd
set -e
cd "$(dirname "$0")/.."
sh install_requirements.sh
${PYTHON:-.venv/bin/python} -m pytest tests --numprocesses auto --dist loadfile "$@"
