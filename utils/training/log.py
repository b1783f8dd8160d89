"""output.log, a plain text that a person reads, and metrics.jsonl, one record an epoch."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm


def is_record(line: bytes) -> bool:
    """Whether it is whole."""
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


class Log:
    """Lines go to ``output.log`` and, where ``shown``, to the terminal; records to ``metrics.jsonl``."""

    def __init__(self, folder: Path):
        self.files = {
            name: (folder / name).open("a", buffering=1, encoding="utf-8", errors="backslashreplace") for name in ("output.log", "metrics.jsonl")}

    def line(self, text: str, shown: bool = True) -> None:
        self.files["output.log"].write(text + "\n")
        if shown:  # a terminal that is gone ends no run (utils/startup.py, Lasting)
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def record(self, **values: Any) -> None:
        self.files["metrics.jsonl"].write(json.dumps(values) + "\n")

    def sizes(self) -> dict[str, int]:
        """The length of each file in bytes, for a checkpoint, once all of it is on the disk."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self.files.items()}

    def truncate(self, sizes: dict[str, int]) -> None:
        """Drop what was written after the checkpoint: the resumed run writes it again. Of the records, from which figures are drawn,
        drop also lines that a failing disk or an editor has cut or changed."""
        for name, file in self.files.items():
            end = min(sizes.get(name, 0), file.seek(0, os.SEEK_END))
            file.truncate(end)
            file.seek(end)
        metrics = self.files["metrics.jsonl"]
        lines = Path(metrics.name).read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if is_record(line)]
        if len(whole) < len(lines):
            metrics.truncate(0)
            metrics.write(b"".join(whole).decode())
            self.line(f"{metrics.name}: {len(lines) - len(whole)} of {len(lines)} lines were damaged and are deleted; figures of losses lack them")

    def append(self, texts: dict[str, str]) -> None:
        """What another log said, by file."""
        for name, text in texts.items():
            self.files[name].write(text)

    def close(self) -> None:
        for file in self.files.values():
            try:
                file.close()
            except OSError:  # of a disk that was full before, and said so
                pass
