"""Signed links to My day: one for each annotator, one for each project's instructions.

Label Studio's instructions are the same for everybody, so the link in them opens what all may see: the project's
glossary. A person's own figures need that person's own link, once; a cookie remembers it in this browser. A link says
which and is signed, so that nobody can make one for somebody else. The key comes from that of the pseudonyms, which
every process of a deployment has, and which stays when tokens change.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from ml_backend.calls import pseudonyms
from ml_backend.context import Context

ADDRESS = "/page/my-day"
PERSON, PROJECT = "person", "project"
LASTS_S = {PERSON: 400 * 86_400, PROJECT: None}
COOKIE, COOKIE_LASTS_S = "kaan_my_day", 180 * 86_400


@dataclass(frozen=True)
class PersonalLink:
    """Of a person, by Label Studio's user id, or of a project, by its number there."""

    of: str
    number: int


class PersonalLinks:
    """Makes and reads them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def path(self, link: PersonalLink) -> str:
        """The address on this host."""
        return f"{ADDRESS}/{self.sign(link)}"

    def url(self, link: PersonalLink) -> str:
        """The whole address, as PAGE_URL; the path alone where it is not set."""
        return f"{self._context.settings.page_address}{self.path(link)}"

    def sign(self, link: PersonalLink) -> str:
        text = self._signer().dumps([link.of, link.number])
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str) -> PersonalLink | None:
        """What a link or cookie says; None for one that is not ours, or too old."""
        try:
            of, number = self._signer().loads(text)
            self._signer().loads(text, max_age=LASTS_S[of])
        except (BadSignature, ValueError, TypeError, KeyError):
            return None
        return PersonalLink(of, number) if isinstance(number, int) and number > 0 else None

    def _signer(self) -> URLSafeTimedSerializer:
        key = hmac.new(pseudonyms.key_of(self._context.settings), b"links to my day", hashlib.sha256).digest()
        algorithm = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        return URLSafeTimedSerializer(key, salt="kaan my day", signer_kwargs=algorithm)
