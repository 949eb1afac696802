"""Values of extensions' types are followed, in tables with a key and in those whose whole rows identify them."""

from __future__ import annotations

from pathlib import Path

from tests.integration.journal_scene import OPTIONS, Scene, scene
from tests.providers.postgis import with_postgis

from coffre.postgres.journal.slot import OPTIONS as OUTPUT_OPTIONS
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

# Of each type: a value, and what it becomes.
CONTRIB_AND_PGVECTOR = {
    "hstore": (r"""'a=>1, "b c"=>"it''s \\ \"q\"", n=>NULL, ""=>""'""", "''"),
    "hstore[]": ("""ARRAY['a=>"1,2"'::hstore, NULL]""", "'{}'"),
    "citext": ("'It''s'", "'IT''S'"),  # equal to it, and another text
    "cube": ("'(0.1,-2),(3e-300,4)'", "'(1)'"),
    "ltree": ("'top.science'", "''"),
    "lquery": ("'*.a*{1,2}.!b'", "'*'"),
    "isbn13": ("'978-0-11-000533-1'", "'978-0-393-04002-9'"),
    "seg": ("'1.50 .. 2.5'", "'<7.0'"),
    "vector(3)": ("'[1,-2.5,3e-10]'", "'[0.1,1e38,-0]'"),
    "vector": ("'[1]'", "'[1,2]'"),
    "halfvec(2)": ("'[0.1,65504]'", "'[1,2]'"),
    "sparsevec(5)": ("'{1:0.1,5:-3}/5'", "'{}/5'"),
    "vector[]": ("ARRAY['[1,2]'::vector, NULL]", "'{}'"),
}
POSTGIS = {
    "geometry": ("'SRID=4326;POINT(0.1 -2)'", "'GEOMETRYCOLLECTION EMPTY'"),
    "geometry(PointZM,3857)": ("'SRID=3857;POINT ZM (1 2 3 4)'", "'SRID=3857;POINT ZM (1e-300 NaN 3 4)'"),
    "geography": ("'POLYGON((0 0,1 0,1 1,0 0))'", "'LINESTRING(0 0,179.9 89.9)'"),
    "geometry[]": ("ARRAY['POINT(1 2)'::geometry, NULL]", "'{}'"),
    "box2d": ("'BOX(0 0.1,1 1)'", "'BOX(1 1,2 2)'"),
    "box3d": ("'BOX3D(0 0 0,1 1 0.1)'", "'BOX3D(1 1 1,2 2 2)'"),
}


def require_followed(scene: Scene, extensions: tuple[str, ...], values: dict[str, tuple[str, str]]) -> None:
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(values))
    scene.begin(
        *(f"CREATE EXTENSION {name}" for name in extensions),
        f"CREATE TABLE keyed (id int PRIMARY KEY, {columns})",
        f"CREATE TABLE whole (id int, {columns}); ALTER TABLE whole REPLICA IDENTITY FULL",
    )
    scene.take_base()
    for table in ("keyed", "whole"):
        for row in (1, 2, 3):
            scene.run(f"INSERT INTO {table} VALUES ({row}, {', '.join(first for first, _ in values.values())})")
        scene.run(f"INSERT INTO {table} (id) VALUES (4)")
        for number, (_, second) in enumerate(values.values()):
            scene.run(f"UPDATE {table} SET c{number} = {second} WHERE id IN (2, 4)")
        scene.run(f"UPDATE {table} SET c0 = NULL WHERE id = 1", f"DELETE FROM {table} WHERE id = 3")
    scene.drain()

    scene.replay_to()

    scene.require_equal()


def test_values_of_contrib_and_pgvector_are_followed(toolchain: Toolchain, tmp_path: Path) -> None:
    home = toolchain.embedded_postgresql()  # the one that has pgvector
    extensions = ("hstore", "citext", "cube", "ltree", "isn", "seg", "vector")
    with PostgresServer(home, OPTIONS) as server:
        for plugin in OUTPUT_OPTIONS:
            with scene(server, home, tmp_path, f"by_{plugin}", plugin) as made:
                require_followed(made, extensions, CONTRIB_AND_PGVECTOR)


def test_values_of_postgis_are_followed(toolchain: Toolchain, tmp_path: Path) -> None:
    with (
        with_postgis(toolchain.postgresql(15)) as home,
        PostgresServer(home, OPTIONS) as server,
        scene(server, home, tmp_path, "places") as made,
    ):
        require_followed(made, ("postgis",), POSTGIS)
