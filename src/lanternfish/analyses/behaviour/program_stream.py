"""MPEG program streams (.mpg, .vob) that were cut off: their header tells no length.

A program stream is a row of packets, each of which says how long it is (ISO/IEC 13818-1, 2.5; with
the older packet header of ISO/IEC 11172-1). It was cut off if its last packet is shorter than it
says, or, where it was cut between two packets, if a decoder finds the last picture damaged. Where
it was cut exactly between two pictures, it cannot be told from a whole one.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

TAIL = 1 << 22  # bytes at the end that are looked at: several pictures
GROUPS = 2  # groups of pictures at the end that are decoded
PATIENCE = 60.0  # seconds
_PACK, _END = 0xBA, 0xB9
_SEQUENCE = rb"\x00\x00\x01\xb3"
_DAMAGE = re.compile(rb"damaged|invalid cbp|invalid mb|MVs not available|end mismatch|concealing")


def is_cut_off(path: Path) -> bool:
    """Whether a file is an MPEG program stream that ends in the middle of a packet or picture."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x00\x00\x01\xba":
            return False
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    at = tail.find(b"\x00\x00\x01\xba")
    if at < 0:
        return True  # megabytes without a pack: what follows is no stream any more
    video, whole = _packets(tail, at)
    return not whole or _ends_damaged(video)


def _packets(data: bytes, at: int) -> tuple[bytes, bool]:
    """The video in the packets from `at` on, and whether the last packet is whole."""
    video = []
    while at < len(data):
        if data[at : at + 3] != b"\x00\x00\x01":
            following = data.find(b"\x00\x00\x01\xba", at)
            if following < 0:
                return b"".join(video), not data[at:].strip(b"\x00")  # only what fills a disc
            at = following
            continue
        kind = data[at + 3] if at + 3 < len(data) else -1
        if kind == _END:
            return b"".join(video), True
        length = _length(data, at, kind)
        if length is None or at + length > len(data):
            return b"".join(video), False
        if 0xE0 <= kind <= 0xEF:
            video.append(_payload(data[at : at + length]))
        at += length
    return b"".join(video), True


def _length(data: bytes, at: int, kind: int) -> int | None:
    """Bytes of the packet at `at`; None where the data end before they tell it."""
    if kind == _PACK:
        if at + 14 > len(data):
            return None
        return 12 if data[at + 4] >> 4 == 0b0010 else 14 + (data[at + 13] & 7)
    if at + 6 > len(data):
        return None
    return 6 + int.from_bytes(data[at + 4 : at + 6])


def _payload(packet: bytes) -> bytes:
    """What a packet of video carries after its header, of MPEG-2 or MPEG-1."""
    if len(packet) > 8 and packet[6] >> 6 == 0b10:
        return packet[9 + packet[8] :]
    rest = packet[6:].lstrip(b"\xff")
    if rest and rest[0] >> 6 == 0b01:
        rest = rest[2:]
    if rest and rest[0] >> 4 in (0b0010, 0b0011):
        return rest[5 if rest[0] >> 4 == 0b0010 else 10 :]
    return rest[1:]


def _ends_damaged(video: bytes) -> bool:
    """Whether a decoder finds the end of MPEG video damaged: its last groups of pictures."""
    import imageio_ffmpeg

    starts = [found.start() for found in re.finditer(_SEQUENCE, video)]
    if not starts:
        return False  # video of another kind
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "mpegvideo"]
    command += ["-i", "pipe:0", "-f", "null", "-"]
    from_there = video[starts[max(0, len(starts) - GROUPS)] :]
    done = subprocess.run(
        command, input=from_there, capture_output=True, check=False, timeout=PATIENCE
    )
    return bool(_DAMAGE.search(done.stderr))
