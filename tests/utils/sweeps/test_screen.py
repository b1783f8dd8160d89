import os

from utils.sweeps import screen
from utils.sweeps.screen import Screen


def test_in_a_terminal_lines_update_and_in_a_file_they_come_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(screen.shutil, "get_terminal_size", lambda: os.terminal_size((20, 3)))
    clock = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: clock[0])
    lines = Screen()
    lines.show(lambda: ["too early"])
    clock[0] += lines.pace
    lines.show(lambda: ["a", "b" * 30, "c"])
    lines.say("stays")
    assert capsys.readouterr() == ("stays\n", f"{'b' * 19}\nc\n\x1b[2A\x1b[J")
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    lines = Screen()
    clock[0] += screen.PACE
    lines.show(lambda: ["a", "b" * 300])
    lines.show(lambda: ["too early"])
    assert capsys.readouterr() == (f"a\n{'b' * 300}\n", "")
