"""Gzip files and digests as all readers use them, compared with the modules `gzip` and `hashlib`."""

import gzip
import hashlib
import io
import threading
import time
import zlib

import pytest

from lagvis.data.files import MAX_WAITING_PIECES, BackgroundDigest, GzipMember

CONTENT = bytes(range(256)) * 3000
PACKED = gzip.compress(CONTENT)


def read_member(packed, size):
    """Return what GzipMember reads, in pieces of a size."""
    member, pieces = GzipMember(io.BytesIO(packed)), []
    while piece := member.read(size):
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("size", [1, 4, 1000, 2**20])
def test_gzip_member_reads_what_gzip_reads(size):
    content = CONTENT[:3000] if size == 1 else CONTENT
    pieces = read_member(gzip.compress(content), size)
    assert b"".join(pieces) == content
    assert {*map(len, pieces[:-1])} <= {size}


@pytest.mark.parametrize(
    "packed",
    [PACKED[:-1], PACKED[:-9], PACKED[:50], PACKED + b"\0", PACKED + PACKED, PACKED[:-8] + bytes(8), b"\x1f\x8b" * 20],
    ids=["sum cut", "end cut", "cut", "zero after", "two members", "wrong sum", "garbage"],
)
def test_gzip_member_of_any_other_file_raises(packed):
    with pytest.raises((EOFError, zlib.error)):
        read_member(packed, 2**16)


@pytest.mark.parametrize("has_threads", [True, False])
def test_background_digest_is_that_of_all_pieces(monkeypatch, has_threads):
    if not has_threads:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
    with BackgroundDigest(CONTENT[:10]) as digest:
        for start in range(10, len(CONTENT), 1000):
            digest.update(CONTENT[start : start + 1000])
    assert digest.hexdigest() == hashlib.sha256(CONTENT).hexdigest()


def test_background_digest_slower_than_the_reader_holds_few_pieces(monkeypatch):
    digested = []

    class SlowDigest:
        def update(self, piece):
            time.sleep(0.001)
            digested.append(piece)

    monkeypatch.setattr(hashlib, "sha256", lambda start: SlowDigest())
    waiting = []
    with BackgroundDigest(b"") as digest:
        for number in range(3 * MAX_WAITING_PIECES):
            digest.update(b"piece")
            waiting.append(number + 1 - len(digested))
    assert len(digested) == 3 * MAX_WAITING_PIECES
    assert max(waiting) <= MAX_WAITING_PIECES + 1


def test_background_digest_leaves_no_thread_after_an_error():
    before = threading.active_count()

    def read_damaged():
        with BackgroundDigest(b"") as digest:
            digest.update(CONTENT)
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        read_damaged()
    assert threading.active_count() == before
