#!/bin/sh
# TinyImageNet in twenty tasks of 10 classes: the published protocol, three repeats of each method.
# Unpack its archive into datasets/tiny-imagenet-200 (or under another --dataroot).
#
#     sh experiments/tinyimnet-twentytask.sh [GPU] [--only NAME ...] [any flag of run.py, for every run]
#
# GPU: its index, default 0; -1 for the CPU. `--only abd base` runs these two. Edit the flags below;
# `python run.py --help` explains them. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/runs.sh"
OUT=${OUTPUT_DIR:-outputs/tinyimnet-twentytask}

PROTOCOL="--dataset TinyImageNet --dataroot datasets --workers 0 --train_aug --rand_split --repeat 3
    --overwrite 0 --model_type resnet --model_name resnet32
    --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 2e-4 --schedule_type decay
    --schedule 100 150 200 250 --batch_size 128 --power_iters 10000
    --deep_inv_params 1e-3 5e1 1e-3 1e3 1 --beta 1
    --first_split_size 10 --other_split_size 10 --max_task -1"
DREAMS="--gen_model_type generator --gen_model_name TINYIMNET_GEN"

# UB, the upper bound: all classes at once
run ub --first_split_size 200 --other_split_size 200 --learner_type default --learner_name NormalNN "$@"

# Base
run base --learner_type default --learner_name NormalNN "$@"

# LwF. Its first task, like that of the methods with a coreset, is trained as Base's: they take its models.
SAME="--load_model_dir $OUT/base"
run lwf $SAME --learner_type kd --learner_name LWF --mu 1 --temp 2 "$@"

# LwF.MC
run lwf_mc --learner_type kd --learner_name LWF_MC "$@"

# DGR
run dgr --weight_decay 0 --gen_model_type autoencoder --gen_model_name TINYIMNET_GEN \
    --learner_type dgr --learner_name Generative_Replay --mu 1 --temp 2 "$@"

# DeepInversion, LwF-Synthetic and ABD ("Ours")
run deep_inversion $DREAMS --learner_type datafree --learner_name DeepInversionGenBN --mu 1 --temp 2 "$@"
run lwf_synthetic $DREAMS --learner_type datafree --learner_name DeepInversionLWF --mu 0.1 --temp 2 "$@"
run abd $DREAMS --learner_type datafree --learner_name AlwaysBeDreaming --mu 0.1 "$@"

# Naive Rehearsal, LwF, E2E and BiC, with a coreset of 2,000 images
CORESET="$SAME --memory 2000"
run naive_rehearsal $CORESET --learner_type default --learner_name NormalNN "$@"
run lwf_coreset $CORESET --learner_type kd --learner_name LWF --mu 1 --temp 2 "$@"
run e2e $CORESET --learner_type kd --learner_name ETE --mu 1 --temp 2 "$@"
run bic $CORESET --learner_type kd --learner_name BIC --temp 2 "$@"

tables $OUT "$@"
