"""My day: an annotator's own work today, and the glossary.

Whoever comes with a personal link sees that person's day, and nobody else's: a cookie of this page alone remembers the
person. Whoever comes with the link of a project's instructions sees the glossary of that project. Whoever signed in
with a token leads the team and may look at each day.
"""

from __future__ import annotations

from typing import Any

from flask import Request, Response, g, request

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.page import page_lists, page_shell
from ml_backend.page.annotating import personal_links
from ml_backend.page.annotating.personal_links import ADDRESS, PERSON, PersonalLink, PersonalLinks
from ml_backend.page.signing_in import Sessions
from ml_backend.reports.annotating import annotation_figures, my_day
from ml_backend.reports.annotating.my_day import MyDayQuery
from ml_backend.tables import projects

_BAD_LINK = InvalidInput(
    "unauthorized", "This link is not valid, or is too old.", "Ask whoever leads the annotation for a new one.",
    status=401,
)  # fmt: skip


class MyDayPage:
    """The one page that an annotator has."""

    def __init__(self, context: Context, sessions: Sessions) -> None:
        self._context, self._sessions, self._links = context, sessions, PersonalLinks(context)

    def annotator(self, asked: Request) -> str:
        """Signed in, or known by the cookie of a personal link."""
        g.session = self._sessions.of(asked)
        g.annotator = self._remembered(asked)
        if g.session is not None:
            return str(g.session.name)
        if g.annotator is None:
            raise InvalidInput(
                "unauthorized", "This page needs your personal link.",
                "Ask whoever leads the annotation for it, or sign in with an API token.", status=401,
            )  # fmt: skip
        return f"annotator-{g.annotator}"

    def show(self) -> Response:
        """One person's day. Who is known by a link sees that person's, whatever the address asks for."""
        if g.session is None:
            return self._day(g.annotator)
        given = {name: value for name, value in request.args.items() if value}
        if not given and g.annotator is not None:
            return self._day(g.annotator)
        if not given:
            names = sorted(annotation_figures.names_of(self._context.db).items())
            return page_shell.render("my_day_whose.html", title="My day", active="my-day", names=names, address=ADDRESS)
        return self._day(page_lists.asked(MyDayQuery).annotator)

    def signed_link(self, asked: Request) -> str:
        """The link in the address is one of ours."""
        g.session = self._sessions.of(asked)
        found = self._links.read(str((asked.view_args or {}).get("link", "")))
        if found is None:
            raise _BAD_LINK
        g.link = found
        return f"{found.of}-{found.number}"

    def follow(self, link: str) -> Response:
        """A signed link: a person is remembered; a project's opens its glossary."""
        found: PersonalLink = g.link
        if found.of == PERSON:
            response = page_shell.go_to(ADDRESS)
            response.set_cookie(
                personal_links.COOKIE, self._links.sign(found), max_age=personal_links.COOKIE_LASTS_S, path=ADDRESS,
                httponly=True, samesite="Lax", secure=self._context.settings.page_address.startswith("https:"),
            )  # fmt: skip
            return response
        if self._remembered(request) is not None:
            return page_shell.go_to(ADDRESS)
        return self._glossary(found.number)

    def _day(self, annotator: int) -> Response:
        found = my_day.of(self._context, MyDayQuery(annotator=annotator))
        return page_shell.render(
            "my_day.html", title=f"My day: {found['name']}", active="my-day", found=found, pace=_pace(found)
        )

    def _glossary(self, ls_project_id: int) -> Response:
        row, here = projects.c, self._context.settings.label_studio_url
        mine = self._context.db.rows(
            projects.select().where(row.ls_project_id == ls_project_id, row.instance_url == here)
        )
        found = my_day.glossary(self._context.db, [one.id for one in mine])
        return page_shell.render("my_day.html", title="Glossary", active="my-day", found=found, pace="")

    def _remembered(self, asked: Request) -> int | None:
        link: PersonalLink | None = self._links.read(asked.cookies.get(personal_links.COOKIE, ""))
        return link.number if link is not None and link.of == PERSON else None


def _pace(found: dict[str, Any]) -> str:
    """Today against the person's own median, in words."""
    now, own = found["median_pace"], found["own_median_pace"]
    if own is None:
        return f"Too early for a median of your own: {found['own_timed']} annotations in {found['past_days']} days."
    if now is None:
        return f"Your median of {found['past_days']} days: {own:.2f}."
    return f"Your median of {found['past_days']} days is {own:.2f}, of {found['own_timed']} annotations."
