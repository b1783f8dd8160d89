#!/bin/sh
# Makes .venv with the packages of requirements.txt, once; a second call does nothing. Needs Python 3.10 or newer.
#
#     sh install_requirements.sh [GROUP ...]        GROUP: dev, ray or tensorboard adds the packages of requirements-GROUP.txt
#
# Where PYTHON is set, that interpreter is used as it is and nothing is installed:
#     PYTHON=python3 sh experiments/demo.sh
set -e
fail() {
    echo "install_requirements.sh: $1" >&2
    exit 1
}
case $(uname -s) in MINGW* | MSYS* | CYGWIN*) fail "runs on Linux, macOS and Windows' WSL, not on Windows itself; start it in WSL" ;; esac
CDPATH='' cd -- "$(dirname -- "$0")"
[ -z "$PYTHON" ] || exit 0

VENV=.venv/bin/python
# What is not installed as its file is now; a copy of each file stays in .venv, unless the Python there is gone.
find_missing() {
    "$VENV" -c "" 2>/dev/null || rm -f .venv/requirements*.txt
    missing=
    for group in "" "$@"; do
        file=requirements${group:+-$group}.txt
        [ -f "$file" ] || fail "$group: there is no $file; groups are dev, ray and tensorboard"
        cmp -s "$file" ".venv/$file" || missing="$missing $file"
    done
}
find_missing "$@"
[ -n "$missing" ] || exit 0

# Of two calls at the same time one installs, the other waits. The lock is of the open file: it lasts as long as this shell and what it
# starts. Network file systems lock only what is open for writing; nothing is written.
wait_for_lock='
import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another installation in this folder", flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:  # a file system without locks
    pass'
if (: >>requirements.txt) 2>/dev/null; then
    exec 9>>requirements.txt
    for python in "$VENV" python3 python; do
        "$python" -c "$wait_for_lock" 2>/dev/null && break
    done
    find_missing "$@"
    [ -n "$missing" ] || exit 0
fi

if ! "$VENV" -m pip --version >/dev/null 2>&1; then  # no .venv, or one whose making was interrupted or whose Python is gone
    for python in python3 python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && break
        python=
    done
    [ -n "$python" ] || fail "needs Python 3.10 or newer on the PATH as python3"
    "$python" -m venv --clear .venv >&2 || fail "no .venv could be made; on Debian, apt-get install python3-venv"
fi
# Where an earlier call was interrupted, packages may lack files though pip finds them installed: all are written again.
again=
[ ! -e .venv/interrupted ] || again=--ignore-installed
: > .venv/interrupted
echo "installing packages into .venv (once)"
for file in $missing; do
    set -- "$@" -r "$file"
done
while [ "$1" != -r ]; do  # the groups
    shift
done
if ! "$VENV" -m pip install --quiet --disable-pip-version-check $again "$@" >.venv/install.log 2>&1; then
    reason=$(grep '^ERROR' .venv/install.log | tail -n 1)
    fail "pip could not install packages (${reason:-see .venv/install.log}); check the internet connection and the disk, then start it again"
fi
for file in $missing; do
    cp "$file" .venv/
done
rm -f .venv/interrupted
