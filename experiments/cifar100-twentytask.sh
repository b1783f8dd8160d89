#!/bin/sh
# CIFAR-100 in twenty tasks of 5 classes: the published protocol (tables 1 and 2), three repeats of every method of the paper.
#
#     sh experiments/cifar100-twentytask.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below; `python run.py --help` explains each. A stopped script, started again, resumes where it was.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/cifar100-twentytask

PROTOCOL="$PUBLISHED --dataset CIFAR100
    --model_type resnet --model_name resnet32
    --weight_decay 2e-4
    --schedule 100 150 200 250 --batch_size 128 --power_iters 10000"
SPLIT="--first_split_size 5 --other_split_size 5"
DREAMS="--gen_model_type generator --gen_model_name CIFAR_GEN"

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
    --gen_model_type autoencoder --gen_model_name CIFAR_GEN \
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

# UB, the upper bound: all classes at once (the same for every split: the scripts share its folder)
"$PYTHON" run.py $PROTOCOL --first_split_size 100 --other_split_size 100 \
    --learner_type default --learner_name NormalNN \
    --log_dir outputs/cifar100-upper-bound

"$PYTHON" -m utils.reports.tables outputs
