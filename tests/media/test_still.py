"""Pictures to upright 8-bit RGB: pixels worked out by hand, and files that no viewer should be trusted with."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actrec.errors import BadItem
from actrec.media.decode import decoder_of, open_frames
from actrec.media.facts import MediaFacts
from actrec.media.probe import open_container, probe
from actrec.media.still import MAX_PIXELS, StillFrames
from actrec.store.workers import run_each

SHARED = Path(__file__).resolve().parents[3] / "shared/data"


def pixels_of(path):
    """Return what the picture shows (H, W, 3), as the frames stage gets it."""
    facts = probe(path)
    source = open_frames(path, facts)
    assert isinstance(source, StillFrames) and source.times_s.tolist() == [0.0]
    frames = source.read(np.array([0]))
    assert frames.shape == (1, facts.height_px, facts.width_px, 3) and frames.dtype == np.uint8
    assert frames.flags.writeable  # torch warns of others
    return frames[0]


def bad(path):
    with pytest.raises(BadItem) as caught:
        probe(path)
    assert str(path.parent) not in caught.value.message
    return caught.value.reason


def saved(path, picture, **options):
    picture.save(path, **options)
    return path


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(path, *, size, depth, colour, rows, extra=b"", **_):
    """Write a PNG by hand: `rows` are bytes, each row with a 0 before it (no filter)."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def write_tiff(path, *, size, bits, white_is_zero, strip, order="<", sample_format=1):
    """Write a grey TIFF of one strip by hand."""
    width, height = size
    tags = [
        *((256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, 8)),
        *((277, 1), (278, height), (279, len(strip)), (339, sample_format)),
    ]
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8 + len(strip))
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    path.write_bytes(head + strip + struct.pack(order + "H", len(tags)) + entries + bytes(4))
    return path


# --- what is known of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "container", "file_format", "mode"),
    [
        ("a.jpg", {}, "jpeg", "jpeg", "RGB"),
        ("b.png", {}, "png", "png", "RGB"),
        ("c.webp", {}, "webp", "webp", "RGB"),
        ("d.bmp", {}, "bmp", "bmp", "RGB"),
        ("e.tif", {"compression": "tiff_lzw"}, "tiff", "tiff", "RGB"),
        ("f.avif", {}, "heif", "avif", "RGB"),
        ("g.jpg", {"format": "MPO"}, "jpeg", "jpeg", "RGB"),
    ],
)
def test_facts_of_a_picture(tmp_path, name, options, container, file_format, mode):
    facts = probe(saved(tmp_path / name, Image.new("RGB", (7, 5), (10, 200, 90)), **options))
    assert facts == MediaFacts(container, file_format, mode, 7, 5, 0, 0.0, 1, 0.0, "", 0, 0)
    assert (facts.is_still, facts.has_video, facts.has_audio, facts.kind) == (True, True, False, "picture")
    assert decoder_of(facts) == "pillow"
    np.testing.assert_allclose(pixels_of(tmp_path / name), np.full((5, 7, 3), (10, 200, 90)), atol=3)


def test_the_name_does_not_matter_and_the_first_bytes_do(tmp_path):
    assert probe(saved(tmp_path / "a.mp4", Image.new("L", (3, 2)), format="PNG")).container == "png"


def test_videos_are_none(tmp_path, make_clip):
    facts = probe(make_clip(tmp_path / "a.jpg.mp4", num_frames=3))
    assert (facts.is_still, facts.kind) == (False, "video")


def test_of_several_pictures_the_first_is_shown(tmp_path):
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for name in ("a.png", "b.tiff", "c.webp", "d.jpg"):
        options = {"format": "MPO"} if name == "d.jpg" else {"lossless": True} if name == "c.webp" else {}
        path = saved(tmp_path / name, first, save_all=True, append_images=[second], **options)
        np.testing.assert_allclose(pixels_of(path)[0, 0], (255, 0, 0), atol=2)


# --- which way is up ----------------------------------------------------------------------------------------------

