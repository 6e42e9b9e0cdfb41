"""What live requests sent -> recordings of their calls, behind the answers.

A request only puts its bytes into memory. One thread writes them to this machine's disk (`live_spool`), another takes
them from there to the object store and inserts their recordings (`live_recordings`). So a store or a database that is
slow or away delays no answer, and what waits outlives the process. A process that is killed loses what it was sent in
the last quarter of a second. Nothing is read or written while no company number has the switch on.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ml_backend import log
from ml_backend.calls import live_recordings, live_spool, pseudonyms
from ml_backend.calls.live_recordings import LiveAudio
from ml_backend.context import Context
from ml_backend.errors import KaanError, PermanentError, RetryableError
from ml_backend.tables import calls, recordings

EVERY_S = 0.25
SWITCHES_EVERY_S = 1.0  # how soon a switch takes effect
AGAIN_AFTER_S = 5.0  # while the object store or the database is away
MOST_BYTES = 64_000_000  # in memory, before the disk has them
UNFINISHED_S = 3600.0

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_log = log.get("live")


@dataclass(frozen=True)
class SentAudio:
    """The audio of one answered request. `number` is the company's own, `caller` the person's, in any form; `name` is
    a file's."""

    call: str
    data: bytes
    number: str | None = None
    name: str = ""
    language: str | None = None
    speaker: str | None = None
    caller: str | None = None


