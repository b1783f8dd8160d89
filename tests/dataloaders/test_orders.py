import numpy as np
import pytest

from dataloaders.orders import order_name, read_order
from utils.errors import UserError


def refused(given, classes=4):
    with pytest.raises(UserError) as error:
        read_order(given, classes, "--class_order")
    assert str(error.value).startswith("--class_order") and "\n" not in str(error.value)
    return str(error.value)


def test_an_order_is_a_list_of_numbers_from_flags_or_a_yaml_file(tmp_path, monkeypatch):
    assert read_order(["3", "1", "0", "2"], 4, "") == read_order([3, 1, 0, 2], 4, "") == [3, 1, 0, 2]
    assert read_order([], 4, "") == []
    (tmp_path / "order.yaml").write_text("- 3\n- 1\n- 0\n- 2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_order(["~/order.yaml"], 4, "") == read_order("~/order.yaml", 4, "") == [3, 1, 0, 2]


def test_numpys_shuffle_is_that_of_other_frameworks():
    np.random.seed(1993)
    expected = np.random.permutation(100).tolist()
    before = np.random.get_state()[1].tolist()
    assert read_order(["numpy:1993"], 100, "") == read_order("numpy:1993", 100, "") == expected
    assert expected[:5] == [68, 56, 78, 8, 23]  # as PyCIL learns CIFAR-100
    assert np.random.get_state()[1].tolist() == before
    assert read_order("numpy:1994", 100, "") != expected


@pytest.mark.parametrize(("given", "expected"), [
    ([0, 1, 2], "lists 3 of 4 classes"), ([0, 1, 2, 3, 3], "3 is listed twice"),
    ([0, 1, 2, 4], "4 is listed twice or is none"), (["0", "1", "2", "x"], "'x' is"),
    ("numpy:x", "numpy:x: cannot be read"), ("none.yaml", "none.yaml: cannot be read (No such file")])
def test_what_is_no_permutation_of_the_classes_is_refused_in_a_line(given, expected):
    assert expected in refused(given)


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "None is no list"), (b"a: 1", "is no list"), (b"[1, 2", "not valid YAML"),
    (b"[0, 1, 2]", "lists 3 of 4")])
def test_a_file_that_lists_no_permutation_is_refused_by_name(tmp_path, content, expected):
    (tmp_path / "order.yaml").write_bytes(content)
    message = refused([str(tmp_path / "order.yaml")])
    assert expected in message and "order.yaml" in message


def test_orders_that_begin_alike_have_other_names():
    assert order_name([3, 1, 0, 2, 4]).startswith("3 1 0 … (") and order_name([3, 1, 0, 2, 4]) != order_name(
        [3, 1, 0, 4, 2])
