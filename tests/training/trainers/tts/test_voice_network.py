"""The network says a sentence alike alone and in a batch, and keeps what it knew when it is given more to know."""

import numpy as np
import torch

from ml_backend.tts.mel import MelScale
from training.trainers.tts import voice_network as networks
from training.trainers.tts import voice_steps
from training.trainers.tts.voice_clips import Norm, VoiceBatches, VoiceClip, batch_of, mask, spoken_frames
from training.trainers.tts.voice_network import VoiceNetwork, VoiceShape

SHAPE = VoiceShape(letters=12, languages=2, voices=2, emotions=1, width=32, text_layers=2, dilations=(1, 2))


def clip(letters, frames, seed=0, voice=0):
    rng = np.random.default_rng(seed)
    return VoiceClip(
        np.array(letters), 0, voice, 0, rng.normal(size=(sum(frames), 80)).astype(np.float32), np.array(frames)
    )


def said(network, clips):
    batch = batch_of(clips)
    masks = mask(batch.lengths, batch.letters.shape[1]), mask(batch.mel_frames, batch.mel.shape[1])
    with torch.no_grad():
        return voice_steps.spoken(network.eval(), batch, *masks)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    network = VoiceNetwork(SHAPE)
    short, long = clip([1, 2], [3, 4]), clip([3, 4, 5, 6, 7], [5, 6, 7, 8, 9])
    alone, lengths = said(network, [short])
    together, more = said(network, [short, long])
    assert torch.allclose(alone[0], together[0, :7], atol=1e-5)
    assert torch.allclose(lengths[0], more[0, :2], atol=1e-5)


def test_a_voice_is_heard_in_every_frame():
    torch.manual_seed(0)
    network = VoiceNetwork(SHAPE)
    one, _ = said(network, [clip([1, 2, 3], [2, 2, 2], voice=0)])
    other, _ = said(network, [clip([1, 2, 3], [2, 2, 2], voice=1)])
    assert (one - other).abs().mean(dim=2).min() > 0.01


def test_more_letters_voices_and_languages_leave_the_known_ones_as_they_were():
    torch.manual_seed(0)
    network = VoiceNetwork(SHAPE)
    grown = networks.extended(network, letters=15, languages=3, voices=4, emotions=2)
    known = [clip([1, 2, 11], [3, 1, 2], voice=1)]
    assert torch.equal(said(network, known)[0], said(grown, known)[0])
    assert said(grown, [clip([14], [3], voice=3)])[0].isfinite().all()
    assert networks.extended(network) is network


def test_a_few_steps_learn_a_clip_by_heart():
    torch.manual_seed(0)
    network = VoiceNetwork(SHAPE)
    clips = [clip([1, 2, 3], [4, 2, 6])]
    optimizer = voice_steps.optimizer_of(network, learning_rate=5e-3)
    network.train()
    losses = [
        voice_steps.stepped(optimizer, voice_steps.voice_loss(network, clips), learning_rate=5e-3) for _ in range(60)
    ]
    assert losses[-1] < 0.6 * losses[0]
    frames = said(network, clips)[1].exp()[0]
    assert abs(float(frames.sum()) - 12) < 2  # the lengths keep their sum


def test_a_step_has_the_same_clips_whenever_it_is_taken():
    clips = [clip([1], [length]) for length in range(1, 42)]
    one, other = VoiceBatches(clips, 8, seed=3), VoiceBatches(clips, 8, seed=3)
    late = [len(each.mel) for each in one.at(57)]
    for step in (3, 50, 57):
        found = [len(each.mel) for each in other.at(step)]
    assert found == late
    assert len(late) == 8
    assert VoiceBatches(clips[:3], 8, seed=1).at(5)


def test_every_clip_is_seen_in_a_few_epochs():
    clips = [clip([1], [length]) for length in range(1, 42)]
    batches = VoiceBatches(clips, 8, seed=3)
    assert {len(each.mel) for step in range(60) for each in batches.at(step)} == set(range(1, 42))


def test_the_silence_around_speech_and_its_loudness_are_not_learnt():
    t = np.arange(8000) / 16000
    wave = (0.1 * np.sign(np.sin(2 * np.pi * 150 * t))).astype(np.float32)
    quiet = np.zeros(8000, np.float32)
    one = spoken_frames(wave, MelScale())
    other = spoken_frames(np.concatenate([quiet, 0.2 * wave, quiet]).astype(np.float32), MelScale())
    assert abs(len(one) - len(other)) <= 4
    assert abs(np.median(one) - np.median(other)) < 0.2
    assert len(spoken_frames(quiet, MelScale())) == 0
    assert len(spoken_frames(np.zeros(0, np.int16), MelScale())) == 0


def test_frames_come_back_from_their_normal_form():
    rng = np.random.default_rng(0)
    mels = [rng.normal(3, 2, size=(50, 80)).astype(np.float32)]
    norm = Norm.of(mels)
    assert np.allclose(norm.back(norm.forward(mels[0])), mels[0], atol=1e-5)
    assert abs(norm.forward(mels[0]).mean()) < 1e-3
