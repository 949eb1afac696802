"""The table of contents of an archive: read right whatever the names, and divided by what a destination can take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.postgres.toc import Capabilities, TocEntry, is_event_trigger, parse_toc, split_toc

# What pg_restore 18 --list prints.
REAL = """;
; Archive created at 2026-11-22 00:56:31 UTC
;     dbname: src
;     TOC Entries: 16
;
; Selected TOC Entries:
;
2; 3079 16386 EXTENSION - pg_trgm 
2600; 0 0 COMMENT - EXTENSION pg_trgm 
215; 1259 16385 TABLE public A b al ice
2562; 0 0 COMMENT public TABLE "A b" al ice
2563; 0 0 COMMENT public COLUMN t.EXTENSION x alice
217; 1259 16407 MATERIALIZED VIEW public mv postgres
216; 1259 16392 VIEW public v postgres
220; 1259 16450 SEQUENCE public s postgres
2570; 0 0 SEQUENCE OWNED BY public s postgres
2571; 0 16450 SEQUENCE SET public s postgres
221; 1259 16460 FOREIGN TABLE public far postgres
2580; 0 0 TABLE ATTACH public part postgres
2553; 0 16385 TABLE DATA public A b al ice
2404; 2606 16391 CONSTRAINT public A b A b_pkey al ice
2410; 2606 16399 FK CONSTRAINT public A b fk al ice
2551; 3256 16411 POLICY public A b p al ice
2552; 6104 16413 PUBLICATION - pub postgres
2045; 826 16412 DEFAULT ACL - DEFAULT PRIVILEGES FOR TABLES al ice
2054; 826 16414 DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES bob
2554; 0 16407 MATERIALIZED VIEW DATA public mv postgres
2411; 3466 16500 EVENT TRIGGER - watch postgres
2601; 0 0 COMMENT - EVENT TRIGGER watch postgres
2602; 0 0 SECURITY LABEL public TABLE t alice
2603; 0 0 ACL public TABLE "A b" al ice
"""  # noqa: W291


def test_every_line_is_read() -> None:
    entries = list(parse_toc(REAL))

    assert len(entries) == 24
    assert entries[2] == TocEntry(
        215, 1259, 16385, "TABLE", "public A b al ice", "215; 1259 16385 TABLE public A b al ice"
    )
    assert [entry.description for entry in entries] == [
        "EXTENSION", "COMMENT", "TABLE", "COMMENT", "COMMENT", "MATERIALIZED VIEW", "VIEW", "SEQUENCE",
        "SEQUENCE OWNED BY", "SEQUENCE SET", "FOREIGN TABLE", "TABLE ATTACH", "TABLE DATA", "CONSTRAINT", "FK",
        "POLICY", "PUBLICATION", "DEFAULT ACL", "DEFAULT ACL", "MATERIALIZED VIEW DATA", "EVENT TRIGGER", "COMMENT",
        "SECURITY LABEL", "ACL",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "description", "rest"),
    [
        ("1; 1259 9 TABLE DATA t owner", "TABLE", "DATA t owner"),
        ("1; 1259 9 TABLE ATTACH t owner", "TABLE", "ATTACH t owner"),
        ("1; 1259 9 SEQUENCE SET s owner", "SEQUENCE", "SET s owner"),
        ("1; 1259 9 SEQUENCE OWNED BY s owner", "SEQUENCE", "OWNED BY s owner"),
        ("1; 1259 9 MATERIALIZED VIEW DATA m owner", "MATERIALIZED VIEW", "DATA m owner"),
        ("1; 0 9 TABLE DATA t x owner", "TABLE DATA", "t x owner"),
        ("1; 1259 9 TABLE public  leading owner", "TABLE", "public  leading owner"),
        ("1; 1259 9 TABLE public 7; 1259 8 TABLE x y owner", "TABLE", "public 7; 1259 8 TABLE x y owner"),
        ("1; 1259 9 TABLE public a\u2028b\x85c\x0bd owner", "TABLE", "public a\u2028b\x85c\x0bd owner"),
    ],
)
def test_schemas_and_names_are_not_taken_for_a_kind(line: str, description: str, rest: str) -> None:
    (entry,) = parse_toc(f"; comment\n{line}\n")

    assert (entry.dump_id, entry.oid, entry.description, entry.rest) == (1, 9, description, rest)
    assert entry.line == line


@given(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1))
def test_a_table_is_a_table_whatever_its_schema_and_name(name: str) -> None:
    listing = "".join(f"{number}; 1259 {number} TABLE {name} {name} owner\n" for number in (1, 2))

    assert [(entry.oid, entry.description) for entry in parse_toc(listing)] == [(1, "TABLE"), (2, "TABLE")]


def test_a_superuser_gets_everything() -> None:
    kept, left_out = split_toc(parse_toc(REAL), Capabilities(is_superuser=True, role="postgres"))

    assert len(kept) == 24
    assert left_out == []


def test_others_get_a_reason_for_each_line_that_they_cannot_restore() -> None:
    kept, left_out = split_toc(parse_toc(REAL), Capabilities(is_superuser=False, role="al ice"))

    assert len(kept) + len(left_out) == 24
    assert {item.entry.line: item.reason for item in left_out} == {
        "2600; 0 0 COMMENT - EXTENSION pg_trgm ": "only an extension's owner can comment on it",
        "2054; 826 16414 DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES bob": (
            "default privileges of another role can only be set by a member of it"
        ),
        "2411; 3466 16500 EVENT TRIGGER - watch postgres": "only a superuser can create event triggers",
        "2601; 0 0 COMMENT - EVENT TRIGGER watch postgres": "only a superuser can create event triggers",
        "2602; 0 0 SECURITY LABEL public TABLE t alice": "security labels need their provider and a superuser",
    }


def test_event_triggers_and_what_is_said_about_them_are_known() -> None:
    assert [entry.dump_id for entry in parse_toc(REAL) if is_event_trigger(entry)] == [2411, 2601]
