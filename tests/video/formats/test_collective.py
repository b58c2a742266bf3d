"""The tracks of the Collective Activity Dataset's authors."""

import numpy as np
import pytest

from stvh_jax.errors import Damaged
from stvh_jax.video.track_files import read_tracks
from tests.helpers.collective_files import REAL

TEXT = """Total frames 301
Number of Targets 2
Target 1 (frames from 1 to 2)
Bounding Boxes (frame, x, y, width, height)
1\t72\t48\t36\t96
2\t72\t48\t36\t96
3D location and pose (frame, x, z, height, pose)
1\t1.5\t2.5\t1.7\t3
Target 2 (frames from 7 to 7)
Bounding Boxes (frame, x, y, width, height)
7\t0\t0\t72\t48
"""


def test_blocks_of_people(tmp_path):
    (tmp_path / "a").write_text(TEXT)
    tracks = read_tracks(tmp_path / "a", width=720, height=480)
    assert tracks.frames.tolist() == [0, 1, 6] and tracks.people.tolist() == [1, 1, 2]
    np.testing.assert_allclose(tracks.boxes[0], [0.1, 0.1, 0.3, 0.15], rtol=1e-6)
    (tmp_path / "a").write_text(TEXT.replace("72\t48\n", "72\n"))
    with pytest.raises(Damaged, match="line 11: expected frame, x, y"):
        read_tracks(tmp_path / "a", width=720, height=480)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="the Collective Activity Dataset's tracks are absent")
def test_real_tracks():
    paths = sorted((REAL / "tracks").glob("track*.dat"))
    assert paths
    for path in paths[:10]:
        lines = path.read_text().split("\n")
        tracks = read_tracks(path, width=800, height=480, num_frames=int(lines[0].split()[-1]))
        assert len(np.unique(tracks.people)) == int(lines[1].split()[-1])
