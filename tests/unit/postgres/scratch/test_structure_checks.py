"""What `pg_amcheck` says: corruption, or a function of an index that could not be called."""

from coffre.postgres.scratch.structure_checks import _without_refusals

REFUSED = 'btree index "drill.public.t_f":\n    ERROR:  permission denied for function f\n'
CORRUPT = (
    'btree index "drill.public.t":\n    ERROR:  item order invariant violated for index "t"\n    DETAIL:  It is.\n'
)
PAGE = 'heap table "drill.public.t", block 1, offset 2:\n    xmin 5 precedes oldest valid transaction ID\n'


def test_a_function_that_cannot_be_called_is_no_corruption_and_keeps_none_from_being_seen() -> None:
    assert _without_refusals(f"{CORRUPT}{REFUSED}{PAGE}and something else") == (
        f"{CORRUPT}{PAGE}and something else",
        ['Not checked: btree index "drill.public.t_f": permission denied for function f'],
    )
    assert _without_refusals(CORRUPT) == (CORRUPT, [])
