"""Compressed pieces, and the streams that are put together from them."""

import gzip
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.exposition.deflate import Packer, gzip_member, joined

BYTES = st.binary(max_size=300)


@given(st.lists(BYTES), BYTES, st.randoms(use_true_random=False))
def test_pieces_in_any_order_make_one_stream(texts: list[bytes], tail: bytes, rng: Random) -> None:
    """Pieces of one packer can be joined in another order: length, CRC and text are right."""
    packer = Packer()
    made = [(text, packer.piece(text)) for text in texts]
    rng.shuffle(made)
    whole = joined(piece for _, piece in made)
    expected = b"".join(text for text, _ in made)
    assert whole.text() == expected
    # gzip checks the CRC and the length that the trailer names.
    assert gzip.decompress(gzip_member(whole, tail)) == expected + tail


@given(BYTES, BYTES, BYTES)
def test_what_was_joined_can_be_joined_again(first: bytes, second: bytes, third: bytes) -> None:
    """A joined piece is a piece like any other."""
    packer = Packer()
    pair = joined([packer.piece(first), packer.piece(second)])
    whole = joined([pair, packer.piece(third)])
    assert gzip.decompress(gzip_member(whole, b"")) == first + second + third


def test_same_text_gives_the_same_bytes() -> None:
    """A page's bytes depend on its text alone: no time and no name in the header."""
    members = {gzip_member(Packer().piece(b"a" * 99), b"tail") for _ in range(2)}
    assert len(members) == 1
