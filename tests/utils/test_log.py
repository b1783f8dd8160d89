import json

import pytest

from utils.log import Log


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


def test_a_record_is_in_the_file_at_once(log, tmp_path):
    log.record(task=1, losses={"local": 0.5})
    assert records(tmp_path) == [{"task": 1, "losses": {"local": 0.5}}]


def test_a_log_goes_on_where_an_earlier_one_stopped(log, tmp_path):
    log.line("first")
    log.record(epoch=1)
    log.close()
    again = Log(tmp_path)
    again.line("second")
    again.record(epoch=2)
    again.close()
    assert (tmp_path / "output.log").read_text() == "first\nsecond\n"
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_records_after_a_checkpoint_are_forgotten(log, tmp_path):
    log.record(epoch=1)
    end = log.records_end()
    log.record(epoch=2)
    log.close()
    again = Log(tmp_path)
    again.forget_records_after(end)
    again.record(epoch=2, again=True)
    again.close()
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2, "again": True}]


def test_the_end_of_an_older_runs_records_is_known_before_a_new_record(log, tmp_path):
    log.record(epoch=1)
    end = log.records_end()
    log.close()
    again = Log(tmp_path)
    assert again.records_end() == end > 0
    again.close()


def test_half_a_record_of_a_killed_run_is_forgotten(log, tmp_path):
    log.record(epoch=1)
    end = log.records_end()
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epo')
    again = Log(tmp_path)
    again.forget_records_after(end)
    again.record(epoch=2)
    again.close()
    assert records(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_records_that_a_user_deleted_are_no_obstacle(log, tmp_path):
    log.record(epoch=1)
    end = log.records_end()
    log.close()
    (tmp_path / "metrics.jsonl").unlink()
    again = Log(tmp_path)
    again.forget_records_after(end)
    again.record(epoch=2)
    again.close()
    assert records(tmp_path) == [{"epoch": 2}]
