"""What the demo shows: a command can be copied whole, however narrow the terminal."""

import io
import shlex

import pytest
from rich.console import Console

from ml_backend.commands import printing
from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo.screen import Screen


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("width", [40, 200])
def test_the_command_of_the_welcome_stands_on_one_line_and_outside_the_frame(tmp_path, plain, width):
    home = homes.take(tmp_path / "a folder with spaces" / ("long" * 20), port=0, label_studio_port=0)
    home.release()
    screen, out = Screen(plain=plain), io.StringIO()
    screen.console = Console(file=out, width=width, highlight=False, soft_wrap=plain, force_terminal=not plain)
    screen.welcome(home, "admin@example.com", "a-password")
    assert f"logs:  {home.logs}" in out.getvalue().splitlines()
    lines = [line for line in out.getvalue().splitlines() if line.startswith("look:")]
    assert [shlex.split(line)[1:] for line in lines] == [
        [printing.python(), "-m", "ml_backend", "--env-file", str(home.env_file), "status"]
    ]
