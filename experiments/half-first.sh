#!/bin/sh
# Half of the classes first, then 5, 10 or 25 equal tasks: R-DFCIL's protocol, three repeats of each data-free
# method, beside the numbers of its paper.
#
#     sh experiments/half-first.sh PROTOCOL [GPU] [--only NAME ...] [any flag of run.py, for every run]
#
# PROTOCOL: cifar100-b50-t5, cifar100-b50-t10, cifar100-b50-t25, tinyimagenet-b100-t5, tinyimagenet-b100-t10,
# tinyimagenet-b100-t25 or imagenet100-b50-t5. GPU: its index, default 0; -1 for the CPU. `--only abd rfd` runs these two.
# Edit the files in configs/ that it names. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"
NAME=${1:?which PROTOCOL? --help lists them}
shift
OUT=${OUTPUT_DIR:-outputs/$NAME}
PROTOCOL="--config configs/$NAME.yaml"

run rdfcil --config configs/rdfcil.yaml "$@"
run cwd --config configs/cwd.yaml "$@"
run rfd --config configs/rfd.yaml "$@"
run abd --config configs/abd.yaml "$@"
run deep_inversion --config configs/deep_inversion.yaml "$@"

tables $OUT "$@"
