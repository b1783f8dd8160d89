import pytest


@pytest.fixture
def script(tmp_path):
    def write(text, name="script.sh"):
        path = tmp_path / name
        path.write_text(f"set -e\nP='--dataset Digits --first_split_size 2 --other_split_size 2 --gpuid 3'\n{text}\n")
        return str(path)

    return write
