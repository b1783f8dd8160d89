"""output.log, a plain text that a person reads, and metrics.jsonl, one record an epoch."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm


class Log:
    """Lines go to ``output.log`` and the terminal; records to ``metrics.jsonl``."""

    def __init__(self, folder: Path):
        self.lines = (folder / "output.log").open("a", buffering=1, encoding="utf-8")
        self.metrics = (folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")

    def line(self, text: str) -> None:
        self.lines.write(text + "\n")
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def record(self, **values: Any) -> None:
        self.metrics.write(json.dumps(values) + "\n")

    def records_end(self) -> int:
        """Where the records end, in bytes, for a checkpoint."""
        return self.metrics.tell()

    def forget_records_after(self, end: int) -> None:
        """Drop what was recorded after the checkpoint: it is about to be done again."""
        end = min(end, self.metrics.seek(0, os.SEEK_END))
        self.metrics.truncate(end)
        self.metrics.seek(end)

    def close(self) -> None:
        self.lines.close()
        self.metrics.close()
