#!/bin/sh
# CIFAR-100 in ten tasks of 10 classes: the published protocol (table 1), three repeats of every learner.
#
#     sh experiments/cifar100-tentask.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below; `python run.py --help` explains each. A stopped script, started again, goes on where it was.
set -e
cd "$(dirname "$0")/.."
sh install_requirements.sh
PYTHON=${PYTHON:-.venv/bin/python}
OUT=outputs/cifar100-tentask

PROTOCOL="--dataset CIFAR100 --train_aug --rand_split --repeat 3 --gpuid ${1:-0} --overwrite 0
    --model_type resnet --model_name resnet32
    --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 2e-4
    --schedule 100 150 200 250 --schedule_type decay --batch_size 128"
SPLIT="--first_split_size 10 --other_split_size 10"
DREAMS="--gen_model_type generator --gen_model_name CIFAR_GEN
    --power_iters 10000 --deep_inv_params 1e-3 5e1 1e-3 1e3 1"

# UB, the upper bound: all classes at once (its number is the same for every split)
$PYTHON run.py $PROTOCOL --first_split_size 100 --other_split_size 100 \
    --learner_type default --learner_name NormalNN \
    --log_dir outputs/cifar100-upper-bound

# Base
$PYTHON run.py $PROTOCOL $SPLIT \
    --learner_type default --learner_name NormalNN \
    --log_dir $OUT/base

# LwF
$PYTHON run.py $PROTOCOL $SPLIT \
    --learner_type kd --learner_name LWF --mu 1 --temp 2 \
    --log_dir $OUT/lwf

# LwF.MC
$PYTHON run.py $PROTOCOL $SPLIT \
    --learner_type kd --learner_name LWF_MC \
    --log_dir $OUT/lwf_mc

# DeepInversion
$PYTHON run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name DeepInversionGenBN --mu 1 --temp 2 \
    --log_dir $OUT/deep_inversion

# LwF-Synthetic
$PYTHON run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name DeepInversionLWF --mu 0.1 --temp 2 \
    --log_dir $OUT/lwf_synthetic

# ABD ("Ours")
$PYTHON run.py $PROTOCOL $SPLIT $DREAMS \
    --learner_type datafree --learner_name AlwaysBeDreaming --mu 0.1 \
    --log_dir $OUT/abd

$PYTHON -m utils.tables $OUT/base $OUT/lwf $OUT/lwf_mc $OUT/deep_inversion $OUT/lwf_synthetic $OUT/abd
