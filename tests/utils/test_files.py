import pytest
import yaml

from utils.errors import UserError
from utils.files import expand_home, replacing, write_yaml


def test_a_file_appears_complete(tmp_path):
    path = tmp_path / "deep" / "file"
    with replacing(path) as partial:
        partial.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_error_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_behind_is_no_obstacle(tmp_path):
    (tmp_path / "file.partial").write_text("a much longer half of a file")
    with replacing(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_yaml_keeps_its_order_and_reads_back(tmp_path):
    content = {"b": 1e-4, "a": [1, 2], "c": "", "d": {"z": None, "y": True}}
    write_yaml(tmp_path / "file.yaml", content)
    assert yaml.safe_load((tmp_path / "file.yaml").read_text()) == content
    assert list(yaml.safe_load((tmp_path / "file.yaml").read_text())) == list(content)


def test_what_was_there_is_kept(tmp_path):
    for text in ("first", "second", "third"):
        with replacing(tmp_path / "file", tmp_path / "before") as partial:
            partial.write_text(text)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "third", "before": "second"}


# Home folders


def test_a_tilde_is_a_home_folder_and_only_at_the_beginning(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert [expand_home(path) for path in ("~", "~/runs", "runs/~", "", "./~/runs")] == [
        "/home/someone", "/home/someone/runs", "runs/~", "", "./~/runs"]
    assert expand_home("~root/runs").endswith("/runs") and not expand_home("~root/runs").startswith("~")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/runs", "~nobody-of-this-name"])
def test_a_home_that_is_not_known_is_refused_by_name(path):
    with pytest.raises(UserError, match=f"--log_dir: '{path}': the home folder ~nobody-of-this-name is not known"):
        expand_home(path, "--log_dir")
