# What the scripts begin with: standard streams that exist, the repository's root as the current folder, packages, the interpreter.
#
#     . "$(dirname -- "$0")/common.sh"
#
# PYTHON, where it is set, is the interpreter to use: a name or a path, with spaces or not, and no arguments.
( : 3<&0 ) 2>/dev/null || exec </dev/null
( : 3>&1 ) 2>/dev/null || exec >/dev/null
( : 3>&2 ) || exec 2>/dev/null
case $PYTHON in
    "") unset PYTHON ;;
    /*) ;;
    */*) PYTHON=$PWD/$PYTHON ;;  # of the folder in which the script was started
esac
CDPATH='' cd -- "$(dirname -- "$0")/.."
sh install_requirements.sh
PYTHON=${PYTHON:-.venv/bin/python}
command -v "$PYTHON" >/dev/null || { echo "$0: PYTHON=$PYTHON: there is no such program; name one interpreter, without arguments" >&2; exit 2; }
unset PYTHONSAFEPATH  # with it, `python -m` would not look for modules here

# The published protocol, as far as all data sets share it, and what else our runs state for themselves. $1: the script's GPU.
PUBLISHED="--dataroot datasets --workers 0 --train_aug --rand_split --repeat 3 --gpuid ${1:-0} --overwrite 0
    --optimizer SGD --lr 0.1 --momentum 0.9 --schedule_type decay
    --deep_inv_params 1e-3 5e1 1e-3 1e3 1 --beta 1"
