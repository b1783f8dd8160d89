"""Replay golden numbers through the real learners in float64.

    python tests/conformance.py [DIR ...]        default: tests/golden and tests/golden_successors

Prints a line a case with its largest deviation, then "N passed, M failed, K skipped"; exits with 1 on a
failure. A case that cannot be replayed, of a name or with a recipe that nothing here knows, has failed: none
is skipped. Recipes and tolerances: tests/golden/README.md and tests/golden_successors/README.md. A deviation
is counted in tolerances (1e-6 relative for losses and norms, 1e-6 absolute for single values), so up to 1
passes.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import successors  # noqa: E402
import torch  # noqa: E402
from authors import CASES, Unknown, known  # noqa: E402
from recipes import TOLERANCE  # noqa: E402

from models import GENERATORS  # noqa: E402

GOLDEN, SUCCESSORS = ROOT / "tests" / "golden", ROOT / "tests" / "golden_successors"


def worst(deviations: Iterable[float]) -> float:
    """The largest; a NaN counts as infinite, so that it can't pass."""
    return max(float("inf") if np.isnan(d) else d for d in deviations)


@contextmanager
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def replay(path: Path) -> float:
    """The largest deviation of a golden file, in tolerances. Raises Unknown."""
    golden = json.loads(path.read_text())
    case = golden.get("case", path.stem)
    recipe, expected = golden["recipe"], golden["expected"]
    name = known(case, CASES)
    successor, unread = (None, set[str]()) if name else successors.kind_of(recipe, expected)
    if not name and not successor:
        raise Unknown(
            f"no case of this name is known, nor of this recipe; one begins with {', '.join(CASES)}"
        )
    if unread:
        raise Unknown(f"recipe {', '.join(sorted(unread))}: unknown in a case of this kind")
    # The small generator is built where the recipe gives the dreams: it need not take long.
    with float64(), patch.dict(GENERATORS, CIFAR_GEN_SMALL=(8, (2, 2))):
        return worst(CASES[name](recipe, expected, case) if name else successor(recipe, expected))


def main(*folders: Path) -> int:
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
