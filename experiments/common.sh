# Each script begins with this: go to the repository, install the packages, set PYTHON to the interpreter.
#
#     . "$(dirname -- "$0")/common.sh"
#
# If PYTHON is set, to a name or a path, it is used and nothing is installed. A script that passes its
# arguments to a program sets STARTED_IN=$PWD first: relative paths in them start there.
( : 3<&0 ) 2>/dev/null || exec </dev/null # cron may close the streams
( : 3>&1 ) 2>/dev/null || exec >/dev/null
( : 3>&2 ) || exec 2>/dev/null
[ -z "${STARTED_IN-}" ] || export STARTED_IN
case ${PYTHON-} in */*) PYTHON=$(cd -- "$(dirname -- "$PYTHON")" && pwd)/${PYTHON##*/} ;; esac
CDPATH='' cd -- "$(dirname -- "$0")/.."
[ "${STARTED_IN-}" != "$PWD" ] || STARTED_IN= # and paths are shown as they were written
sh install_requirements.sh
PYTHON=${PYTHON:-.venv/bin/python}
command -v "$PYTHON" >/dev/null || { echo "$0: PYTHON=$PYTHON: no such program" >&2; exit 2; }
unset PYTHONSAFEPATH # with it, `python -m` would not look for modules here
unset MPLBACKEND # Jupyter's, which this Python may lack