# As stored: a b c above d e f. As shown, by what the first row and column of the stored picture are in the shown one
# (TIFF 6.0, section 8: 6 is "the 0th row represents the visual right-hand side, the 0th column the visual top").
UPRIGHT = {
    1: ["abc", "def"],
    2: ["cba", "fed"],
    3: ["fed", "cba"],
    4: ["def", "abc"],
    5: ["ad", "be", "cf"],
    6: ["da", "eb", "fc"],
    7: ["fc", "eb", "da"],
    8: ["cf", "be", "ad"],
}
SHADES = {name: 40 * i for i, name in enumerate("abcdef")}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("webp", {"lossless": True}),
        ("tiff", {}),
        ("tiff", {"compression": "tiff_deflate"}),
        ("jpg", {"quality": 100}),
    ],
)
def test_exif_turns_and_mirrors(tmp_path, orientation, suffix, options):
    """Of a plain TIFF, too: Pillow alone mixes its sides up where it opens it by name."""
    stored = np.array([[SHADES[name] for name in row] for row in ("abc", "def")], np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(stored), exif=exif, **options)
    shown = [[SHADES[name] for name in row] for row in UPRIGHT[orientation]]
    np.testing.assert_allclose(pixels_of(path)[..., 1], shown, atol=3 if suffix == "jpg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_senseless_orientations_turn_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    assert pixels_of(saved(tmp_path / "a.png", Image.new("L", (3, 2)), exif=exif)).shape == (2, 3, 3)


def test_damaged_exif_data_are_no_reason_to_refuse(tmp_path):
    for exif in (b"Exif\0\0nonsense" * 9, b"Exif\0\0II*\0" + b"\xff" * 40, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        path = saved(tmp_path / "a.jpg", Image.new("L", (3, 2), 90), exif=exif)
        np.testing.assert_allclose(pixels_of(path), 90, atol=1)


# --- colours ------------------------------------------------------------------------------------------------------


def test_grey_of_8_bits_and_of_one(tmp_path):
    grey = np.array([[0, 77], [128, 255]], np.uint8)
    for name in ("a.png", "a.tif", "a.bmp"):
        expected = np.repeat(grey[..., None], 3, axis=2)
        np.testing.assert_array_equal(pixels_of(saved(tmp_path / name, Image.fromarray(grey))), expected)
    for name in ("b.png", "b.tif", "b.bmp"):
        bits = Image.fromarray(grey).point(lambda v: 255 * (v > 100)).convert("1")
        assert pixels_of(saved(tmp_path / name, bits))[..., 0].tolist() == [[0, 0], [255, 255]]


# Of 16 bits 0 and 65535 are black and white, 0x8080 is 128 * 257, and 0xC8 / 257 = 0.78 is nearer to 1 than to 0.
SIXTEEN = [0x0000, 0xFFFF, 0x8080, 0x00C8]
EIGHT = [[0, 255], [128, 1]]


def test_a_png_of_16_bit_grey_is_scaled_by_257(tmp_path):
    rows = b"".join(struct.pack(">BHH", 0, *SIXTEEN[i : i + 2]) for i in (0, 2))
    path = write_png(tmp_path / "a.png", size=(2, 2), depth=16, colour=0, rows=rows)
    assert probe(path).pixel_format == "I;16"
    assert pixels_of(path)[..., 0].tolist() == pixels_of(path)[..., 2].tolist() == EIGHT


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_a_tiff_of_16_bit_grey_is_scaled_by_257(tmp_path, order, white_is_zero):
    values = [65535 - v for v in SIXTEEN] if white_is_zero and order == "<" else SIXTEEN
    path = write_tiff(
        tmp_path / "a.tif",
        **{"size": (2, 2), "bits": 16, "order": order, "white_is_zero": white_is_zero},
        strip=struct.pack(f"{order}4H", *values),
    )
    if white_is_zero and order == ">":
        assert bad(path) == "unreadable"  # Pillow knows no such thing
    else:
        assert pixels_of(path)[..., 1].tolist() == EIGHT


def test_a_tiff_of_12_bit_grey_is_scaled_by_its_own_white(tmp_path):
    """Two samples in three bytes: 0x000 0xFFF, 0x800 0x001 are black, white, 2048 / 4095 * 255 = 127.5+, 0.06."""
    path = write_tiff(
        tmp_path / "a.tif", size=(2, 2), bits=12, white_is_zero=False, strip=bytes.fromhex("000fff 800001")
    )
    assert pixels_of(path)[..., 1].tolist() == [[0, 255], [128, 0]]


def test_colours_of_16_bits_keep_their_upper_8(tmp_path):
    pixels = struct.pack(">B6H", 0, 0xFFFF, 0x8080, 0x0000, 0x01FF, 0x7F00, 0xC0C0)
    path = write_png(tmp_path / "a.png", size=(2, 1), depth=16, colour=2, rows=pixels)
    assert pixels_of(path).tolist() == [[[255, 128, 0], [1, 127, 192]]]
    half = struct.pack(">B4H", 0, 0xFFFF, 0x8080, 0x0000, 0xFFFF)
    path = write_png(tmp_path / "b.png", size=(1, 1), depth=16, colour=6, rows=half)
    assert pixels_of(path).tolist() == [[[255, 128, 0]]]


def test_grey_of_32_bits_where_its_range_is_clear(tmp_path):
    whole = Image.fromarray(np.array([[0, 65535], [128 * 257, 200]], np.int32))
    assert pixels_of(saved(tmp_path / "a.tif", whole))[..., 0].tolist() == EIGHT
    parts = Image.fromarray(np.array([[0, 1], [0.5, 0.001]], np.float32))
    assert pixels_of(saved(tmp_path / "b.tif", parts))[..., 0].tolist() == [[0, 255], [128, 0]]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 5]], np.int32),
        np.array([[0, 1.5]], np.float32),
        np.array([[0, np.nan]], np.float32),
        np.array([[0, np.inf]], np.float32),
    ],
    ids=["above 16 bits", "negative", "above 1", "NaN", "infinite"],
)
def test_grey_of_an_unknown_range_is_refused_not_clipped(tmp_path, values):
    assert bad(saved(tmp_path / "a.tif", Image.fromarray(values))) == "unreadable"


