import json

import pytest

from utils.training.log import Log


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.close()


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_is_in_the_file_and_on_the_terminal_at_once(log, tmp_path, capsys):
    log.line("accuracy 12.5 ± 0.1 %")
    assert (tmp_path / "output.log").read_text(encoding="utf-8") == "accuracy 12.5 ± 0.1 %\n"
    assert capsys.readouterr().out == "accuracy 12.5 ± 0.1 %\n"


def test_a_line_may_be_the_files_alone(log, tmp_path, capsys):
    log.line("epoch 2/250", shown=False)
    assert (tmp_path / "output.log").read_text() == "epoch 2/250\n"
    assert capsys.readouterr().out == ""


def test_a_record_is_in_the_file_at_once(log, tmp_path):
    log.record(task=1, losses={"local": 0.5})
    assert records(tmp_path) == [{"task": 1, "losses": {"local": 0.5}}]


def test_a_log_continues_where_an_earlier_one_stopped(log, tmp_path):
    log.line("first")
    log.record(epoch=1)
    log.close()
    again = Log(tmp_path)
    again.line("second")
    again.record(epoch=2)
    again.close()
    assert (tmp_path / "output.log").read_text() == "first\nsecond\n"
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_records_after_a_checkpoint_are_truncated(log, tmp_path):
    log.record(epoch=1)
    sizes = log.sizes()
    log.record(epoch=2)
    log.close()
    again = Log(tmp_path)
    again.truncate(sizes)
    again.record(epoch=2, again=True)
    again.close()
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2, "again": True}]


def test_the_end_of_an_older_runs_records_is_known_before_a_new_record(log, tmp_path):
    log.record(epoch=1)
    sizes = log.sizes()
    log.close()
    again = Log(tmp_path)
    assert again.sizes() == sizes
    assert sizes["metrics.jsonl"] > 0
    again.close()


def test_lines_after_a_checkpoint_are_truncated_too(log, tmp_path):
    log.line("accuracy 1 ± 0 %")
    sizes = log.sizes()
    log.line("accuracy 2 ± 0 %")
    log.close()
    again = Log(tmp_path)
    again.truncate(sizes)
    again.line("accuracy 2 ± 0 %")
    again.close()
    assert (tmp_path / "output.log").read_text(encoding="utf-8") == "accuracy 1 ± 0 %\naccuracy 2 ± 0 %\n"


def test_without_a_checkpoint_all_is_truncated(log, tmp_path):
    log.line("first")
    log.record(epoch=1)
    log.close()
    again = Log(tmp_path)
    again.truncate({})
    again.close()
    assert (tmp_path / "output.log").read_text() == (tmp_path / "metrics.jsonl").read_text() == ""


def test_half_a_record_of_a_killed_run_is_truncated(log, tmp_path):
    log.record(epoch=1)
    sizes = log.sizes()
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epo')
    again = Log(tmp_path)
    again.truncate(sizes)
    again.record(epoch=2)
    again.close()
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_records_that_a_user_deleted_are_no_obstacle(log, tmp_path):
    log.record(epoch=1)
    sizes = log.sizes()
    log.close()
    (tmp_path / "metrics.jsonl").unlink()
    again = Log(tmp_path)
    again.truncate(sizes)
    again.record(epoch=2)
    again.close()
    assert records(tmp_path) == [{"epoch": 2}]


@pytest.mark.parametrize("damage", [
    lambda whole: whole[:-7], lambda whole: whole[:-1] + b"garbage\n", lambda whole: whole.replace(b'"epoch": 2', b"\0" * 10),
    lambda whole: whole.replace(b"2", b"\xff"), lambda whole: whole + b"7\n"])
def test_damaged_records_are_deleted_with_a_notice_and_the_others_stay(log, tmp_path, capsys, damage):
    for epoch in (1, 2):
        log.record(epoch=epoch)
    sizes = {name: size + 2 for name, size in log.sizes().items()}
    log.close()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    again = Log(tmp_path)
    again.truncate(sizes)
    again.record(epoch=3)
    again.close()
    assert [record["epoch"] for record in records(tmp_path)] in ([1, 3], [1, 2, 3])
    assert "metrics.jsonl: 1 of " in capsys.readouterr().out
    whole = path.read_bytes()
    last = Log(tmp_path)
    last.truncate(last.sizes())
    last.close()
    assert path.read_bytes() == whole and capsys.readouterr().out == ""
