"""A studio's list -> clips that know who speaks; bad rows are named, and a repetition changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.errors import InvalidInput
from ml_backend.views import voice_views
from tests import sounds
from tests.training.voices.conftest import Voices
from training.voices import clip_collection, studio

HEAD = "file,text,language,voice,emotion\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A studio's folder with two takes."""
    folder = tmp_path / "studio"
    (folder / "takes").mkdir(parents=True)
    sounds.write_wav(folder / "takes" / "1.wav", sounds.speech("hello this is a call"))
    sounds.write_wav(folder / "takes" / "2.wav", sounds.speech("i want to order milk"))
    return folder


def rows(folder: Path, text: str, *, head: str = HEAD) -> Path:
    (folder / "list.csv").write_text(head + text, encoding="utf-8")
    return folder


def bring(voices: Voices, folder: Path) -> studio.Imported:
    done = studio.import_folder(voices.context, folder)
    voices.run_jobs()
    clip_collection.collect(voices.context)
    return done


def test_a_list_brings_clips_with_their_voice_and_emotion_and_again_nothing(voices: Voices, folder: Path) -> None:
    rows(folder, 'takes/1.wav,"Hello, this is a call.",English,Asha,Happy\ntakes/2.wav,I want to order milk,en,Asha,\n')
    first = bring(voices, folder)
    assert (first.new, first.bad) == (2, [])
    found = [(clip.voice, clip.emotion, clip.engine, clip.role, clip.language, clip.state) for clip in voices.clips()]
    assert found == [
        ("Asha", "happy", "studio", "reference", "en", "accepted"),
        ("Asha", "neutral", "studio", "reference", "en", "accepted"),
    ]
    again = bring(voices, folder)
    assert (again.new, again.changed, again.unchanged, again.bad) == (0, 0, 2, [])
    assert len(voices.clips()) == 2


def test_a_corrected_text_and_emotion_are_taken_over(voices: Voices, folder: Path) -> None:
    bring(voices, rows(folder, "takes/1.wav,hello this is a bill,en,Asha,calm\n"))
    done = bring(voices, rows(folder, "takes/1.wav,hello this is a call,en,Asha,happy\n"))
    assert (done.new, done.changed) == (0, 1)
    [clip] = voices.clips()
    assert (clip.text, clip.emotion) == ("hello this is a call", "happy")


def test_bad_rows_are_named_with_their_line_and_the_good_ones_come_in(voices: Voices, folder: Path) -> None:
    (folder / "takes" / "copy.wav").write_bytes((folder / "takes" / "1.wav").read_bytes())
    (folder.parent / "secret.wav").write_bytes(b"x")
    rows(
        folder,
        "takes/1.wav,hello this is a call,en,Asha,happy\n"
        "takes/copy.wav,hello this is a bill,en,Asha,happy\n"
        "takes/9.wav,there is no such file,en,Asha,happy\n"
        "../secret.wav,outside,en,Asha,happy\n"
        "takes/2.wav,,en,Asha,happy\n"
        "takes/2.wav,some text,klingon,Asha,happy\n"
        "takes/2.wav,some text,en,,happy\n"
        ",some text,en,Asha,happy\n\n",
    )
    done = bring(voices, folder)
    assert done.new == 1
    assert [one.line for one in done.bad] == [3, 4, 5, 6, 7, 8, 9]
    reasons = " ".join(one.reason for one in done.bad)
    for part in ("two different texts", "no such file", "no text", "'klingon'", "no voice", "no file"):
        assert part in reasons


def test_a_file_named_twice_with_different_facts_is_left_out(voices: Voices, folder: Path) -> None:
    done = bring(
        voices, rows(folder, "takes/1.wav,one,en,Asha,\ntakes/1.wav,two,en,Asha,\ntakes/2.wav,milk,en,Asha,\n")
    )
    assert (done.new, len(done.bad)) == (1, 2)


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        ("file,text,language\n", "", "no column voice"),
        ("", "", "no column file"),
        (HEAD, None, "no CSV lists"),
    ],
)
def test_a_list_that_cannot_be_read_says_what_it_must_have(
    voices: Voices, folder: Path, head: str, body: str | None, said: str
) -> None:
    if body is not None:
        rows(folder, body, head=head)
    with pytest.raises(InvalidInput, match=said) as found:
        studio.import_folder(voices.context, folder)
    assert "file, text, language, voice, emotion" in found.value.next_step


def test_a_prefix_of_a_bucket_is_read_where_it_is(voices: Voices, folder: Path) -> None:
    for name in ("1.wav", "2.wav"):
        voices.put(f"uploads/nov/{name}", (folder / "takes" / name).read_bytes())
    voices.put("uploads/nov/list.csv", HEAD + "1.wav,hello this is a call,en,Ravi,sad\n7.wav,absent,en,Ravi,sad\n")
    done = studio.import_prefix(voices.context, "uploads", "nov/")
    voices.run_jobs()
    clip_collection.collect(voices.context)
    assert (done.new, [one.file for one in done.bad]) == (1, ["7.wav"])
    assert [(clip.bucket, clip.key, clip.voice, clip.state) for clip in voices.clips()] == [
        ("uploads", "nov/1.wav", "Ravi", "accepted")
    ]


def test_a_trial_run_changes_nothing(voices: Voices, folder: Path) -> None:
    rows(folder, "takes/1.wav,hello this is a call,en,Asha,\n")
    assert studio.import_folder(voices.context, folder, dry_run=True).new == 1
    assert voices.clips() == []


def test_coverage_names_the_combinations_that_are_missing(voices: Voices, folder: Path) -> None:
    rows(folder, "takes/1.wav,hello this is a call,en,Asha,happy\ntakes/2.wav,i want to order milk,en,Ravi,sad\n")
    bring(voices, folder)
    found = voice_views.coverage(voices.context.db)
    assert {(one["voice"], one["emotion"]) for one in found["missing"]} == {("Asha", "sad"), ("Ravi", "happy")}
    assert {(one["voice"], one["emotion"]) for one in found["few"]} == {("Asha", "happy"), ("Ravi", "sad")}
