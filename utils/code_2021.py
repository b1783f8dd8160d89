"""What a folder of the published code (2021) holds, and how it is told from a run of this project.

Its args.yaml has the published flags alone, values of networks that it never built among them.
"""

from collections.abc import Iterable

from utils.settings import LearnerClass

# docs/specification.md, "The published command line".
FLAGS = frozenset("""
    gpuid log_dir learner_type learner_name model_type model_name gen_model_type gen_model_name dataroot dataset load_model_dir workers
    validation repeat overwrite optimizer train_aug lr momentum weight_decay schedule schedule_type batch_size power_iters deep_inv_params
    first_split_size other_split_size rand_split DW oracle_flag max_task memory temp mu beta""".split())
# A file with all of these is what a run has recorded, not a few settings that somebody wrote down.
RECORDED = frozenset(("gpuid", "log_dir", "learner_name", "repeat", "overwrite", "load_model_dir"))
# What the published parser gives a network that a run does not build.
PLACEHOLDERS = {"gen_model_type": "mlp", "gen_model_name": "MLP"}
# This project has recorded it in every version.
OURS = "no_figures"


def is_published(names: Iterable[str]) -> bool:
    """Whether an args.yaml with these settings is the published code's."""
    return RECORDED <= set(names) <= FLAGS


def not_read(learner: LearnerClass) -> set[str]:
    """The published settings that mean nothing to a learner; the published code records ``-1``, ``mlp`` or ``MLP`` there."""
    of_generator, of_dreams = {"gen_model_type", "gen_model_name"}, {"power_iters", "deep_inv_params"}
    return {"generator": set[str](), "": of_generator | of_dreams}.get(learner.generator_type, of_dreams)


def says_nothing(name: str, value: object, learner: LearnerClass) -> bool:
    """Whether it is the published placeholder of a network that the learner does not build."""
    return name in not_read(learner) and name in PLACEHOLDERS and value == PLACEHOLDERS[name]
