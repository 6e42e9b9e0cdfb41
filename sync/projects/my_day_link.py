"""The link to My day in a project's instructions in Label Studio.

The instructions are the same for everybody, so the link is the project's: it opens the glossary, and a browser that
knows the annotator by a personal link goes on to that person's own day. Instructions that a person changed stay as they
are, and a project that was only attached keeps its own.
"""

from __future__ import annotations

import re

from ml_backend.context import Context
from ml_backend.labelling import labelconfig
from ml_backend.page.annotating.personal_links import PROJECT, PersonalLink, PersonalLinks
from sync.label_studio.label_studio_client import LabelStudioClient

_SAID = "My day and the glossary"
_PARAGRAPH = re.compile(rf"\s*<p>\s*<a [^>]*>{_SAID}</a>[^<]*</p>", re.DOTALL)


def put(context: Context, client: LabelStudioClient, ls_project_id: int, config: str) -> bool:
    """Put the link under instructions that are ours and lack it; whether it was. Safe to repeat."""
    page = str(client.project(ls_project_id).get("expert_instruction") or "")
    if page != without(page) or words(page) != words(labelconfig.instructions(config)):
        return False
    client.change_project(ls_project_id, expert_instruction=below(context, ls_project_id, page))
    return True


def below(context: Context, ls_project_id: int, page: str) -> str:
    """Instructions with the link at their end."""
    url = PersonalLinks(context).url(PersonalLink(PROJECT, ls_project_id))
    return f'{page}\n<p><a href="{url}">{_SAID}</a>: approved words, and what you did today.</p>'


def without(page: str) -> str:
    """Instructions without the link."""
    return _PARAGRAPH.sub("", page)


def words(page: str) -> str:
    """A page's text, however Label Studio cleaned its tags."""
    return re.sub(r"\s+", "", re.sub(r"<style.*?</style>|<[^>]*>|&\w+;", "", page, flags=re.DOTALL))
