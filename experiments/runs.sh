# A script of several runs begins with this. Its arguments: [GPU] [--only NAME ...] [any flag of run.py]
#
#     . "$(dirname -- "$0")/runs.sh"
#     OUT=${OUTPUT_DIR:-outputs/mine} PROTOCOL="--dataset CIFAR100 ..."    the folder and the flags of every run
#     run abd --learner_name AlwaysBeDreaming "$@"          "$@": the flags on the command line, which win
case ${1-} in -h | --help) sed -n '1d; /^#/!q; s/^# \{0,1\}//p' "$0"; exit ;; esac
. "$(dirname -- "$0")/common.sh"

GPU='' ONLY='' FLAG=''
for WORD; do # leaves the flags of run.py in "$@"
    shift
    case $WORD in --*) FLAG=$WORD ;; esac
    case $FLAG,$WORD in
        ,[0-9]* | ,-[0-9]*) GPU=$WORD ;;
        --only,--only) ;;
        --only,*) ONLY="$ONLY $WORD" ;;
        *) set -- "$@" "$WORD" ;;
    esac
done
NAMES=$(sed -n 's/^ *run \([a-z0-9_]*\) .*/ \1 /p' "$0" | tr -d '\n')
for WORD in $ONLY; do
    case $NAMES in *" $WORD "*) continue ;; esac
    echo "$0: --only $WORD: the script has no such run, only$NAMES" >&2
    exit 2
done

run() { # NAME [FLAG ...]
    case " ${ONLY:-$1} " in *" $1 "*) ;; *) return 0 ;; esac
    LOG_DIR=$OUT/$1
    shift
    py run.py $PROTOCOL --log_dir "$LOG_DIR" ${GPU:+--gpuid "$GPU"} "$@"
}

tables() { # FOLDER [FLAG ...]: nothing if the runs went elsewhere
    case " $* " in *" --log_dir "*) ;; *) py -m utils.reports.tables "$1" ;; esac
}

py() { # in the background, because a shell answers signals only while it waits; there Ctrl-C is ignored
    "$PYTHON" "$@" &
    wait $!
}
stop() { # STATUS
    trap 'kill -KILL $!' INT # Ctrl-C again
    kill $! 2>/dev/null || exit "$1"
    while kill -0 $! 2>/dev/null; do wait $! || :; done
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM USR1
