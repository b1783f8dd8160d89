#!/bin/sh
# R-DFCIL, CwD and RFD under ABD's published protocol on CIFAR-100 (configs/cifar100.yaml): 5, 10 and 20 equal
# tasks, three repeats. The tables show them together with the runs of experiments/cifar100-fivetask.sh.
#
#     sh experiments/cifar100-successors.sh [GPU] [--only NAME ...] [any flag of run.py, for every run]
#
# GPU: its index, default 0; -1 for the CPU. `--only rfd` runs this one. Edit the files in configs/ that it
# names; `python run.py --help` explains their settings. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"

for SPLIT in five:20 ten:10 twenty:5; do
    OUT=outputs/cifar100-${SPLIT%:*}task
    PROTOCOL="--config configs/cifar100.yaml
        --first_split_size ${SPLIT#*:} --other_split_size ${SPLIT#*:}"
    run rdfcil --config configs/rdfcil.yaml "$@"
    run cwd --config configs/cwd.yaml "$@"
    run rfd --config configs/rfd.yaml "$@"
done

tables outputs "$@"
