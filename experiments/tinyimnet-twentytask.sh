#!/bin/sh
# TinyImageNet in twenty tasks of 10 classes: the published protocol, three repeats of every method of the paper.
# Its archive, unpacked, is to lie in datasets/tiny-imagenet-200 (or under another --dataroot).
#
#     sh experiments/tinyimnet-twentytask.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below; `python run.py --help` explains each. A stopped script, started again, resumes where it was.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/tinyimnet-twentytask

PROTOCOL="$PUBLISHED --dataset TinyImageNet
    --model_type resnet --model_name resnet32
    --weight_decay 2e-4
    --schedule 100 150 200 250 --batch_size 128 --power_iters 10000"
SPLIT="--first_split_size 10 --other_split_size 10 --max_task -1"
DREAMS="--gen_model_type generator --gen_model_name TINYIMNET_GEN"

# UB, the upper bound: all classes at once
"$PYTHON" run.py $PROTOCOL --first_split_size 200 --other_split_size 200 \
    --learner_type default --learner_name NormalNN \
    --log_dir $OUT/ub

# Base
"$PYTHON" run.py $PROTOCOL $SPLIT \
    --learner_type default --learner_name NormalNN \
    --log_dir $OUT/base

# The first task of LwF and of the methods with a coreset is the same training as Base's: take its models.
SAME="--load_model_dir $OUT/base"

# LwF
"$PYTHON" run.py $PROTOCOL $SPLIT $SAME \
    --learner_type kd --learner_name LWF --mu 1 --temp 2 \
    --log_dir $OUT/lwf

# LwF.MC
"$PYTHON" run.py $PROTOCOL $SPLIT \
    --learner_type kd --learner_name LWF_MC \
    --log_dir $OUT/lwf_mc

# DGR
"$PYTHON" run.py $PROTOCOL $SPLIT --weight_decay 0 \
    --gen_model_type autoencoder --gen_model_name TINYIMNET_GEN \
    --learner_type dgr --learner_name Generative_Replay --mu 1 --temp 2 \
    --log_dir $OUT/dgr

# DeepInversion
"$PYTHON" run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name DeepInversionGenBN --mu 1 --temp 2 \
    --log_dir $OUT/deep_inversion

# LwF-Synthetic
"$PYTHON" run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name DeepInversionLWF --mu 0.1 --temp 2 \
    --log_dir $OUT/lwf_synthetic

# ABD ("Ours")
"$PYTHON" run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name AlwaysBeDreaming --mu 0.1 \
    --log_dir $OUT/abd

# Naive Rehearsal, with a coreset of 2,000 images
"$PYTHON" run.py $PROTOCOL $SPLIT $SAME --memory 2000 \
    --learner_type default --learner_name NormalNN \
    --log_dir $OUT/naive_rehearsal

# LwF with a coreset
"$PYTHON" run.py $PROTOCOL $SPLIT $SAME --memory 2000 \
    --learner_type kd --learner_name LWF --mu 1 --temp 2 \
    --log_dir $OUT/lwf_coreset

# E2E
"$PYTHON" run.py $PROTOCOL $SPLIT $SAME --memory 2000 \
    --learner_type kd --learner_name ETE --mu 1 --temp 2 \
    --log_dir $OUT/e2e

# BiC
"$PYTHON" run.py $PROTOCOL $SPLIT $SAME --memory 2000 \
    --learner_type kd --learner_name BIC --temp 2 \
    --log_dir $OUT/bic

"$PYTHON" -m utils.reports.tables $OUT/ub $OUT/base $OUT/lwf $OUT/lwf_mc $OUT/dgr $OUT/deep_inversion $OUT/lwf_synthetic $OUT/abd \
    $OUT/naive_rehearsal $OUT/lwf_coreset $OUT/e2e $OUT/bic
