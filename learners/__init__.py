"""The learners by ``--learner_type`` and ``--learner_name``; each is one file of this folder.

A new learner: copy the file nearest to the idea, change ``loss``, add a line here.
"""

from learners.abd import AlwaysBeDreaming
from learners.base import Learner, Stage
from learners.deep_inversion import DeepInversionGenBN
from learners.lwf import LWF
from learners.lwf_mc import LWF_MC
from learners.lwf_synthetic import DeepInversionLWF
from learners.naive import NormalNN

LEARNERS: dict[tuple[str, str], type[Learner]] = {
    ("default", "NormalNN"): NormalNN,
    ("kd", "LWF"): LWF,
    ("kd", "LWF_MC"): LWF_MC,
    ("datafree", "DeepInversionGenBN"): DeepInversionGenBN,
    ("datafree", "DeepInversionLWF"): DeepInversionLWF,
    ("datafree", "AlwaysBeDreaming"): AlwaysBeDreaming,
}


def learner_names() -> list[str]:
    return [name for _, name in LEARNERS]
