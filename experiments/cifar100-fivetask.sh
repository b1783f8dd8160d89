#!/bin/sh
# CIFAR-100 in five tasks of 20 classes: the published protocol (tables 1 and 2), three repeats per method.
#
#     sh experiments/cifar100-fivetask.sh [GPU]        GPU: its index, default 0; -1 for the CPU
#
# Edit the flags below; `python run.py --help` explains them. A stopped script, started again, resumes.
set -e
. "$(dirname -- "$0")/common.sh"
OUT=outputs/cifar100-fivetask

PROTOCOL="--dataset CIFAR100 --dataroot datasets --workers 0 --train_aug --rand_split --repeat 3
    --gpuid ${1:-0} --overwrite 0 --model_type resnet --model_name resnet32
    --optimizer SGD --lr 0.1 --momentum 0.9 --weight_decay 2e-4 --schedule_type decay
    --schedule 100 150 200 250 --batch_size 128 --power_iters 10000
    --deep_inv_params 1e-3 5e1 1e-3 1e3 1 --beta 1"
SPLIT="--first_split_size 20 --other_split_size 20"
DREAMS="--learner_type datafree --gen_model_type generator --gen_model_name CIFAR_GEN"

run() { # LOG_DIR [FLAG ...]
    LOG_DIR=$1
    shift
    "$PYTHON" run.py $PROTOCOL "$@" --log_dir "$LOG_DIR"
}

# Base
run $OUT/base $SPLIT --learner_type default --learner_name NormalNN

# LwF. Its first task, like that of the methods with a coreset, is trained as Base's: they take its models.
SAME="--load_model_dir $OUT/base"
run $OUT/lwf $SPLIT $SAME --learner_type kd --learner_name LWF --mu 1 --temp 2

# LwF.MC
run $OUT/lwf_mc $SPLIT --learner_type kd --learner_name LWF_MC

# DGR
run $OUT/dgr $SPLIT --weight_decay 0 --gen_model_type autoencoder --gen_model_name CIFAR_GEN \
    --learner_type dgr --learner_name Generative_Replay --mu 1 --temp 2

# DeepInversion, LwF-Synthetic and ABD ("Ours")
run $OUT/deep_inversion $SPLIT $DREAMS --learner_name DeepInversionGenBN --mu 1 --temp 2
run $OUT/lwf_synthetic $SPLIT $DREAMS --learner_name DeepInversionLWF --mu 0.1 --temp 2
run $OUT/abd $SPLIT $DREAMS --learner_name AlwaysBeDreaming --mu 0.1

# Naive Rehearsal, LwF, E2E and BiC, with a coreset of 2,000 images
CORESET="$SPLIT $SAME --memory 2000"
run $OUT/naive_rehearsal $CORESET --learner_type default --learner_name NormalNN
run $OUT/lwf_coreset $CORESET --learner_type kd --learner_name LWF --mu 1 --temp 2
run $OUT/e2e $CORESET --learner_type kd --learner_name ETE --mu 1 --temp 2
run $OUT/bic $CORESET --learner_type kd --learner_name BIC --temp 2

# UB, the upper bound: all classes at once (the same for every split: the scripts share its folder)
run outputs/cifar100-upper-bound --first_split_size 100 --other_split_size 100 \
    --learner_type default --learner_name NormalNN

"$PYTHON" -m utils.reports.tables outputs
