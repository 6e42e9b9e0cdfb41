"""Importing a module does nothing: no file, no environment, no network, no heavy library in the web process."""

import json
import os
import subprocess
import sys

import pytest

from tests.policy.source import ROOT, modules

# Started in an empty folder without environment: every file opened for writing, every socket and every look at the
# environment by our own code is written down, by means of an audit hook and a dictionary that tells.
PROBE = """
import importlib, json, os, sys
root, names = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, root)
sys.dont_write_bytecode = True
deeds = []
ours = (os.path.join(root, ""),)

def watch(event, arguments):
    if event == "open" and arguments[1] and set(str(arguments[1])) & set("wax+"):
        deeds.append(f"writes {arguments[0]}")
    elif event in ("socket.connect", "subprocess.Popen", "os.fork", "os.mkdir", "os.rename"):
        deeds.append(f"{event} {arguments[:1]}")

class Told(type(os.environ)):
    def __getitem__(self, key):
        note(key)
        return super().__getitem__(key)
    def get(self, key, default=None):
        note(key)
        return super().get(key, default)

def note(key):
    caller = sys._getframe(2).f_code.co_filename
    if caller.startswith(ours) and "site-packages" not in caller:
        deeds.append(f"{caller[len(root) + 1:]} reads the environment: {key}")

os.environ.__class__ = Told
sys.addaudithook(watch)
result = {}
for name in names:
    deeds.clear()
    try:
        importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("ml_backend", "sync", "training", "model", "tests"):
            raise
        result[name] = [f"needs {error.name}"]
        continue
    result[name] = list(deeds)
result["heavy"] = [name for name in ("torch", "transformers", "datasets", "pandas", "scipy", "matplotlib",
    "faster_whisper", "ctranslate2", "av", "label_studio_sdk", "alembic",
    "sqlalchemy.dialects.postgresql") if name in sys.modules]
print(json.dumps(result))
"""


def _import(names, folder):
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, str(ROOT), json.dumps(names)],
        cwd=folder, env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_every_module_leaves_no_trace(tmp_path):
    """One process for the kernel and `sync`; one for `training`, whose libraries have habits of their own."""
    for top in ("ml_backend", "sync", "model", "training.schedule.training_request"):
        names = [name for name in modules() if name == top or name.startswith(top + ".")]
        found = _import(names, tmp_path)
        deeds = {name: done for name, done in found.items() if done and name != "heavy"}
        assert not deeds, deeds
    assert not list(tmp_path.iterdir()), "a folder or file was made"


def test_the_web_application_leaves_heavy_libraries_out(tmp_path):
    """They cost the first second of every start, and hundreds of megabytes (design D11)."""
    found = _import(["ml_backend.api", "model"], tmp_path)
    assert not [name for name in found["heavy"] if name != "av"], found["heavy"]


@pytest.mark.parametrize(
    "name", ["ml_backend.commands.command_line", "ml_backend.settings", "ml_backend.jobs.enqueueing", "ml_backend.db"]
)
def test_the_kernel_starts_light(name, tmp_path):
    assert not _import([name], tmp_path)["heavy"]
