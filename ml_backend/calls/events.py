"""Request parts, or a call object of the API -> CallEvent. Pure: no clock, no database, no settings.

Exotel reports one call in many formats (StatusCallback, Passthru, agent popup, ExoML, IP calling, campaign, and the
original system's own mix); all become one record with the same names. Unknown values become None: a time of the year 1
or 1970, a negative duration, an empty address. `ledger` decides what happens to the call.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ml_backend.calls.fields import Fields, fields_of, of_object
from ml_backend.calls.phone_numbers import carries_mobile
from ml_backend.errors import ConfigurationError, InvalidInput

INDIA = "Asia/Kolkata"
LIVE_SOURCE = "live"  # a call known from what its live requests sent; so are the recordings of that audio
NO_CONVERSATION = ("busy", "canceled", "failed", "no-answer")  # these calls are over and have no recording
OVER = ("completed", "client-hangup", "incomplete", "voicemail")  # over, perhaps with a recording
MAX_TALK_S = 7 * 24 * 3600.0
_CALL_SID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_STATUS = re.compile(r"[a-z][a-z-]{0,39}", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,120}", re.ASCII)
_LOST_PLUS = re.compile(r"(T\S+) (\d\d:?\d\d)$")
_DIRECTIONS = {"incoming": "inbound", "inbound": "inbound", "outbound": "outbound", "outgoing": "outbound"}
_SPELLINGS = {"noanswer": "no-answer", "cancelled": "canceled", "inprogress": "in-progress"}
_FLOW = ("flowid", "calltype", "dialcallstatus", "dialcallduration", "stream", "currenttime", "digits")
_TIMES = ("started_at_utc", "ended_at_utc", "sent_at_utc")
_SEND = "Send one event as Exotel does, with the call's CallSid."


@dataclass(frozen=True)
class CallEvent:
    """The content of one message about one call. Phone numbers are as sent, so the repr leaves them out."""

    call_sid: str
    source: str  # status_callback, passthru, agent_event, ip_calling, campaign, exoml, details, listing, object, live
    status: str | None = None
    recording_url: str | None = field(default=None, repr=False)
    from_: str | None = field(default=None, repr=False)
    to: str | None = field(default=None, repr=False)
    direction: str | None = None
    talk_seconds: float | None = None
    started_at_utc: datetime | None = None
    ended_at_utc: datetime | None = None
    custom_field: str | None = field(default=None, repr=False)
    company_number: str | None = field(default=None, repr=False)
    sent_at_utc: datetime | None = None  # Exotel's clock as it sent the message, where it says so

    @property
    def wants_download(self) -> bool:
        """Whether it names a recording."""
        return self.recording_url is not None

    @property
    def wants_details_poll(self) -> bool:
        """Whether the call took place but names no recording: one may follow, so the API is polled."""
        return self.status == "completed" and self.recording_url is None

    def to_json(self) -> dict[str, Any]:
        """JSON for the row between the request that parsed it and the job that records it."""
        return {name: value.isoformat() if name in _TIMES and value else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> CallEvent:
        """The inverse of `to_json`."""
        times = {name: datetime.fromisoformat(kept[name]) for name in _TIMES if kept.get(name)}
        return cls(**{**kept, **times})


def parse_request(
    method: str, content_type: str | None, query: bytes | str, body: bytes, *, zone: str = INDIA
) -> CallEvent | None:
    """A callback's request parts -> its event; None if it is not about a call. InvalidInput if it is malformed."""
    return event_of(fields_of(content_type or "", query, body), zone=zone)


def event_of(fields: Fields, *, zone: str = INDIA) -> CallEvent | None:
    """Flat fields -> the event; None if they are not about a call."""
    if not fields.has("callsid") and fields.has("eventsid", "eventtype") and fields.has("eventname"):
        return None  # a leg's progress in ExoML: no call of ours, no recording
    return _event(fields, _call_sid(fields), _source(fields), zone)


def of_call(row: Mapping[str, Any], *, source: str, zone: str = INDIA) -> CallEvent:
    """A call object of the API (`Sid`, ...) -> the event; `source` is listing or details."""
    fields = of_object(row.get("Call") if isinstance(row.get("Call"), Mapping) else row)
    if "callsid" not in fields.values and "sid" in fields.values:
        fields.values["callsid"] = fields.values["sid"]
    return _event(fields, _call_sid(fields), source, zone)


def recording_identity(call_sid: str, url: str) -> str:
    """`exotel:{call}:{file}`: the same file on Exotel's old and new hosts is one recording."""
    name = url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    if not _FILE_NAME.fullmatch(name) or not name.strip(".") or carries_mobile(name.replace(call_sid, "")):
        name = hashlib.sha256(url.encode()).hexdigest()[:24]  # no name, or one that carries a phone number
    return f"exotel:{call_sid}:{name}"


