"""A real Prometheus with the configuration of deploy/monitoring, sped up: seconds where a deployment has minutes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests import patience
from tests.servers.redis import free_port

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
SCRAPE, RANGE = "1s", "20s"


class Prometheus:
    """One server process in a folder of its own."""

    def __init__(self, folder: Path, *, target: str, token: str) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "rules").mkdir(parents=True)
        (folder / "secrets").mkdir()
        (folder / "secrets" / "metrics_token").write_text(token)
        for path in (MONITORING / "rules").glob("*.yml"):
            (folder / "rules" / path.name).write_text(sped_up(path.read_text(encoding="utf-8")))
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE, "scrape_timeout": SCRAPE}
        config["alerting"] = {}
        config["scrape_configs"] = [each for each in config["scrape_configs"] if each["job_name"] == "kaan"]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            binary("prometheus"), f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]  # fmt: skip
        with (self.folder / "prometheus.log").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self.folder)
        patience.until(self._is_ready, "Prometheus is ready", within_s=60)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "prometheus.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers under `data`."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30) as response:
            return json.load(response)["data"]

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}

    def evaluated(self) -> int:
        """How often what it scraped last was true: the scrapes that succeeded."""
        found = self.ask("query", query='sum_over_time(up{job="kaan"}[1h])')["result"]
        return int(float(found[0]["value"][1])) if found else 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running(folder: Path, *, target: str, token: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes `target`, for the length of a block."""
    server = Prometheus(folder, target=target, token=token)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def sped_up(rules: str) -> str:
    """Rules without patience: nothing has to last, and every range is short enough to pass."""
    return re.sub(r"\[\d+[mhd]\]", f"[{RANGE}]", re.sub(r"\bfor: \w+", "for: 0s", rules))


def binary(name: str) -> str:
    """Debian's program. Its absence is a failure, not a skip: `apt-get install prometheus`."""
    found = shutil.which(name)
    assert found, f"no {name}: install Debian's package prometheus"
    return found
