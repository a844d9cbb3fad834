"""The sound of a part of a file, at another sample rate and in one channel: only what is needed is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from actrec.errors import BadItem
from actrec.media.probe import audio_stream, bad_item, film_stream, open_container

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

# The power of louder samples would leave the range of float32; of 1 is what a sound file can hold, by convention.
_LOUDEST = 1e6
_MAX_LOST_FRAC = 0.1
# Decoders begin anew: MP3 borrows bits from up to 9 frames of 26 ms before, Vorbis overlaps blocks of up to 186 ms.
_RUN_UP_S = 0.5
# What the resampler looks at on both sides of a sample.
_MARGIN_S = 0.05
# Of 8 planes, one a channel, PyAV reads a ninth, which is not there: a crash. Packed, there is one plane.
_MANY_CHANNELS = 8
_SAMPLES_AT_A_TIME = 1 << 14


@dataclass(frozen=True, slots=True)
class Part:
    """What to read of a sound track: up to `num_samples` at `rate_hz`, of what lies in [start_s, end_s).

    The times go by the clock of the pictures if the file has some, else from the first sample; `start_s` None means
    from the first sample, `end_s` None to the end. `crop` says what of a longer part is kept.
    """

    rate_hz: int
    num_samples: int
    crop: Literal["start", "middle"]
    start_s: float | None = None
    end_s: float | None = None


def read_track(path: Path, part: Part) -> np.ndarray:
    """Return the mean of the channels of a part, float32 (n,), n at most `num_samples`; 1 is full scale.

    Raises:
        BadItem: nonfinite_audio, for samples that are NaN, infinite or beyond all reason; too_short, for none at all;
            truncated, if clearly less is there than the header promises; unreadable, if more than a tenth cannot be
            decoded; or what the demuxer found.
    """
    needs_clock = part.start_s is not None or part.end_s is not None
    with open_container(path, for_sound=not needs_clock) as container:
        try:
            track = audio_stream(container)
            if track is None or track.codec_context is None or not track.codec_context.sample_rate:
                raise BadItem("unreadable", "no sound track that a decoder here knows")
            return _read(container, track, part)
        except BadItem:
            raise
        except Exception as error:
            raise bad_item(error) from None


def _read(container: InputContainer, track: AudioStream, part: Part) -> np.ndarray:
    import librosa

    begin_s = 0.0 if part.start_s is None else max(part.start_s + _clock_zero_s(container, track), 0.0)
    stop_s = math.inf if part.end_s is None else part.end_s + _clock_zero_s(container, track)
    last_s = stop_s
    if part.crop == "start":
        last_s = min(stop_s, begin_s + part.num_samples / part.rate_hz + _RUN_UP_S)
    packets = _packets(container, track, last_s)
    found_s = min(packets[-1].stop_s, stop_s)
    window = _window(begin_s, found_s, stop_s, track.codec_context.sample_rate, part)
    native = _decode(track, packets, window)
    if not len(native):
        end = "the end" if part.end_s is None else f"{part.end_s:g} s"
        raise BadItem("too_short", f"no sound between {part.start_s or 0:g} s and {end}")
    if not np.maximum(native.max(), -native.min()) <= _LOUDEST:
        raise BadItem("nonfinite_audio", f"samples that are NaN, infinite or above {_LOUDEST:g}")
    sound = librosa.resample(native, orig_sr=window.rate_hz, target_sr=part.rate_hz)
    return sound[window.offset : window.offset + part.num_samples]


def _clock_zero_s(container: InputContainer, track: AudioStream) -> float:
    """Return where the clock of the clips begins, in seconds from the first sample: with the first picture, if any."""
    film = film_stream(container)
    return _start_s(film) - _start_s(track) if film else 0.0


def _start_s(stream: AudioStream | VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


class _Timed(NamedTuple):
    """A packet, and when its sound is heard, in seconds from the first sample."""

    start_s: float
    stop_s: float
    packet: Packet


def _packets(container: InputContainer, track: AudioStream, last_s: float) -> list[_Timed]:
    """Return the packets of the track up to `last_s`; at the end of the file an empty one, which flushes the decoder.

    Demuxing is cheap, decoding is not: so all are listed, and the decoder gets those that are needed. Nothing seeks:
    where MP3 and transport streams land is a guess.
    """
    from av.stream import Discard

    for stream in container.streams:
        if stream.index != track.index:
            stream.discard = Discard.all
    tick_s, first_s = float(track.time_base or 0), _start_s(track)
    packets, position_s = [], 0.0
    for packet in container.demux(track):
        ticks = packet.pts if packet.pts is not None else packet.dts
        start_s = position_s if ticks is None else ticks * tick_s - first_s
        position_s = start_s + (packet.duration or 0) * tick_s
        packets.append(_Timed(start_s, position_s, packet))
        if start_s >= last_s:
            return packets
    promised_s = _promised_s(container, track)
    if position_s < (1 - _MAX_LOST_FRAC) * promised_s:
        raise BadItem("truncated", f"the header promises {promised_s:.2f} s of sound, {position_s:.2f} s are there")
    return packets


def _promised_s(container: InputContainer, track: AudioStream) -> float:
    """Return how long the track is by the header, 0 if it does not tell."""
    if container.format.name == "mp3":
        return 0.0  # without a table it is a guess by the first bit rate, and whether there is one FFmpeg does not say
    if track.duration is not None:
        return float(track.duration * (track.time_base or 0))
    return 0.0 if film_stream(container) else (container.duration or 0) / 1e6


@dataclass(frozen=True, slots=True)
class _Window:
    """Which samples of a track to decode, and how many come before the wanted ones once they are resampled."""

    rate_hz: int
    first: int
    stop: int
    offset: int


def _window(begin_s: float, found_s: float, stop_s: float, rate_hz: int, part: Part) -> _Window:
    """Return what to decode of what lies between `begin_s` and `stop_s`, where there is sound up to `found_s`.

    The window begins on a sample that resampling keeps, so it gives the samples that the whole part would give.
    """
    common = math.gcd(rate_hz, part.rate_hz)
    margin = math.ceil(_MARGIN_S * part.rate_hz)
    excess = round((found_s - begin_s) * part.rate_hz) - part.num_samples
    skipped = max(excess, 0) // 2 if part.crop == "middle" else 0
    blocks = max(skipped - margin, 0) // (part.rate_hz // common)
    begin = round(begin_s * rate_hz)
    stop = begin + math.ceil((skipped + part.num_samples + margin) * rate_hz / part.rate_hz)
    return _Window(
        rate_hz=rate_hz,
        first=begin + blocks * (rate_hz // common),
        stop=stop if math.isinf(stop_s) else min(stop, round(stop_s * rate_hz)),
        offset=skipped - blocks * (part.rate_hz // common),
    )


def _decode(track: AudioStream, packets: list[_Timed], window: _Window) -> np.ndarray:
    """Return the window's samples, float32 (n,): the mean of the channels."""
    from av.error import FFmpegError

    track.codec_context.thread_count = 1
    first_s, stop_s = window.first / window.rate_hz - _RUN_UP_S, window.stop / window.rate_hz
    wanted = [timed for timed in packets if timed.stop_s > first_s and timed.start_s < stop_s]
    mixer, position, num_lost = _Mixer(), None, 0
    for timed in wanted:
        try:
            frames: list[Any] = timed.packet.decode()
        except FFmpegError:
            num_lost += 1  # as a player would: the next one may be whole
            continue
        for frame in frames:
            if frame.sample_rate != window.rate_hz:
                raise BadItem("unreadable", f"its sample rate changes to {frame.sample_rate} from {window.rate_hz} Hz")
            if position is None:
                heard_s = timed.start_s if frame.pts is None else frame.time - _start_s(track)
                position = round(heard_s * window.rate_hz)
            mixer.add(frame)
    if num_lost > _MAX_LOST_FRAC * len(wanted):
        raise BadItem("unreadable", f"{num_lost} of {len(wanted)} packets of its sound cannot be decoded")
    position = position or 0
    return mixer.mixed()[max(window.first - position, 0) : max(window.stop - position, 0)]