def test_transparent_pixels_are_black(tmp_path):
    """Red, opaque; red, hidden; white at 51 of 255, a fifth; blue, opaque."""
    colours = np.array([[[200, 0, 0, 255], [200, 0, 0, 0]], [[255, 255, 255, 51], [0, 0, 90, 255]]], np.uint8)
    expected = [[[200, 0, 0], [0, 0, 0]], [[51, 51, 51], [0, 0, 90]]]
    for name, options in (("a.png", {}), ("a.tif", {}), ("a.webp", {"lossless": True, "exact": True})):
        path = saved(tmp_path / name, Image.fromarray(colours), **options)
        assert pixels_of(path).tolist() == expected, name
    grey = Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8), mode="LA")
    assert pixels_of(saved(tmp_path / "b.png", grey)).tolist() == [[[200, 200, 200], [0, 0, 0]]]


def test_palettes_with_and_without_transparency(tmp_path):
    palette = chunk(b"PLTE", bytes([250, 10, 20, 30, 240, 50]))
    rows = b"\0\0\1\0\1\1"  # 0 1 above 1 1
    plain = write_png(tmp_path / "a.png", size=(2, 2), depth=8, colour=3, rows=rows, extra=palette)
    first, second = [250, 10, 20], [30, 240, 50]
    assert pixels_of(plain).tolist() == [[first, second], [second, second]]
    hidden = palette + chunk(b"tRNS", bytes([0]))  # of colour 0; the others are opaque
    path = write_png(tmp_path / "b.png", size=(2, 2), depth=8, colour=3, rows=rows, extra=hidden)
    assert probe(path).pixel_format == "P"
    assert pixels_of(path).tolist() == [[[0, 0, 0], second], [second, second]]
    fifth = palette + chunk(b"tRNS", bytes([255, 51]))  # 30, 240, 50 at a fifth
    path = write_png(tmp_path / "c.png", size=(2, 2), depth=8, colour=3, rows=rows, extra=fifth)
    assert pixels_of(path)[0].tolist() == [first, [6, 48, 10]]


def test_a_colour_that_stands_for_transparency(tmp_path):
    grey = {"size": (2, 1), "depth": 8, "colour": 0, "rows": b"\0\x40\x50", "extra": chunk(b"tRNS", b"\0\x40")}
    assert pixels_of(write_png(tmp_path / "a.png", **grey)).tolist() == [[[0, 0, 0], [80, 80, 80]]]
    deep = {"size": (2, 1), "depth": 16, "colour": 0, "rows": b"\0\x40\x40\x50\x50"}
    path = write_png(tmp_path / "b.png", **deep, extra=chunk(b"tRNS", b"\x40\x40"))
    assert pixels_of(path).tolist() == [[[0, 0, 0], [80, 80, 80]]]


def test_cmyk(tmp_path):
    """Cyan alone takes the red away, black all: (1 - c) (1 - k) of each. JPEG files by Adobe hold the inverse."""
    inks = np.array([[[255, 0, 0, 0], [0, 255, 0, 0]], [[0, 0, 255, 0], [0, 0, 0, 204]]], np.uint8)
    colours = [[[0, 255, 255], [255, 0, 255]], [[255, 255, 0], [51, 51, 51]]]
    picture = Image.fromarray(inks, mode="CMYK")
    assert pixels_of(saved(tmp_path / "a.tif", picture)).tolist() == colours
    large = picture.resize((32, 32), Image.Resampling.NEAREST)
    path = saved(tmp_path / "a.jpg", large, quality=100, subsampling=0)
    assert b"Adobe" in path.read_bytes() and probe(path).pixel_format == "CMYK"
    np.testing.assert_allclose(pixels_of(path)[8::16, 8::16], colours, atol=2)


