"""Text -> the telephone numbers in it. Pure.

Numbers contain dashes, spaces, brackets and escapes (98%2076..), and occur in addresses, file names and ids. Where a
number must not be stored, `without_numbers` keeps its last two digits, and `hidden` makes a keyed hash of the whole
name, so that the name can be recognised again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import unquote_plus

HIDDEN = "hidden:"
_BETWEEN = r"(?:[\s().\-_+]|%(?:20|2[89BDEbde]))"  # what stands between the digits of a number, escaped or not
_RUN = re.compile(rf"(?<!\d)\+?\d(?:{_BETWEEN}*\d){{6,}}")
_MOBILE = re.compile(rf"(?<!\d)(?:(?:0{{0,2}}91|0){_BETWEEN}*)?[6-9](?:{_BETWEEN}*\d){{9}}(?!\d)")
_IDS = re.compile(  # not phone numbers: hashes, ids of calls
    r"(?<![0-9A-Za-z])(?:(?=[0-9a-f]*[a-z])[0-9a-f]{24,}[g-z]?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9A-Za-z])"
)


def carries_number(text: str) -> bool:
    """Whether seven or more digits, with or without dashes and spaces, could be a telephone number.

    Also true for some dates and times, where hiding digits is harmless.
    """
    return _RUN.search(without_ids(text)) is not None


def carries_mobile(text: str) -> bool:
    """Whether it contains ten digits of an Indian mobile number, in any grouping."""
    return _MOBILE.search(text) is not None


def without_ids(text: str) -> str:
    """The text without hashes and ids of calls, whose digits stand together by chance."""
    return _IDS.sub(" ", text)


def without_numbers(text: str) -> str:
    """The text with the last two digits of every number that could be a telephone's."""
    pieces, at = [], 0
    for kept in _IDS.finditer(text):
        pieces += [_RUN.sub(_last_two, text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*pieces, _RUN.sub(_last_two, text[at:])])


def hidden(name: str, key: bytes) -> str:
    """A name that carries a number, as a keyed hash; every other name as it is."""
    if name.startswith(HIDDEN) or not carries_number(name):
        return name
    digest = hmac.new(key, name.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
    return f"{HIDDEN}{digest[:40]}"


def runs(text: str) -> list[str]:
    """Numbers as they may be written: each run, and every ten digits in it, where more stand around them."""
    plain = unquote_plus(text)
    digits = [re.sub(r"\D", "", run[0]) for run in _RUN.finditer(plain)]
    windows = {run: [run[at : at + 10] for at in range(len(run) - 9)] for run in digits}
    return [form for run in windows for form in dict.fromkeys((run, f"+{run}", *windows[run]))]


def _last_two(number: re.Match[str]) -> str:
    return f"***{number[0][-2:]}"
