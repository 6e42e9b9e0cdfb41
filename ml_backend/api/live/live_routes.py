"""`/v1`: what the phone system asks. A blueprint, so that a process of its own can serve it as the web process does.

`call` (a field, or the header x-kaan-call) is the call's id: with it, the version is chosen as it is for the call's
drafts, experiments included. Every answer names its version in x-kaan-model-version.
"""

from __future__ import annotations

from typing import IO

import sqlalchemy as sa
from flask import Blueprint, Flask, Response, request

from ml_backend import tables
from ml_backend.api import requests
from ml_backend.api.auth import Gate
from ml_backend.api.live import (
    live_counting,
    live_engines,
    live_shadow,
    live_tally,
    openai_form,
    transcript_forms,
    transcription_form,
)
from ml_backend.api.live.live_admission import Admission
from ml_backend.api.live.live_bodies import Body, LiveBody, ParseBody, SpeechBody, checked
from ml_backend.api.live.live_engines import LiveEngine, LiveEngines
from ml_backend.api.live.live_speech import sound
from ml_backend.api.live.transcription_form import TranscriptionBody
from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import device_turns
from ml_backend.models import kinds, registry
from ml_backend.serving import live_audio

PREFIX = "/v1/"
PARSE, SPEECH, TRANSCRIPTIONS = "/v1/nlu/parse", "/v1/audio/speech", "/v1/audio/transcriptions"
COUNTED = {
    PARSE: ("parse", kinds.NLU), SPEECH: ("speech", kinds.TTS), TRANSCRIPTIONS: ("transcriptions", kinds.ASR),
}  # fmt: skip
MOST_LISTED = 500
"""Versions that the list of models holds: the latest."""


def install(app: Flask, context: Context, gate: Gate, *, most_waiting: int, transcribes: bool) -> None:
    """Add the routes to an app that `requests.install` prepared.

    `most_waiting` requests are answered at a time. The process of the webhooks does not transcribe, so that callbacks
    never wait for it.
    """
    live = Live(context, live_engines.of(context), most_waiting=most_waiting, transcribes=transcribes)
    blueprint = Blueprint("live", __name__)
    for rule, view, methods in (
        ("/v1/models", live.models, ("GET",)),
        ("/v1/models/<model>", live.model, ("GET",)),
        (PARSE, live.parse, ("POST",)),
        (SPEECH, live.speech, ("POST",)),
        (TRANSCRIPTIONS, live.transcription, ("POST",)),
    ):
        requests.add_route(blueprint, rule, view, who=gate.live, methods=methods)
    live_counting.count(blueprint, live_tally.of(context), COUNTED)
    app.register_blueprint(blueprint)
    requests.use_error_form(app, PREFIX, openai_form.error)
    if transcribes:
        requests.add_route(app, "/ready", live.ready, who=gate.anyone)


