# What the scripts begin with: standard streams, arguments, the repository's root as the current folder, packages, the interpreter.
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
unset STARTED_IN  # and no variable of the programs
STARTED_IN=$PWD
case $(tail -n 1 "$0") in
    *' -m utils.'*'"$@"') export STARTED_IN ;;  # a program of ours takes all arguments, relative paths among them (utils/files.py)
    *'"$@"') ;;
    *)  # the script has work of its own: it takes what the call in its header shows, a GPU or nothing
        case $1 in -h | --help) sed -n '1d; /^#/!q; s/^# \{0,1\}//p' "$0"; exit ;; esac
        MOST=$(grep -c '^#     sh .*\[GPU\]' "$0") || :
        [ $# -le "$MOST" ] || { echo "$0: too many arguments ($#, and it takes $MOST); --help shows which" >&2; exit 2; } ;;
esac
CDPATH='' cd -- "$(dirname -- "$0")/.."
[ "$STARTED_IN" != "$PWD" ] || STARTED_IN=
sh install_requirements.sh
PYTHON=${PYTHON:-.venv/bin/python}
command -v "$PYTHON" >/dev/null || { echo "$0: PYTHON=$PYTHON: there is no such program; name one interpreter, without arguments" >&2; exit 2; }
unset PYTHONSAFEPATH  # with it, `python -m` would not look for modules here

# The published protocol, as far as all data sets share it, and what else our runs state for themselves. $1: the script's GPU.
PUBLISHED="--dataroot datasets --workers 0 --train_aug --rand_split --repeat 3 --gpuid ${1:-0} --overwrite 0
    --optimizer SGD --lr 0.1 --momentum 0.9 --schedule_type decay
    --deep_inv_params 1e-3 5e1 1e-3 1e3 1 --beta 1"