def zone_of(name: str) -> ZoneInfo:
    """The zone by name, or a ConfigurationError."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: an unknown zone
        raise ConfigurationError(
            "unknown-zone", "EXOTEL_TIME_ZONE is not the name of a time zone.", "Set it to a name like Asia/Kolkata."
        ) from None


def _event(fields: Fields, call_sid: str, source: str, zone: str) -> CallEvent:
    from_, to = fields.text("from", "callfrom", "fromnumber"), fields.text("to", "callto", "tonumber", "number")
    direction = (fields.text("direction") or "").lower().partition("-")[0]
    company = fields.text("phonenumbersid", "phonenumber", "virtualnumber")
    if company is None and source == "passthru" and _DIRECTIONS.get(direction) == "inbound":
        company = fields.text("callto", "to")
    return CallEvent(
        call_sid=call_sid,
        source=source,
        status=_status(fields, source),
        recording_url=_url(fields),
        from_=_number(from_),
        to=_number(to),
        direction=_DIRECTIONS.get(direction),
        talk_seconds=_talk_seconds(fields, source),
        started_at_utc=time_of(fields.text("starttime"), zone=zone),
        ended_at_utc=time_of(fields.text("endtime"), zone=zone),
        custom_field=(fields.text("customfield") or "")[:500] or None,
        company_number=_number(company),
        sent_at_utc=time_of(fields.text("currenttime"), zone=zone),
    )


def _call_sid(fields: Fields) -> str:
    given = [value for value in fields.values.get("callsid", ()) if value is not None and value != ""]
    if not given:
        code = "bad-call-sid" if fields.has("callsid") else "no-call-sid"
        raise InvalidInput(code, "The event names no call.", _SEND)
    if any(value != given[0] for value in given):
        raise InvalidInput("ambiguous-call-sid", "The event names two different calls.", _SEND)
    sid = given[0]
    if not isinstance(sid, str) or not _CALL_SID.fullmatch(sid) or not sid.strip("."):
        raise InvalidInput("bad-call-sid", "The event's CallSid is not one of Exotel's.", _SEND)
    return sid


def _source(fields: Fields) -> str:
    if fields.has("campaignsid"):
        return "campaign"
    if fields.has("callstate", "callrecordings", "fromnumber", "virtualnumber"):
        return "ip_calling"
    kind = (fields.text("eventtype") or "").lower()
    agents = fields.has("dialwhomnumber") and (fields.text("status") or "").lower() in ("busy", "free")
    if kind == "dial" or (agents and not kind and not fields.has("calltype")):
        return "agent_event"
    if fields.has(*_FLOW) or (fields.has("callfrom") and not fields.has("status")):
        return "passthru"
    if fields.has("recordingsid") and not fields.has("status"):
        return "exoml"
    return "status_callback"


def _status(fields: Fields, source: str) -> str | None:
    """The call's status. In an agent's popup it is the agent's; in a flow CallType says more than CallStatus."""
    if source == "agent_event":
        return None
    names = ("calltype", "callstatus", "status", "dialcallstatus", "stream[status]")
    text = fields.text(*names) if source == "passthru" else fields.text("status", "callstatus")
    text = (text or "").lower().replace(" ", "-").replace("_", "-")
    text = _SPELLINGS.get(text.replace("-", ""), text)
    return text if _STATUS.fullmatch(text) and text != "null" else None


def _url(fields: Fields) -> str | None:
    names = ("recordingurl", "recordingurl[0]", "callrecordings", "callrecordings[0]", "stream[recordingurl]")
    url, text = fields.get(*names), fields.text(*names)
    if not isinstance(url, str) or not text or text.lower() in ("null", "none", "undefined", "na", "n/a"):
        return None
    return text


def _number(text: str | None) -> str | None:
    """A telephone number as sent, or its substitute (a SIP name, a masked number)."""
    return text if text and len(text) <= 80 else None


def _talk_seconds(fields: Fields, source: str) -> float | None:
    """Seconds that both sides talked. DialCallDuration and the API's Duration are not used: they count the ringing."""
    names = ["conversationduration", "details[conversationduration]", "recordingduration", "stream[duration]"]
    if source == "ip_calling":
        names.append("totalduration")
    for name in names:
        if (seconds := _seconds(fields.get(name))) is not None:
            return seconds
    if source == "passthru":  # one leg per agent who was rung; the one who answered talked longest
        durations = [fields.get(name) for name in fields.values if re.fullmatch(r"legs\[\d+\]\[oncallduration\]", name)]
        return max((found for each in durations if (found := _seconds(each)) is not None), default=None)
    return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or value is None or (isinstance(value, str) and len(value) > 40):
        return None
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= MAX_TALK_S else None


def time_of(text: str | None, *, zone: str = INDIA) -> datetime | None:
    """Exotel's time -> UTC. Without a zone it is India time; the years 1 and 1970 stand for "none"."""
    if not text or len(text) > 60:
        return None
    found = None
    try:
        found = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
    except ValueError:
        for form in ("%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S %z", "%d/%m/%Y %H:%M:%S"):
            try:
                found = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows below
                break
            except ValueError:
                continue
    if found is None or found.year < 2000:
        return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone_of(zone))).astimezone(UTC)
    except OverflowError:
        return None
