"""Files that name other files are no videos."""

import pytest

from stvh_jax.errors import Damaged
from stvh_jax.video.containers import opened
from tests.helpers.videos import make_kind


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"),
        ("script.txt", "ffconcat version 1.0\nfile {}\n"),
        ("v.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na={}\n"),
    ],
)
def test_what_names_other_files_is_not_opened(name, text, tmp_path):
    made = make_kind("open_gop_ts", tmp_path, 5)
    (tmp_path / name).write_text(text.format(made.name))
    with pytest.raises(Damaged, match="is not a readable video"), opened(tmp_path / name):
        pass


def test_a_name_with_a_colon_is_a_file(tmp_path):
    made = make_kind("open_gop_ts", tmp_path, 5)
    odd = made.rename(tmp_path / "concat:a%20|b.ts")
    with opened(odd) as (_, stream):
        assert stream.codec_context.width == 160
