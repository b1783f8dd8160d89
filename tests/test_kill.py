"""The quick version of kill.py: real processes, a run of seconds."""

import kill


def test_runs_killed_anywhere_end_like_undisturbed_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONWARNINGS", kill.QUIET)
    quick = "--repeat 2 --max_task 2 --schedule 1 --batch_size 128".split()
    assert kill.campaign(tmp_path, ["NormalNN"], 4, 0, quick), capsys.readouterr().out
    assert "4 kills over 1 learners" in capsys.readouterr().out.splitlines()[-1]


def test_a_run_that_ends_differently_is_found(tmp_path, monkeypatch, capsys):
    """Else the test above could not fail."""
    seen = []

    def ending(folder):
        seen.append(folder)
        return {"results": len(seen)}

    monkeypatch.setattr(kill, "ending", ending)
    def start(self, flags, output, limit=None, fatal=None):
        output.with_suffix(".operations").write_text("9")
        return -9 if limit or fatal else 0

    monkeypatch.setattr(kill.Runner, "start", start)
    assert not kill.campaign(tmp_path, ["NormalNN"], 1, 0, [])
    assert "1 kills over 1 learners in 1 runs: 0 resumed, 1 differed (seed 0)" in capsys.readouterr().out
