"""Replay golden numbers through the real learners in float64.

    python tests/conformance.py [DIR ...]        default: tests/golden and tests/golden_successors

Prints a line per case with its largest deviation, then "N passed, M failed, K skipped"; exits with 1 on a
failure. A case that cannot be replayed, because its name, its recipe or a part of the recipe is unknown, has
failed: none is skipped. Recipes and tolerances: the README.md of both folders.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import authors  # noqa: E402
import successors  # noqa: E402
from deviations import TOLERANCE  # noqa: E402
from recipes import Noted, Unknown, float64  # noqa: E402

from models import GENERATORS  # noqa: E402
from utils.device import keep_freed_memory  # noqa: E402

GOLDEN, SUCCESSORS = ROOT / "tests" / "golden", ROOT / "tests" / "golden_successors"

# What the recipes may say without anything here reading it: remarks, and numbers for other cases of the kind.
UNREAD = set(
    "model teacher real real_labels dream calibration replay_noise replay_labels then making run_seed "
    "resnet18_images logits labels factor projections phase_two_steps_of_an_epoch teacher_means "
    "teacher_covariance classes_without_mean history_share classification distillation".split())


def worst(deviations: Iterable[float]) -> float:
    """The largest; a NaN counts as infinite, so that it can't pass."""
    return max(float("inf") if d != d else d for d in deviations)


def replay(path: Path) -> float:
    """The largest deviation of a golden file, in tolerances. Raises Unknown."""
    golden = json.loads(path.read_text())
    recipe, expected = Noted(golden["recipe"]), Noted(golden["expected"])
    by_name = authors.case_of(golden.get("case", path.stem))
    run = by_name or successors.case_of(recipe, expected)
    if not run:
        raise Unknown(f"no case of this name ({', '.join(authors.CASES)}) or of this recipe is known")
    # The small generator is built when the recipe gives the dreams: it need not take long.
    with float64(), patch.dict(GENERATORS, CIFAR_GEN_SMALL=(8, (2, 2))):
        deviation = worst(run(recipe, expected))
    if unread := (recipe.unread | (expected.unread if by_name else set())) - UNREAD:
        raise Unknown(f"{', '.join(sorted(unread))}: unknown in a case of this kind")
    return deviation


def main(*folders: Path) -> int:
    keep_freed_memory()
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for path in [path for folder in folders for path in sorted(folder.glob("*.json"))]:
        try:
            deviation = replay(path)
            outcome = "passed" if deviation <= 1 else "failed"
            print(f"{path.stem:28} {outcome}  largest deviation {deviation * TOLERANCE:.1e}")
        except Exception as reason:  # a case that cannot be replayed must not hide the others
            outcome = "failed"
            print(f"{path.stem:28} failed  {type(reason).__name__}: {' '.join(str(reason).split())}")
        count[outcome] += 1
    print(", ".join(f"{number} {outcome}" for outcome, number in count.items()))
    if not sum(count.values()):
        print(f"no golden files in {', '.join(map(str, folders))}", file=sys.stderr)
    return 1 if count["failed"] or not sum(count.values()) else 0


if __name__ == "__main__":
    sys.exit(main(*(map(Path, sys.argv[1:]) if len(sys.argv) > 1 else (GOLDEN, SUCCESSORS))))
