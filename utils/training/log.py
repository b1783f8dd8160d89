"""output.log, plain text for people, and metrics.jsonl, one record per epoch and task."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def read_records(folder: Path, repeat: int) -> list[dict[str, Any]]:
    """The records of a repeat, counted from 1, in a run's metrics.jsonl."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["repeat"] == repeat]


class Log:
    """Lines go to output.log and, if ``shown``, to the terminal; records go to metrics.jsonl. What came after
    the checkpoint, which holds the ``sizes`` of the files, is dropped: the resumed run writes it again."""

    def __init__(self, folder: Path, sizes: dict[str, int]):
        self.folder = folder
        self.files = {
            name: (folder / name).open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
            for name in ("output.log", "metrics.jsonl")}
        for name, file in self.files.items():
            end = min(sizes.get(name, 0), file.seek(0, os.SEEK_END))
            file.truncate(end)
            file.seek(end)

    def line(self, text: str, shown: bool = True) -> None:
        self.files["output.log"].write(text + "\n")
        if shown:
            with contextlib.suppress(OSError):  # nobody reads the pipe or terminal; the run goes on
                tqdm.write(text, file=sys.stdout)
                sys.stdout.flush()

    def record(self, **values: Any) -> None:
        self.files["metrics.jsonl"].write(json.dumps(values) + "\n")

    def sizes(self) -> dict[str, int]:
        """The length of each file in bytes, for a checkpoint, once it is all on the disk."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self.files.items()}

    def close(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):  # the disk was full, which has been said already
                file.close()
