"""Frames of one leg -> signal-to-noise ratio in dB: active speech power over the power of the noise beneath it.

Two published estimators, because each is right where the other is not:

* the frame-energy estimate (as in NIST's STNR): (mean power of the speech frames - floor) / floor, where the floor is
  the 10th percentile of the frame powers. Within about 2 dB above 12 dB; too high below, where only the loudest
  frames still stand out of the noise;
* WADA-SNR (C. Kim and R. M. Stern, "Robust signal-to-noise ratio estimation based on waveform amplitude distribution
  analysis", Interspeech 2008): speech amplitudes follow a Gamma distribution of shape 0.4 and noise is Gaussian, so
  ln(mean |z|) - mean(ln |z|) depends on their ratio alone. `_WADA` is that function, integrated numerically from the
  paper's model. Within about 1 dB below 12 dB; too high above 20 dB.

The frame-energy estimate is taken above 17 dB, WADA below 12 dB, and a mixture between.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_DB, MOST_DB = -10.0, 60.0
_WADA_BELOW_DB, _ENERGY_ABOVE_DB = 12.0, 17.0
_WADA_DB = np.arange(-10.0, 22.0, 2.0)
_WADA = (
    0.4120, 0.4146, 0.4197, 0.4281, 0.4415, 0.4612, 0.4881, 0.5229,
    0.5651, 0.6136, 0.6670, 0.7236, 0.7823, 0.8412, 0.8993, 0.9552,
)  # fmt: skip
_SMALLEST = 0.5  # of a 16-bit step: what a sample of 0 may have been


def estimate_db(speech_power: float, floor_power: float, samples: npt.NDArray[np.float32]) -> float:
    """The ratio in -10..60 dB. `samples` are those of the speech and the short pauses in it, in 16-bit steps."""
    energy_db = 10 * float(np.log10(max(speech_power - floor_power, 1e-12) / max(floor_power, 1e-12)))
    share = (energy_db - _WADA_BELOW_DB) / (_ENERGY_ABOVE_DB - _WADA_BELOW_DB)
    if share >= 1 or not samples.size:
        return min(MOST_DB, max(LEAST_DB, energy_db))
    share = max(0.0, share)
    return min(MOST_DB, max(LEAST_DB, share * energy_db + (1 - share) * _wada_db(samples)))


def _wada_db(samples: npt.NDArray[np.float32]) -> float:
    amplitudes = np.maximum(np.abs(samples), np.float32(_SMALLEST))
    statistic = np.log(amplitudes.mean(dtype=np.float64)) - np.log(amplitudes).mean(dtype=np.float64)
    return float(np.interp(statistic, _WADA, _WADA_DB))
