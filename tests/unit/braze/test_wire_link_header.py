"""The cursor in a Link header, in every spelling of the header."""

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.braze.wire import next_cursor

DOCUMENTED = (
    '</cdi/integrations/ID/job_sync_status?cursor=c2tpcDow>; rel="prev",'
    '</cdi/integrationsID/job_sync_status?cursor=c2tpcDoxMDA=>; rel="next"'
)
URL = "</cdi/integrations?cursor=abc>"


@pytest.mark.parametrize(
    ("link", "cursor"),
    [
        (DOCUMENTED, "c2tpcDoxMDA="),
        (f'{URL}; rel="next"', "abc"),
        (f"{URL};rel=next", "abc"),
        (f"{URL}; rel='next'", "abc"),
        (f'{URL}; REL="NEXT"', "abc"),
        (f'{URL} ; rel = "next"', "abc"),
        (f'{URL}; rel="prev next"', "abc"),
        (f'{URL}; title="page 2"; rel="next"', "abc"),
        (f'{URL}; rel="next"; title="rel=prev"', "abc"),
        ('</cdi?cursor=b>; rel="next", </cdi?cursor=a>; rel="prev"', "b"),
        ('</cdi?cursor=a>; rel="first",</cdi?cursor=b>; rel="next"', "b"),
        ('</cdi?cursor=>; rel="next", </cdi?cursor=b>; rel="next"', "b"),
        ('</cdi?limit=10&cursor=b&x=1>; rel="next"', "b"),
        ('</cdi?cursor=b#cursor=c>; rel="next"', "b"),
        ('<https://elsewhere.test/cdi?cursor=b>; rel="next"', "b"),
        ('<//elsewhere.test/?cursor=b>; rel="next"', "b"),
        ('<?cursor=b>; rel="next"', "b"),
        ('</cdi?cursor=c2tpcDoxMDA%3D>; rel="next"', "c2tpcDoxMDA="),
        ('</cdi?cursor=a%2Fb%26c%3Ed>; rel="next"', "a/b&c>d"),
        ('</cdi?cursor=a+b/c==>; rel="next"', "a+b/c=="),
        ('</cdi?cursor=%C3%A9>; rel="next"', "é"),
        ('</cdi?cursor=%zz>; rel="next"', "%zz"),
        ('</cdi?cursor=%>; rel="next"', "%"),
    ],
)
def test_the_cursor_of_the_next_page(link: str, cursor: str) -> None:
    """The cursor is found in each spelling, even if the rest of the URL is wrong. It is decoded."""
    assert next_cursor(link) == cursor


@pytest.mark.parametrize(
    "link",
    [
        None,
        "",
        " ",
        ",",
        "next",
        f'{URL}; rel="prev"',
        f'{URL}; rel="nextish"',
        f'{URL}; rel="not-next"',
        f'{URL}; barrel="next"',
        f'{URL}; rel=""',
        f"{URL}; rel",
        URL,
        '</cdi>; rel="next"',
        '</cdi?cursor=>; rel="next"',
        '</cdi?precursor=a>; rel="next"',
        '</cdi;cursor=a>; rel="next"',
        '/cdi?cursor=a; rel="next"',
        '</cdi?cursor=a; rel="next"',
        '; rel="next"',
        '<>; rel="next"',
        '</cdi?cursor=a>; rel="prev", </cdi>; rel="next"',
    ],
)
def test_a_missing_next_link_means_no_next_page(link: str | None) -> None:
    """The cursor of a previous page is never used."""
    assert next_cursor(link) is None


@given(st.text(" az09<>;,\"'=?&#%+/\té\U0001f600\u2028", min_size=1))
def test_any_percent_encoded_cursor_comes_back(cursor: str) -> None:
    """A cursor is opaque. Decoding must return exactly the encoded text."""
    assert next_cursor(f'</cdi?cursor={quote(cursor, safe="")}>; rel="next"') == cursor


@given(st.text(alphabet=st.sampled_from('<>;,"=?&#% \trelnextcursor')))
def test_any_header_gives_a_cursor_or_none(link: str) -> None:
    """No header raises an exception, and no cursor is empty."""
    assert next_cursor(link) != ""


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        ">",
        "<>",
        "<a>",
        "<?cursor=",
        "<?cursor=a>",
        "<?cursor=a>;rel",
        "<?cursor=a>; rel=",
        ";rel= ",
        "rel ",
        "rel=",
        " ",
        '"',
        "<?cursor=a>;" + "rel  " * 10,
    ],
    ids=repr,
)
def test_a_hostile_header_takes_linear_time(unit: str) -> None:
    """256 KiB take well under a second. With quadratic time they would take minutes."""
    link = (unit * (2**18 // len(unit)))[: 2**18]
    for prefix in ("", "<?cursor=a>;", "<?cursor=a>;rel", "<?cursor="):
        started = time.process_time()
        next_cursor(prefix + link)
        assert time.process_time() - started < 5  # also on a slow machine