class LiveAudioKeeper:
    """What this process was sent and has not kept yet. Thread-safe; made after the fork."""

    def __init__(self, context: Context, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._context, self._clock = context, clock
        self._numbers: frozenset[str] = frozenset()
        self._looked_at: float | None = None
        self._sent: deque[tuple[datetime, SentAudio]] = deque()
        self._bytes, self._lock, self._writing = 0, threading.Lock(), threading.Lock()
        self._emptied_at = self._counted_at = self._swept_at = -UNFINISHED_S
        self._used_bytes = 0  # in the spool, as last counted
        self._lost, self._no_room, self._away = log.Lasting(), log.Lasting(), log.Lasting()
        self._blind, self._stuck = log.Lasting(), log.Lasting()

    def begin(self) -> None:
        """Start the threads; they end with this object."""
        for name, work in (("write-live-audio", _write), ("store-live-audio", _store)):
            threading.Thread(target=work, args=(weakref.ref(self),), name=name, daemon=True).start()

    def wants(self, call: str | None, number: str | None) -> bool:
        """Whether the audio of a request may be kept: before its bytes are read again. Asks no database."""
        if not self._numbers or not call:
            return False
        return not number or self._pseudonym(number) in self._numbers

    def offer(self, sent: SentAudio) -> None:
        """Take the audio of an answered request. Never waits and never fails: what finds no room is left out."""
        if not sent.data or not self.wants(sent.call, sent.number):
            return
        with self._lock:
            if self._bytes + len(sent.data) > MOST_BYTES:
                if self._lost.is_news():
                    _log.error("live_audio_left_out", reason="the disk is slower than the requests")
                return
            self._bytes += len(sent.data)
            self._sent.append((datetime.now(UTC), sent))

    def note(self) -> None:
        """One round of the first thread."""
        self.look()
        self.write()

    def look(self) -> None:
        """Read the switches, where the last look is old enough."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < SWITCHES_EVERY_S:
            return
        self._looked_at = now
        try:
            with self._context.db.reading() as connection:
                found = live_recordings.numbers(connection)
            if found and not self._numbers:  # another key would match no number, and nobody would know
                pseudonyms.key_in(self._context.settings, self._context.db)
            self._numbers = found
        except KaanError as error:
            if self._blind.is_news():
                _log.warning("live_audio_switches_not_read", reason=error.code)
        else:
            self._blind.is_over()

    def write(self) -> None:
        """Memory -> disk. What only the ledger knows the number of waits in memory while the database is away."""
        undecided: list[tuple[datetime, SentAudio]] = []
        with self._writing:
            while self._sent:
                at, sent = self._sent[0]
                if undecided and not sent.number:
                    undecided.append(self._sent.popleft())
                    continue
                try:
                    number = self._number_of(sent)
                except RetryableError as error:
                    if self._blind.is_news():
                        _log.warning("live_audio_waits", reason=error.code)
                    undecided.append(self._sent.popleft())
                    continue
                try:
                    self._write_one(at, sent, number)
                except (KaanError, OSError) as error:
                    if self._no_room.is_news():
                        why = error.sentence if isinstance(error, KaanError) else type(error).__name__
                        _log.error("live_audio_left_out", reason=why)
                else:
                    self._no_room.is_over()
                finally:
                    with self._lock:
                        self._sent.popleft()
                        self._bytes -= len(sent.data)
            self._sent.extendleft(reversed(undecided))

    def store(self) -> None:
        """Disk -> object store and ledger. What meets trouble that passes stays and is tried again."""
        settings = self._context.settings
        if not live_spool.folder_of(settings).is_dir() or self._clock() - self._emptied_at < AGAIN_AFTER_S:
            return
        with live_spool.alone(settings) as mine:
            if not mine:
                return
            if self._clock() - self._swept_at >= UNFINISHED_S:
                self._swept_at = self._clock()
                live_spool.sweep(settings, older_than_s=UNFINISHED_S, now_s=time.time())
            for path in live_spool.waiting(settings):
                try:
                    self._store_one(path)
                except PermanentError as error:  # about this one: the others go on
                    self._emptied_at = self._clock()
                    if self._stuck.is_news():
                        _log.error("live_audio_not_stored", reason=error.code, folder=path.name)
                except KaanError as error:
                    self._emptied_at = self._clock()
                    if self._away.is_news():
                        _log.warning("live_audio_waits", reason=error.code)
                    return
            if self._away.is_over():
                _log.info("live_audio_stored_again")

    def _number_of(self, sent: SentAudio) -> str | None:
        return self._pseudonym(sent.number) if sent.number else self._known_number(sent.call)

    def _write_one(self, at: datetime, sent: SentAudio, number: str | None) -> None:
        if number not in self._numbers:
            return
        suffix, digest = _SUFFIX.search(sent.name), hashlib.sha256(sent.data).hexdigest()
        audio = LiveAudio(
            call=sent.call, sha256=digest, size_bytes=len(sent.data), at=at,
            number=number if sent.number else None, suffix=suffix[0].lower() if suffix else "",
            language=sent.language if sent.language and _LANGUAGE.fullmatch(sent.language) else None,
            speaker=sent.speaker, caller=self._pseudonym(sent.caller) if sent.caller else None,
        )  # fmt: skip
        now = self._clock()
        if now - self._counted_at >= AGAIN_AFTER_S:
            self._counted_at, self._used_bytes = now, live_spool.size_bytes(self._context.settings)
        live_spool.add(self._context.settings, audio, sent.data, key=self._key(), used_bytes=self._used_bytes)
        self._used_bytes += len(sent.data)

    def _store_one(self, path: Path) -> None:
        """Refused audio is removed here and in the store: an erasure may have come between."""
        context, key = self._context, self._key()
        try:
            audio = live_spool.read(path)
        except (OSError, ValueError, TypeError):
            live_spool.remove(path)
            return
        bucket, name = context.settings.recordings_bucket, audio.key_of(key)
        stored = False
        try:
            with context.db.reading() as connection:
                live_recordings.refuse_unwanted(connection, audio, key=key)
                superseded = live_recordings.is_superseded(connection, audio.call)
            if not superseded:
                context.store.ensure_bucket(bucket)
                self._put(bucket, name, path / live_spool.AUDIO)
                stored = True
            with context.db.transaction() as connection:
                live_recordings.take(connection, audio, bucket=bucket, key=key, stored=stored)
        except PermanentError as error:
            if error.code not in live_recordings.NOT_KEPT:
                raise
            with suppress(PermanentError):  # no such bucket
                if context.store.stat(bucket, name) is not None and not self._is_known(bucket, name):
                    context.store.delete(bucket, name)
            _log.info("live_audio_not_kept", reason=error.code)
        live_spool.remove(path)

    def _put(self, bucket: str, name: str, path: Path) -> None:
        try:
            self._context.store.put_file(bucket, name, path)
        except PermanentError as error:
            if error.code != "object-exists" or self._context.store.stat(bucket, name) is None:
                raise  # else the same request was sent again: the key is the digest

    def _is_known(self, bucket: str, name: str) -> bool:
        mine = sa.select(recordings.c.id).where(recordings.c.bucket == bucket, recordings.c.object_key == name)
        return bool(self._context.db.rows(mine.limit(1)))

    def _known_number(self, call: str) -> str | None:
        found = self._context.db.rows(sa.select(calls.c.company_number).where(calls.c.call_sid == call))
        return found[0].company_number if found else None

    def _pseudonym(self, number: str) -> str:
        return number if pseudonyms.SHAPE.fullmatch(number) else pseudonyms.pseudonym(number, self._key())

    def _key(self) -> bytes:
        found: bytes = self._context.keep("pseudonym-key", lambda: pseudonyms.key_of(self._context.settings))
        return found


def of(context: Context) -> LiveAudioKeeper:
    """The keeper of this process."""
    found: LiveAudioKeeper = context.keep("live-audio", lambda: LiveAudioKeeper(context))
    return found


def written(context: Context) -> None:
    """Before this process ends: put what is in memory on the disk."""
    keeper = context.kept.get("live-audio")
    if keeper is not None:
        keeper.write()


def _write(found: weakref.ref[LiveAudioKeeper]) -> None:
    _rounds(found, LiveAudioKeeper.note)


def _store(found: weakref.ref[LiveAudioKeeper]) -> None:
    _rounds(found, LiveAudioKeeper.store)


def _rounds(found: weakref.ref[LiveAudioKeeper], work: Callable[[LiveAudioKeeper], object]) -> None:
    trouble = log.Lasting()
    while True:
        keeper = found()
        if keeper is None:
            return
        try:
            work(keeper)
        except Exception as error:  # this round failed; the next one may not
            if trouble.is_news():
                with suppress(Exception):
                    _log.error("live_audio_round_failed", exc_info=error)
        del keeper
        time.sleep(EVERY_S)