class _Mixer:
    """Takes decoded frames and gives the mean of their channels.

    FFmpeg's own mixing is 3 dB louder than that, and than librosa's. As both are linear, the mean may come before
    resampling, which then has one channel to do; librosa has it so too.
    """

    def __init__(self) -> None:
        from av import AudioFifo

        self._new_queue = AudioFifo
        self._kind: tuple[str, int] | None = None
        self._queue = AudioFifo()
        self._parts = [np.zeros(0, np.float32)]

    def add(self, frame: Any) -> None:
        """Take the next frame; the number of channels may change on the way."""
        kind = (frame.format.name, frame.layout.nb_channels)
        if kind != self._kind:  # the queue does not look, and reads channels that are not there
            self._drain()
            self._kind, self._queue = kind, self._new_queue()
        frame.pts = None  # the queue would refuse a gap
        self._queue.write(frame)
        if self._queue.samples >= _SAMPLES_AT_A_TIME:  # turning single frames into arrays takes as long as decoding
            self._drain()

    def mixed(self) -> np.ndarray:
        """Return the mean of the channels of all frames, float32 (n,)."""
        self._drain()
        return np.concatenate(self._parts)

    def _drain(self) -> None:
        if self._queue.samples:
            self._parts.append(_mean_of_channels(self._queue.read()))


def _mean_of_channels(frame: Any) -> np.ndarray:
    """Return float32 (n,), in [-1, 1] but for floating-point samples, which may be beyond."""
    from av import AudioResampler

    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= _MANY_CHANNELS:
        (frame,) = AudioResampler(format=frame.format.packed.name).resample(frame)
    samples: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite or NaN is refused as such
        mean = samples[0].astype(np.float32)
        for channel in samples[1:]:
            mean += channel.astype(np.float32, copy=False)  # numpy converts slower while it adds
        mean /= len(samples)  # .mean(axis=0) takes twice the time
    if samples.dtype.kind == "f":
        return mean
    half_range = np.float32(1 << (8 * samples.itemsize - 1))
    return (mean - half_range if samples.dtype.kind == "u" else mean) / half_range
