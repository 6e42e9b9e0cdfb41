"""Minutes of live serving -> one row a day, which stays for 400 days.

The minutes of today and of the two days before stay as they are. A day is rolled up once: its row is committed first,
then its minutes are removed, a few hundred at a time. Minutes that arrive for a day with a row are removed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.tables import live_minutes, live_totals, uptime_days
from ml_backend.views import live_views

MINUTES_OF_DAYS = 2  # before today
TOGETHER = 500
TOTALS_DAYS = 1  # a version that answered nothing for so long leaves /metrics


def roll_up_uptime(context: JobContext) -> None:
    """Roll up every day that is over for two days. Safe to repeat and to break off."""
    now = tables.now()
    today = now.astimezone(UTC).date()
    last = today - timedelta(days=MINUTES_OF_DAYS + 1)
    with context.db.reading() as connection:
        first = live_views.first_minute(connection)
        rolled = set(connection.execute(sa.select(uptime_days.c.day)).scalars())
    if first is not None:
        for number in range((last - first.date()).days + 1):
            day = first.date() + timedelta(days=number)
            if day not in rolled and day > today - timedelta(days=live_views.KEPT_DAYS):
                _roll_up(context, day, now=now, first=first)
    _remove_minutes(context, before=last + timedelta(days=1))
    with context.db.transaction() as connection:
        old = today - timedelta(days=live_views.KEPT_DAYS)
        connection.execute(sa.delete(uptime_days).where(uptime_days.c.day <= old))
        _remove_idle_versions(connection, now - timedelta(days=TOTALS_DAYS))


def _roll_up(context: JobContext, day: date, *, now: datetime, first: datetime) -> None:
    with context.db.transaction() as connection:
        found = live_views.day_of(connection, day, now=now, first=first)
        db.insert_missing(connection, uptime_days, [{"day": day, **vars(found)}])


def _remove_minutes(context: JobContext, *, before: date) -> None:
    until = datetime.combine(before, time(), UTC)
    old = sa.select(live_minutes.c.id).where(live_minutes.c.minute < until).limit(TOGETHER)
    while True:
        with context.db.transaction() as connection:
            ids = connection.execute(old).scalars().all()
            connection.execute(sa.delete(live_minutes).where(live_minutes.c.id.in_(ids)))
        if len(ids) < TOGETHER:
            return


def _remove_idle_versions(connection: sa.Connection, before: datetime) -> None:
    """Versions that no longer serve: neither an alias nor an experiment can choose them."""
    alias, version, compared = tables.aliases.c, tables.model_versions.c, tables.experiments.c
    named = sa.select(version.version).join(tables.aliases, alias.model_version_id == version.id)
    serves = set(connection.execute(named).scalars())
    for row in connection.execute(sa.select(compared.champion, compared.challenger).where(compared.state == "running")):
        serves |= {row.champion, row.challenger}
    idle = sa.and_(live_totals.c.model_version != "", live_totals.c.updated_at < before)
    for name in connection.execute(sa.select(live_totals.c.model_version).where(idle).distinct()).scalars().all():
        if name not in serves:
            mine = sa.and_(idle, live_totals.c.model_version == name)
            connection.execute(sa.delete(live_totals).where(mine))
