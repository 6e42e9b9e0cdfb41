"""REDIS_URL=rediss://: jobs go through a Redis that speaks TLS only, and a refused certificate is named as that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.errors import RetryableError
from ml_backend.jobs import enqueueing, transport
from ml_backend.jobs.relay import Relay
from ml_backend.settings import Settings
from sync.commands import doctor, status
from tests.ml_backend import serve
from tests.ml_backend.job_functions import WORK, diary
from tests.ml_backend.serve import QUICK, RELAY, until
from tests.servers import redis as redis_servers


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_servers.RedisServer]:
    with redis_servers.running(tmp_path_factory.mktemp("redis"), speaks_tls=True) as server:
        yield server


@pytest.fixture
def there(tmp_path: Path, secured: redis_servers.RedisServer) -> Iterator[Context]:
    secured.client().flushall()
    settings = Settings(_env_file=None, data_dir=tmp_path, redis_url=secured.url, ca_file=str(secured.ca_file))
    db.upgrade(settings.database)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


def without_ca(context: Context) -> Context:
    return Context(context.settings.model_copy(update={"ca_file": ""}), context.db, context.store)


def test_relay_and_worker_bring_a_job_through_it(there: Context) -> None:
    with there.db.transaction() as connection:
        job_id = enqueueing.enqueue(connection, WORK)
    relay = Relay(there, timing=RELAY, lease_timing=QUICK, schedules=())
    assert relay.step() == 1
    assert transport.lying(relay.redis, "sync") == {(job_id, 0)}
    with serve.processes(there, redis_url=there.settings.redis_url) as start:
        start("worker:sync")
        until(lambda: there.db.row(tables.jobs, job_id).state == "done")
    assert diary(there) == ["start 0 1", "end 0 1"]


def test_doctor_and_status_are_content_with_it(there: Context) -> None:
    [finding] = doctor._guarded("redis", doctor._redis, there)
    assert finding.state == doctor.OK
    assert not [line for line in status.read(there)["trouble"] if "Redis" in line]


def test_a_certificate_of_an_unknown_ca_is_named_with_the_setting_that_helps(there: Context) -> None:
    stranger = without_ca(there)
    [finding] = doctor._guarded("redis", doctor._redis, stranger)
    assert (finding.state, "CA_FILE" in finding.next_step) == (doctor.FAIL, True)
    assert "CN=127.0.0.1, O=Example Company, signed by CN=Example Company CA" in finding.sentence
    assert [line for line in status.read(stranger)["trouble"] if "CA_FILE" in line]


def test_work_waits_while_the_certificate_is_refused_and_the_relay_keeps_house(
    there: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with there.db.transaction() as connection:
        job_id = enqueueing.enqueue(connection, WORK)
    for _ in range(2):
        assert Relay(without_ca(there), timing=RELAY, schedules=()).step() == 0
    assert there.db.row(tables.jobs, job_id).state == "waiting"
    assert [each for each in caplog.records if "is not trusted here" in str(each.msg)]
    assert Relay(there, timing=RELAY, schedules=()).step() == 1


def test_a_plain_address_of_it_is_told_what_such_an_address_begins_with(secured: redis_servers.RedisServer) -> None:
    with pytest.raises(RetryableError) as refused:
        transport.check(transport.connect(secured.url.replace("rediss://", "redis://")))
    assert refused.value.code == "redis-unavailable"
    assert "rediss://" in refused.value.next_step
