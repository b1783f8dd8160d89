#!/bin/sh
# Makes .venv with the packages of requirements.txt, once; a second call does nothing. Needs Python 3.11 to 3.14, or uv.
# `install_requirements.sh dev` adds those of requirements-dev.txt. If PYTHON is set, nothing is installed.
set -e
[ -z "${PYTHON-}" ] || exit 0
CDPATH='' cd -- "$(dirname -- "$0")"
set -- requirements.txt ${1:+"requirements-$1.txt"}
installed() { for FILE; do [ -x .venv/bin/python ] && cmp -s "$FILE" ".venv/$FILE" || return 1; done; }
! installed "$@" || exit 0
exec 9>>requirements.txt # locked until this shell ends: a second call waits, and then finds all done
python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2>/dev/null || : # a file system without locks
! installed "$@" || exit 0
if command -v uv >/dev/null; then
    VENV="uv venv --quiet --seed --python >=3.11,<3.15" INSTALL="uv pip install -q --python .venv/bin/python"
else
    FITS='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'
    for PY in python3 python3.14 python3.13 python3.12 python3.11 ''; do $PY -c "$FITS" 2>/dev/null && break; done
    [ -n "$PY" ] || { echo "$0: needs Python 3.11 to 3.14 on the PATH, or uv" >&2; exit 1; }
    VENV="$PY -m venv" INSTALL=".venv/bin/python -m pip install -q --disable-pip-version-check"
fi
[ -x .venv/bin/python ] && [ -e .venv/requirements.txt ] || { rm -rf .venv && $VENV .venv; } # interrupted
rm -f .venv/requirements.txt
echo "installing packages into .venv (once)"
PIP_USER=0 $INSTALL -r requirements.txt ${2:+-r "$2"}
cp "$@" .venv/
