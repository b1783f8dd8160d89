#!/bin/sh
# Makes .venv with pinned packages, once; a second call does nothing. Needs Python 3.10 or newer.
# Where PYTHON is set, that interpreter is used as it is and nothing is installed:
#     PYTHON=python3 sh experiments/demo.sh
set -e
cd "$(dirname "$0")"
[ -z "$PYTHON" ] || exit 0
cmp -s install_requirements.sh .venv/installed && exit 0

for python in python3 python; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
    python=
done
[ -n "$python" ] || { echo "install_requirements.sh: needs Python 3.10 or newer on the PATH as python3" >&2; exit 1; }
"$python" -m venv .venv || { echo "install_requirements.sh: no .venv could be made; on Debian, apt-get install python3-venv" >&2; exit 1; }
echo "installing packages into .venv (once)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 torchvision==0.28.0 numpy==2.2.6 pillow==13.0.0 pyyaml==6.0.3 tqdm==4.67.1 \
    scikit-learn==1.7.2 matplotlib==3.10.7 pytest==9.0.1 hypothesis==6.170.17 pytest-xdist==3.8.0 \
    mypy==2.4.1 ruff==0.17.6 types-pyyaml==6.0.12.20261113
cp install_requirements.sh .venv/installed