class Live:
    """The models of this deployment, for callers that speak OpenAI's interface."""

    def __init__(self, context: Context, engines: LiveEngines, *, most_waiting: int, transcribes: bool) -> None:
        self._context, self._engines, self._transcribes = context, engines, transcribes
        self._admission = Admission(most_waiting, device_turns.of(context))
        self._kept = live_audio.of(context)
        if transcribes:
            self._kept.begin()
        self._tally = live_tally.of(context)
        self._shadows = live_shadow.of(context)

    def ready(self) -> Response:
        """200 when every kind can answer, else 503 with the kinds that are being loaded. No names, no versions."""
        reasons = [
            {"code": "model-not-loaded", "message": f"No {kind} model is loaded yet."}
            for kind in self._engines.missing()
        ]
        return answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def models(self) -> Response:
        """Every name that a request may give as `model`: champion, the other aliases, and versions."""
        return answer({"object": "list", "data": self._listed()})

    def model(self, model: str) -> Response:
        """One of them."""
        for each in self._listed():
            if each["id"] == model:
                return answer(each)
        raise openai_form.unknown_model(model)

    def parse(self) -> Response:
        """`{"text": ...}` -> intent, confidence and entities; offsets are code points."""
        asked = self._noted(checked(ParseBody, requests.json_object()))
        with self._admission.admitted(), self._tally.inside():
            chosen = self._answering(kinds.NLU, asked)
            with live_counting.computing():
                found = chosen.engine.parse(asked.text).to_json()
        self._shadows.parsed(chosen, live_counting.counted().call, asked, found["intent"])
        del found["model_version"]
        told = {"text": asked.text, **found, "language": asked.language, "version": chosen.version.version}
        return self._with_version(answer(told), chosen)

    def speech(self) -> Response:
        """A text -> its sound, in OpenAI's form. With `keep` it stays; what was kept is not spoken again."""
        asked = self._noted(checked(SpeechBody, requests.json_object()))
        with self._admission.admitted(), self._tally.inside():
            chosen = self._answering(kinds.TTS, asked)
            with live_counting.computing():
                data, content_type = sound(self._context, chosen.engine, asked)
        self._shadows.spoken(chosen, live_counting.counted().call, asked)
        return self._with_version(Response(data, mimetype=content_type), chosen)

    def transcription(self) -> Response:
        """A form with a `file` of audio -> its text: json, text, verbose_json, srt or vtt, or events with `stream`."""
        if not self._transcribes:
            raise InvalidInput(
                "not-served-here", "This process does not transcribe.",
                "Send it to the process of `python -m ml_backend serve`, at LIVE_PORT.", status=404,
            )  # fmt: skip
        from ml_backend.api.live.live_transcription import transcribed  # numpy: only where audio is read

        asked, audio, name = transcription_form.read()  # a slow sender holds no place of others, and no job up
        self._noted(asked)
        with self._admission.admitted(), self._tally.inside():
            chosen = self._answering(kinds.ASR, asked)
            found, short = transcribed(chosen.engine, audio, name, asked, self._context.settings)
        self._keep(audio, name, asked)
        self._shadows.transcribed(chosen, live_counting.counted().call, short, found.text)
        if asked.stream:
            response = Response(transcript_forms.events(found), content_type=transcript_forms.EVENTS)
        else:
            form = asked.response_format
            body = transcript_forms.written(found, form, granularities=list(asked.timestamp_granularities))
            response = Response(body, content_type=transcript_forms.CONTENT_TYPES[form])
        return self._with_version(response, chosen)

    def _keep(self, audio: IO[bytes], name: str, asked: TranscriptionBody) -> None:
        """Have the audio of an answered request kept, where its company number says so."""
        call = live_counting.counted().call
        number = asked.number or request.headers.get(openai_form.NUMBER_HEADER, "")[:80]
        if not call or not self._kept.wants(call, number):
            return
        audio.seek(0)
        self._kept.offer(
            live_audio.SentAudio(
                call,
                audio.read(),
                number=number or None,
                name=name,
                language=asked.language,
                speaker=asked.speaker,
                caller=asked.caller,
            )
        )

    def _answering(self, kind: str, asked: LiveBody) -> LiveEngine:
        counted = live_counting.counted()
        chosen = self._engines.answering(kind, model=asked.model, call=counted.call, language=asked.language)
        counted.version = chosen.version.version
        counted.experiment_id, counted.arm = chosen.experiment_id, chosen.arm
        return chosen

    def _noted(self, asked: Body) -> Body:
        """The call is known, also where the request is refused or fails from here on."""
        counted = live_counting.counted()
        counted.call = asked.call or counted.call
        return asked

    def _with_version(self, response: Response, chosen: LiveEngine) -> Response:
        response.headers[openai_form.VERSION_HEADER] = chosen.version.version
        return response

    def _listed(self) -> list[dict[str, object]]:
        version, alias = tables.model_versions.c, tables.aliases.c
        latest = sa.select(version.version, version.kind, version.languages, version.created_at)
        named = sa.select(alias.alias, alias.kind, alias.language, version.created_at).join(
            tables.model_versions, alias.model_version_id == version.id
        )
        rows = list(self._context.db.rows(named.order_by(alias.alias, alias.kind, alias.language)))
        found = []
        for name in dict.fromkeys([registry.CHAMPION, *(row.alias for row in rows)]):
            mine = [row for row in rows if row.alias == name]
            if mine:
                found.append(
                    openai_form.model(
                        name, sorted({row.kind for row in mine}), sorted({row.language for row in mine}),
                        max(row.created_at for row in mine),
                    )
                )  # fmt: skip
        for row in self._context.db.rows(latest.order_by(version.id.desc()).limit(MOST_LISTED)):
            found.append(openai_form.model(row.version, [row.kind], list(row.languages), row.created_at))
        return found
