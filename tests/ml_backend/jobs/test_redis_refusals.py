"""A Redis that answers PING and takes no messages is named, with what to do, by start-up, `doctor` and `status`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from ml_backend import db
from ml_backend.context import Context, open_context
from ml_backend.errors import RetryableError
from ml_backend.jobs import transport
from ml_backend.jobs.relay import Relay
from ml_backend.settings import Settings
from sync.commands import doctor, status
from tests.ml_backend.serve import until
from tests.servers import redis as redis_servers


@pytest.fixture
def with_redis(tmp_path: Path, redis_server: redis_servers.RedisServer) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path, redis_url=redis_server.url)
    db.upgrade(settings.database)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


class TestARedisThatAnswersAndTakesNothing:
    def test_a_read_only_replica_is_named(self, with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
        client = redis_server.client()
        client.replicaof("127.0.0.1", str(redis_servers.free_port()))
        assert client.ping()
        self._is_named(with_redis, "redis-read-only", "read-only replica")

    def test_a_full_memory_is_named(self, with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
        redis_server.client().config_set("maxmemory", "1")
        self._is_named(with_redis, "redis-full", "memory is full")

    def test_one_without_enough_replicas_is_named_with_the_remedy_at_start_up_too(
        self, with_redis: Context, redis_server: redis_servers.RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        redis_server.client().config_set("min-replicas-to-write", "1")
        self._is_named(with_redis, "redis-no-replicas", "too few of its replicas")
        stop = threading.Event()
        stop.set()
        Relay(with_redis, schedules=()).run(stop)
        [said] = [each.msg for each in caplog.records if "too few of its replicas" in str(each.msg)]
        assert "min-replicas-to-write" in str(said)
        redis_server.client().config_set("min-replicas-to-write", "0")
        transport.check(transport.connect(redis_server.url))

    def test_one_that_cannot_save_is_named(self, with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
        client = redis_server.client()
        client.config_set("save", "3600 1")
        client.config_set("stop-writes-on-bgsave-error", "yes")
        client.set("a", "1")
        (redis_server.folder / "dump.rdb").mkdir()
        (redis_server.folder / "dump.rdb" / "x").touch()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        self._is_named(with_redis, "redis-cannot-save", "cannot save")

    def test_a_user_who_may_not_write_is_named_and_its_name_is_not_repeated(
        self, with_redis: Context, redis_server: redis_servers.RedisServer
    ) -> None:
        rules = "on >onlooker-pass ~* &* +@read +ping +info +multi +exec +client +hello"
        redis_server.client().execute_command("ACL", "SETUSER", "onlooker", *rules.split())
        url = redis_server.url.replace("redis://", "redis://onlooker:onlooker-pass@")
        self._is_named(
            replace(with_redis, settings=with_redis.settings.model_copy(update={"redis_url": url})),
            "redis-no-permission",
            "may not write",
        )

    def test_a_wrong_password_is_named_and_not_repeated(
        self, with_redis: Context, redis_server: redis_servers.RedisServer
    ) -> None:
        redis_server.client().config_set("requirepass", "right-one-77c1")
        try:
            for url in (redis_server.url, redis_server.url.replace("redis://", "redis://:Zq7wKx9v@")):
                settings = with_redis.settings.model_copy(update={"redis_url": url})
                self._is_named(replace(with_redis, settings=settings), "redis-password", "password")
        finally:
            owner = redis_server.url.replace("redis://", "redis://:right-one-77c1@")
            redis.Redis.from_url(owner).config_set("requirepass", "")

    def test_nothing_is_left_of_the_look(self, with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
        transport.check(transport.connect(redis_server.url))
        assert redis_server.client().keys("*") == []

    def _is_named(self, context: Context, code: str, words: str) -> None:
        with pytest.raises(RetryableError) as refused:
            transport.check(transport.connect(context.settings.redis_url))
        assert refused.value.code == code
        assert words in refused.value.sentence
        said = [line for line in status.read(context)["trouble"] if "Redis takes no messages" in line]
        assert len(said) == 1
        assert words in said[0]
        [finding] = doctor._guarded("redis", doctor._redis, context)
        assert (finding.state, words in finding.sentence) == (doctor.FAIL, True)
        assert finding.next_step == refused.value.next_step
        assert refused.value.next_step in said[0]
        for secret in ("onlooker", "Zq7wKx9v", "right-one"):
            assert secret not in f"{refused.value}{said}{finding}"
