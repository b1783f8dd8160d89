import pytest


@pytest.fixture
def config(tmp_path):
    """Write a YAML file: config(text) -> path."""

    def write(text, name="config.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write
