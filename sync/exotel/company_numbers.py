"""What calls teach about the company's own numbers."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend import log
from ml_backend.context import JobContext
from ml_backend.labelling import agent_channel
from ml_backend.tables import company_numbers

_log = log.get("company-numbers")


def learn_legs(context: JobContext) -> None:
    """Company numbers -> the leg their agents speak on, where annotators have shown it. Safe to repeat."""
    unknown = sa.select(company_numbers.c.pseudonym).where(company_numbers.c.agent_channel.is_(None))
    for row in context.db.rows(unknown.order_by(company_numbers.c.id)):
        with context.db.transaction() as connection:
            channel = agent_channel.learnt(connection, row.pseudonym)
            if channel is not None:
                agent_channel.set_agent_channel(connection, row.pseudonym, channel)
                _log.info("learnt which leg is the agent", company_number=row.pseudonym, channel=channel)