def test_one_pixel(tmp_path):
    assert pixels_of(saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(10_001, 10_000), (1, MAX_PIXELS + 1), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_more_pixels_than_the_limit_are_told_by_the_header(tmp_path, size):
    path = write_png(tmp_path / "a.png", size=size, depth=8, colour=0, rows=b"\0")
    assert bad(path) == "too_large"


def test_at_the_limit_the_pixels_are_read(tmp_path):
    path = write_png(tmp_path / "a.png", size=(10_000, 10_000), depth=8, colour=0, rows=b"\0")
    assert bad(path) == "truncated"  # there are none


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "avif"])
@pytest.mark.parametrize("frac", [0.1, 0.5, 0.95])
def test_files_cut_short(tmp_path, suffix, frac):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * frac)])
    expected = {"webp": ("unreadable",), "avif": ("unreadable", "truncated")}.get(suffix, ("truncated",))
    assert bad(path) in expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "avif"])
def test_damage_gives_facts_or_a_reason(tmp_path, suffix):
    """Property: whatever the bytes, `probe` returns or raises BadItem, and never shows the machine's paths."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 40, 3), np.uint8)
    whole = np.frombuffer(saved(tmp_path / f"a.{suffix}", Image.fromarray(noise)).read_bytes(), np.uint8)
    path = tmp_path / f"b.{suffix}"
    for _ in range(60):
        broken = whole.copy()
        broken[rng.integers(2, len(broken), 8)] = rng.integers(0, 256, 8)
        broken[rng.integers(8, 60, 2)] = rng.integers(0, 256, 2)
        path.write_bytes(broken.tobytes())
        try:
            assert probe(path).is_still
        except BadItem as error:
            assert error.reason in ("unreadable", "truncated", "too_large", "not_media", "out_of_memory")
            assert str(tmp_path) not in error.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n/etc/hostname\n", "playlist"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_media"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_media"),  # Pillow would start Ghostscript
        (b"P6 1 1 255 abc", "not_media"),
        (b"\xff\xd8\xff\xe0#EXTM3U", "truncated"),
        (b"\x00\x00\x00\x1cftypheic" + bytes(64), "unreadable"),
        (b"BM" + bytes(60), "unreadable"),
    ],
)
def test_what_is_no_picture(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert bad(path) == reason


def test_only_the_announced_format_may_open(tmp_path, monkeypatch):
    """Pillow itself tries one format after the other."""
    tried = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **keys: (tried.append(keys["formats"]), real(path, **keys))[1])
    path = saved(tmp_path / "a.png", Image.new("L", (3, 3)))
    assert pixels_of(path).shape == (3, 3, 3)
    assert tried == [("PNG",), ("PNG",)]
    path.write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(BadItem, match="Pillow reads no png"):
        StillFrames(path, "png")  # replaced since it was probed


def test_no_sound_and_no_film_is_sought_in_a_picture(tmp_path):
    with pytest.raises(BadItem) as caught:
        open_container(saved(tmp_path / "a.png", Image.new("L", (3, 3))))
    assert caught.value.reason == "no_video"


def test_pictures_are_probed_in_workers_that_can_be_killed(tmp_path):
    good = saved(tmp_path / "a.png", Image.new("L", (3, 3)))
    huge = write_png(tmp_path / "b.png", size=(20_000, 20_000), depth=8, colour=0, rows=b"\0")
    found = {o.item.name: o for o in run_each(probe, [good, huge], timeout_s=60, workers=1, preload=())}
    assert found["a.png"].result == probe(good) and found["b.png"].reason == "too_large"


# --- real pictures ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "cifar10").is_dir(), reason="no ../shared/data/cifar10 here")
def test_real_pictures_have_the_brightness_that_ffmpeg_finds():
    """The plane Y of each; its colours differ, being of half the size, by how they are enlarged."""
    import av

    files = sorted((SHARED / "cifar10").rglob("*.jpg"))
    assert len(files) == 1500
    for path in files[::75]:
        with av.open(str(path), format="mjpeg") as container:
            luma = next(container.decode(video=0)).to_ndarray(format="gray").astype(float)
        found = pixels_of(path) @ (0.299, 0.587, 0.114)  # JFIF 1.02, page 4
        assert found.shape == (32, 32) and np.abs(found - luma).mean() < 1, path.name
