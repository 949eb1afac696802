"""Definitions that no row depends on, and that a restored database has: privileges, comments, options, sequences.

They are in no stream, so a change of one ends an interval like any other. Each of them has a number, which changes with
the definition, and does not depend on what servers do by themselves (VACUUM, ANALYZE, REFRESH MATERIALIZED VIEW), nor
on what is temporary.
"""

from __future__ import annotations

from typing import Final

_PUBLICATIONS_OF_SCHEMAS: Final = 150000
# Of objects that came with the server only those are looked at that can be given privileges.
_OWN: Final = (
    *("pg_cast", "pg_conversion", "pg_opclass", "pg_opfamily", "pg_amop", "pg_amproc", "pg_am", "pg_transform"),
    *("pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
)
_GIVEN_TOO: Final = (
    *("pg_language", "pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_default_acl"),
    *("pg_publication", "pg_publication_rel"),
)
_OLDER: Final = ("pg_namespace", "pg_proc", "pg_type")
_VERSION: Final = "SELECT hashtextextended('{0} ' || o.oid || ' ' || o.xmin, 0) FROM {0} o"
_TEXT: Final = "SELECT hashtextextended(format('{0}', {1}), 0) FROM {2}"
_TEMPORARY: Final = "EXISTS (SELECT FROM pg_class t WHERE t.oid = {0} AND t.relpersistence = 't')"
# A relation's version changes when it is emptied, rebuilt or refreshed.
_RELATION: Final = (
    "c.oid, c.relkind, c.relowner, c.relam, c.reltablespace, c.relpersistence, c.relnatts, c.relreplident,"
    " c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.reloptions"
)
_SEQUENCE: Final = "s.seqrelid, s.seqtypid, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle"


def _text(kind: str, columns: str, source: str) -> str:
    places = " ".join(["%L"] * (columns.count(",") + 1))
    return _TEXT.format(f"{kind} {places}", columns, source)


_QUERIES: Final = (
    *(f"{_VERSION.format(catalog)} WHERE o.oid >= 16384" for catalog in _OWN),
    *(_VERSION.format(catalog) for catalog in _GIVEN_TOO),
    *(f"{_VERSION.format(catalog)} WHERE o.oid < 16384" for catalog in _OLDER),
    _text(
        "relation", _RELATION, "pg_class c WHERE c.relpersistence <> 't' AND c.relnamespace <> 'pg_toast'::regnamespace"
    ),
    # Of tables every column has a version among the marks.
    _text(
        "column",
        "a.attrelid, a.attnum, a.attacl, a.attoptions, a.attfdwoptions, a.attstattarget",
        "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind IN ('v', 'm', 'f', 'i', 'I')"
        " AND c.relpersistence <> 't' AND c.oid >= 16384 AND (a.attstattarget >= 0"
        " OR num_nonnulls(a.attacl, a.attoptions, a.attfdwoptions) > 0)",
    ),
    _text("sequence", _SEQUENCE, "pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relpersistence <> 't'"),
    # What owns a sequence, and which extension something belongs to.
    _text(
        "dependency",
        "d.classid, d.objid, d.refclassid, d.refobjid, d.refobjsubid, d.deptype",
        "pg_depend d LEFT JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass"
        " WHERE d.objid >= 16384 AND (d.deptype IN ('e', 'x') OR (c.relkind = 'S' AND c.relpersistence <> 't'"
        " AND d.deptype IN ('a', 'i')))",
    ),
    _text("foreign table", "f.ftrelid, f.ftserver, f.ftoptions", "pg_foreign_table f"),
    _text("user mapping", "u.umid, u.srvid, u.umuser, u.umoptions", "pg_user_mappings u"),
    _text("words", "m.mapcfg, m.maptokentype, m.mapseqno, m.mapdict", "pg_ts_config_map m WHERE m.mapcfg >= 16384"),
    _text(
        "comment",
        "d.classoid, d.objoid, d.objsubid, d.description",
        "pg_description d WHERE (d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass)"
        f" AND NOT {_TEMPORARY.format('d.objoid')}",
    ),
    _text(
        "label",
        "l.classoid, l.objoid, l.objsubid, l.provider, l.label",
        f"pg_seclabel l WHERE NOT {_TEMPORARY.format('l.objoid')}",
    ),
    _text(
        "database",
        "d.datdba, d.datacl, d.datconnlimit, d.dattablespace, c.description",
        "pg_database d LEFT JOIN pg_shdescription c ON c.objoid = d.oid AND c.classoid = 'pg_database'::regclass"
        " WHERE d.datname = current_database()",
    ),
    _text(
        "setting",
        "s.setrole, s.setconfig",
        "pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()",
    ),
)


def other_definitions(version_number: int) -> str:
    """Return the query for the sum of all numbers, on a server of this version."""
    newer = (_VERSION.format("pg_publication_namespace"),) if version_number >= _PUBLICATIONS_OF_SCHEMAS else ()
    return f"SELECT sum(number) FROM ({' UNION ALL '.join((*_QUERIES, *newer))}) AS numbers (number)"  # noqa: S608
