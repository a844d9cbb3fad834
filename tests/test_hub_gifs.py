"""Files of a data set's pictures that are called, or are, what a pipeline for pictures passes over: GIFs above all."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from actrec import hub_images
from actrec.hub_images import import_images


def gif(levels: Sequence[int]) -> bytes:
    out = io.BytesIO()
    first, *others = (Image.fromarray(np.full((8, 9, 3), (level, 0, 200), np.uint8)) for level in levels)
    first.save(out, "GIF", save_all=True, append_images=others)
    return out.getvalue()


@pytest.mark.parametrize("levels", [[10], [10, 90, 30]])
@pytest.mark.parametrize("bare", [False, True])
def test_of_a_gif_the_first_frame_becomes_png(tmp_path: Path, levels: list[int], bare: bool) -> None:
    """As a .gif it would be taken for a video, and passed over where pictures are sought."""
    content = gif(levels)
    image = content if bare else {"bytes": content, "path": "a/loop.gif"}
    made, suffix = hub_images._content(image, "row 0")
    assert suffix == "png"
    with Image.open(io.BytesIO(made)) as picture:
        assert (picture.format, getattr(picture, "n_frames", 1)) == ("PNG", 1)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), np.full((8, 9, 3), (10, 0, 200)))
    cells = pa.array([image])
    parquet.write_table(pa.table({"image": cells, "label": ["cat"]}), tmp_path / "train.parquet")
    assert import_images(str(tmp_path / "train.parquet"), tmp_path / "out") == {"train": 1}
    assert (tmp_path / "out/train/cat/train-00000.png").read_bytes() == made


def test_a_transparent_gif_stays_transparent() -> None:
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P").save(out, "GIF", transparency=1)
    with Image.open(io.BytesIO(hub_images._content(out.getvalue(), "row 0")[0])) as picture:
        assert np.asarray(picture.convert("RGBA"))[0, :, 3].tolist() == [255, 0]


@pytest.mark.parametrize(
    "content",
    [b"GIF89a", b"GIF8", gif([10])[:-12], b"GIF89a\xff\xff\xff\xff" + bytes(40)],
    ids=["head", "magic", "cut", "huge"],
)
@pytest.mark.filterwarnings("error")
def test_a_gif_that_cannot_be_decoded_is_kept_for_ingest_to_say_so(content: bytes) -> None:
    assert hub_images._content({"bytes": content, "path": "loop.gif"}, "row 0") == (content, "png")


@pytest.mark.parametrize(
    ("path", "suffix"), [("a/b.HEIC", "heic"), ("b.svg", "jpg"), ("b.gif", "jpg"), ("b.mp4", "jpg"), ("b", "jpg")]
)
def test_no_file_has_a_suffix_that_ingest_passes_over(path: str, suffix: str) -> None:
    assert hub_images._content({"bytes": b"<svg/>", "path": path}, "row 0") == (b"<svg/>", suffix)
