"""The roles that are worth keeping, out of what `pg_dumpall` wrote."""

from hypothesis import given
from hypothesis import strategies as st

from coffre.model.names import quoted
from coffre.postgres.connection.roles import filter_roles

# What pg_dumpall 18 wrote of a server 16 with odd names, comments with line breaks, and memberships.
REAL = r"""--
-- PostgreSQL database cluster dump
--

\restrict cPMqXJbkYTISEqD2JeKFHbMhB4lKa89XiG34GDsM1OfjeNAiSgZl33wGfdIdpLB

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE "al ice";
ALTER ROLE "al ice" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
COMMENT ON ROLE "al ice" IS E'first
CREATE ROLE evil;
-- x
\\restrict \\ ''q'' ';
CREATE ROLE "bo'b;";
ALTER ROLE "bo'b;" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE "new
line";
ALTER ROLE "new
line" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE pg18;
ALTER ROLE pg18 WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;
CREATE ROLE supabase_admin;
ALTER ROLE supabase_admin WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
COMMENT ON ROLE supabase_admin IS 'line one
ALTER ROLE "al ice" SUPERUSER;';
CREATE ROLE "x""y";
ALTER ROLE "x""y" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;

--
-- User Configurations
--

--
-- User Config "al ice"
--

ALTER ROLE "al ice" SET search_path TO 'a', 'b';


--
-- Role memberships
--

GRANT "al ice" TO "x""y" WITH INHERIT TRUE GRANTED BY postgres;
GRANT pg_read_all_data TO "al ice" WITH INHERIT TRUE GRANTED BY postgres;
GRANT supabase_admin TO "al ice" WITH INHERIT TRUE GRANTED BY postgres;
GRANT "x""y" TO "new
line" WITH INHERIT TRUE GRANTED BY postgres;




\unrestrict cPMqXJbkYTISEqD2JeKFHbMhB4lKa89XiG34GDsM1OfjeNAiSgZl33wGfdIdpLB

--
-- PostgreSQL database cluster dump complete
--

"""

KEPT = r"""CREATE ROLE "al ice";
ALTER ROLE "al ice" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
COMMENT ON ROLE "al ice" IS E'first
CREATE ROLE evil;
-- x
\\restrict \\ ''q'' ';
CREATE ROLE "bo'b;";
ALTER ROLE "bo'b;" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE "new
line";
ALTER ROLE "new
line" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE pg18;
ALTER ROLE pg18 WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE "x""y";
ALTER ROLE "x""y" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;
ALTER ROLE "al ice" SET search_path TO 'a', 'b';
GRANT "al ice" TO "x""y" WITH INHERIT TRUE GRANTED BY postgres;
GRANT pg_read_all_data TO "al ice" WITH INHERIT TRUE GRANTED BY postgres;
GRANT supabase_admin TO "al ice" WITH INHERIT TRUE GRANTED BY postgres;
GRANT "x""y" TO "new
line" WITH INHERIT TRUE GRANTED BY postgres;
"""


def test_only_the_owners_own_roles_are_kept_whole_and_in_order() -> None:
    assert filter_roles(REAL) == KEPT


def test_a_platform_roles_comment_cannot_smuggle_a_statement_in() -> None:
    assert "SUPERUSER" not in filter_roles(REAL).replace("NOSUPERUSER", "")


def test_a_script_without_roles_gives_nothing() -> None:
    assert filter_roles("") == ""
    assert filter_roles("--\n-- nothing\n--\n\nSET x = 'y';\n\\restrict a\n") == ""
    assert filter_roles("CREATE ROLE cut_of") == ""


roles = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(roles, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))))
def test_any_name_and_comment_is_kept_or_dropped_as_a_whole(items: list[tuple[str, str]]) -> None:
    statements = [
        line
        for name, comment in items
        for line in (
            f"CREATE ROLE {quoted('u' + name)};",
            f"COMMENT ON ROLE {quoted('u' + name)} IS {literal(comment)};",
        )
    ]
    platform = [f"COMMENT ON ROLE supabase_admin IS {literal(comment)};" for _, comment in items]
    both = [line for pair in zip(statements[1::2], platform, strict=True) for line in pair]

    assert filter_roles("".join(f"{line}\n" for line in statements)) == "".join(f"{line}\n" for line in statements)
    assert filter_roles("".join(f"-- x\n{line}\n" for line in both)) == "".join(
        f"{line}\n" for line in statements[1::2]
    )


def literal(text: str) -> str:
    """A string literal as pg_dump writes it."""
    body = text.replace("'", "''")
    return f"E'{body.replace(chr(92), chr(92) * 2)}'" if "\\" in body else f"'{body}'"
