-- A database with as much as a major of PostgreSQL knows. Each block is sent as one; it says since which major.
-- Two roles exist: rich_owner and "Rich Reader".
-- since 14
CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext; CREATE EXTENSION btree_gist;
-- since 14
CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto;
-- since 14
CREATE TABLE extended (h hstore, l ltree, c citext UNIQUE, hashed text);
-- since 14
INSERT INTO extended VALUES ('a=>1, "b c"=>NULL, "\""=>"=>"', 'top.middle.leaf', 'CaSe',
    encode(crypto.digest('x', 'sha256'), 'hex')), (NULL, '', 'other', NULL);
-- since 14
CREATE TABLE more_values (j json, m macaddr, i interval, t text COLLATE "C", r int4multirange[], b bit(3)[]);
-- since 14
INSERT INTO more_values VALUES ('{"zero": "\u0000", "text": "\\u0000"}', '08:00:2b:01:02:03',
    '178000000 years -11 mons 1 day -00:00:00.000001', E'\\u0000', ARRAY['{[1,2),[5,)}']::int4multirange[],
    '[-2:-1]={101,010}'), ('"\ud83e\uddf0"', NULL, '-2147483648 days', '', '{}', NULL);
-- since 17
INSERT INTO more_values (i) VALUES ('infinity'), ('-infinity');
-- since 14
CREATE TYPE rgb AS (r smallint, g smallint, b smallint);
-- since 14
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
-- since 14
CREATE DOMAIN email AS citext CONSTRAINT has_at CHECK (VALUE ~ '@') NOT NULL DEFAULT 'a@b';
-- since 14
CREATE DOMAIN colours AS rgb[] CHECK (cardinality(VALUE) < 5);
-- since 14
CREATE FUNCTION brightness(rgb) RETURNS integer IMMUTABLE LANGUAGE sql RETURN ($1).r + ($1).g + ($1).b;
-- since 14
CREATE FUNCTION brighter(a rgb, b rgb) RETURNS boolean IMMUTABLE LANGUAGE sql BEGIN ATOMIC SELECT brightness(a) > brightness(b); END;
-- since 14
CREATE OPERATOR >>> (LEFTARG = rgb, RIGHTARG = rgb, FUNCTION = brighter);
-- since 14
CREATE CAST (rgb AS integer) WITH FUNCTION brightness(rgb) AS ASSIGNMENT;
-- since 14
CREATE AGGREGATE brightest (integer) (SFUNC = int4larger, STYPE = integer, COMBINEFUNC = int4larger);
-- since 14
CREATE PROCEDURE note(INOUT n integer, VARIADIC t text[]) LANGUAGE plpgsql AS $$BEGIN n := 1; COMMIT; END$$;
-- since 14
CREATE COLLATION plain (provider = libc, locale = 'C'); CREATE COLLATION "Plain" FROM plain;
-- since 14
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple, accept = false); CREATE TEXT SEARCH CONFIGURATION search (COPY = simple); ALTER TEXT SEARCH CONFIGURATION search ALTER MAPPING FOR asciiword WITH words, simple;
-- since 14
CREATE OPERATOR FAMILY rgb_family USING btree; CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
-- since 14
CREATE TABLE things (id integer GENERATED ALWAYS AS IDENTITY (START -5 INCREMENT 7 MINVALUE -100 CYCLE), colour rgb, palette colours, mail email, measured float_range, size integer NOT NULL DEFAULT 1, big text COMPRESSION pglz, low text, double integer GENERATED ALWAYS AS (size * 2) STORED, PRIMARY KEY (id) INCLUDE (size), EXCLUDE USING gist (measured WITH &&) WHERE (size > 0) DEFERRABLE INITIALLY DEFERRED) WITH (fillfactor = 71, autovacuum_vacuum_threshold = 123, toast.autovacuum_enabled = false);
-- since 14
ALTER TABLE things ALTER big SET STORAGE EXTERNAL, ALTER low SET STORAGE MAIN, ALTER size SET STATISTICS 7, ALTER size SET (n_distinct = -0.5), OWNER TO rich_owner, REPLICA IDENTITY FULL;
-- since 14
INSERT INTO things (colour, palette, mail, measured, size, big, low) SELECT ROW(n, 2, NULL)::rgb, ARRAY[ROW(1, n, 3)]::rgb[], 'x' || n || '@y', float_range(n, n + 0.5), n % 9, repeat('e', n * 900), repeat('l', n * 90) FROM generate_series(1, 30) n;
-- since 14
CREATE TABLE odd ("Id" integer PRIMARY KEY, "a ""quote""" text, "select" text UNIQUE NOT NULL);
-- since 14
INSERT INTO odd SELECT n, 'q' || n, n::text FROM generate_series(1, 5) n; CLUSTER odd USING odd_pkey;
-- since 14
ALTER TABLE odd REPLICA IDENTITY USING INDEX odd_select_key; ALTER TABLE odd DROP COLUMN "a ""quote""";
-- since 14
CREATE TABLE refers (id integer, thing integer, FOREIGN KEY (thing) REFERENCES odd ON DELETE SET NULL);
-- since 14
INSERT INTO refers VALUES (1, 3);
-- since 14
ALTER TABLE refers ADD CONSTRAINT unseen FOREIGN KEY (id) REFERENCES odd NOT VALID;
-- since 14
CREATE TABLE using_other (id integer) USING heap_too; INSERT INTO using_other VALUES (1);
-- since 14
CREATE TABLE of_type OF rgb (PRIMARY KEY (r)); INSERT INTO of_type VALUES (1, 2, 3);
-- since 14
CREATE UNLOGGED TABLE quick (LIKE odd INCLUDING ALL); INSERT INTO quick SELECT * FROM odd;
-- since 14
CREATE TABLE split (id bigint NOT NULL, at timestamptz NOT NULL, n integer GENERATED ALWAYS AS (id::integer + 1) STORED, note text DEFAULT 'd', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
-- since 14
CREATE TABLE split_old (note text, gone integer, at timestamptz NOT NULL, n integer GENERATED ALWAYS AS (id::integer + 1) STORED, id bigint NOT NULL);
-- since 14
ALTER TABLE split_old DROP COLUMN gone; ALTER TABLE split ATTACH PARTITION split_old FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
-- since 14
CREATE TABLE split_rest PARTITION OF split DEFAULT PARTITION BY HASH (id);
-- since 14
CREATE TABLE split_rest_0 PARTITION OF split_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
-- since 14
CREATE TABLE split_rest_1 PARTITION OF split_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
-- since 14
ALTER TABLE split_rest_1 ALTER note SET DEFAULT 'own'; CREATE INDEX split_by_note ON split (note);
-- since 14
INSERT INTO split (id, at) SELECT n, timestamptz '2019-01-01+00' + n * interval '20 days' FROM generate_series(1, 50) n;
-- since 17
CREATE TABLE counted (id integer GENERATED BY DEFAULT AS IDENTITY, k text) PARTITION BY LIST (k);
-- since 17
CREATE TABLE counted_a PARTITION OF counted FOR VALUES IN ('a', NULL); INSERT INTO counted (k) VALUES ('a'), (NULL);
-- since 14
CREATE TABLE base (a integer, b text); CREATE TABLE derived (c integer) INHERITS (base);
-- since 14
INSERT INTO base VALUES (1, 'base'); INSERT INTO derived VALUES (2, 'derived', 3);
-- since 15
CREATE TABLE scarce (n integer UNIQUE NULLS NOT DISTINCT, m integer); INSERT INTO scarce VALUES (NULL, 1);
-- since 18
CREATE TABLE booked (room int4range, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS));
-- since 18
CREATE TABLE cleaned (room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES booked (room, PERIOD during));
-- since 18
INSERT INTO booked VALUES ('[1,2)', '[2024-01-01,2024-02-01)'); INSERT INTO cleaned VALUES ('[1,2)', '[2024-01-05,2024-01-06)');
-- since 18
CREATE TABLE loose (a integer, v integer GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO loose VALUES (NULL);
-- since 18
ALTER TABLE loose ADD CONSTRAINT a_there NOT NULL a NOT VALID;
-- since 18
ALTER TABLE loose ADD CONSTRAINT small CHECK (a < 5) NOT ENFORCED; INSERT INTO loose VALUES (9);
-- since 14
CREATE INDEX things_by_text ON things (lower(low) text_pattern_ops DESC NULLS LAST) WHERE size > 2;
-- since 14
CREATE INDEX things_by_brightness ON things (brightness(colour)); CREATE STATISTICS together (ndistinct, mcv) ON size, double FROM things;
-- since 14
CREATE INDEX invalid_one ON odd ("Id"); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'invalid_one'::regclass;
-- since 14
CREATE VIEW safe WITH (security_barrier, check_option = local) AS SELECT * FROM odd WHERE "Id" < 4;
-- since 15
CREATE VIEW invoked WITH (security_invoker) AS SELECT * FROM things;
-- since 14
CREATE RECURSIVE VIEW numbers (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 5;
-- since 14
CREATE VIEW looped AS SELECT 1 AS x; CREATE FUNCTION of_looped() RETURNS SETOF looped LANGUAGE sql AS 'TABLE looped';
-- since 14
CREATE OR REPLACE VIEW looped AS SELECT x FROM of_looped();
-- since 14
CREATE MATERIALIZED VIEW gathered AS SELECT count(*) AS n, max(size) FROM things WITH DATA; CREATE UNIQUE INDEX ON gathered (n);
-- since 14
CREATE MATERIALIZED VIEW again AS SELECT n FROM gathered, numbers AS x (m);
-- since 14
CREATE RULE redirect AS ON UPDATE TO refers WHERE new.id > 5 DO ALSO DELETE FROM odd WHERE "Id" = new.id;
-- since 14
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
-- since 14
CREATE TRIGGER watched AFTER INSERT ON things REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION watch();
-- since 14
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON odd DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch('it''s');
-- since 14
ALTER TABLE odd DISABLE TRIGGER later; ALTER TABLE things ENABLE REPLICA TRIGGER watched;
-- since 14
ALTER TABLE things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- since 14
CREATE POLICY own ON things AS RESTRICTIVE FOR UPDATE TO rich_owner, "Rich Reader" USING (size > 1) WITH CHECK (size < 99);
-- since 14
CREATE POLICY sight ON things FOR SELECT USING (size > 4);
-- since 14
CREATE SEQUENCE backwards AS smallint INCREMENT -7 MINVALUE -30000 MAXVALUE -1 START -1 CACHE 3 CYCLE;
-- since 14
SELECT nextval('backwards'); CREATE SEQUENCE last AS bigint START 9223372036854775807; SELECT nextval('last');
-- since 14
CREATE SEQUENCE untouched MINVALUE -9223372036854775808 START -9223372036854775808;
-- since 15
CREATE UNLOGGED SEQUENCE fleeting; SELECT nextval('fleeting');
-- since 14
CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
-- since 14
CREATE USER MAPPING FOR PUBLIC SERVER files; CREATE FOREIGN TABLE hosts (line text) SERVER files OPTIONS (filename '/etc/hosts', format 'text');
-- since 14
CREATE PUBLICATION "some" FOR TABLE things, ONLY base WITH (publish = 'insert, truncate'); CREATE PUBLICATION every FOR ALL TABLES;
-- since 15
CREATE PUBLICATION in_schema FOR TABLES IN SCHEMA crypto; CREATE PUBLICATION partly FOR TABLE odd ("Id") WHERE ("Id" > 1);
-- since 18
CREATE PUBLICATION with_generated FOR TABLE things WITH (publish_generated_columns = stored);
-- since 14
GRANT SELECT (id), UPDATE (size) ON things TO "Rich Reader" WITH GRANT OPTION; GRANT USAGE ON SEQUENCE backwards TO rich_owner;
-- since 14
GRANT USAGE ON TYPE rgb TO "Rich Reader"; REVOKE EXECUTE ON FUNCTION watch() FROM PUBLIC; GRANT USAGE ON LANGUAGE plpgsql TO rich_owner;
-- since 14
ALTER DEFAULT PRIVILEGES FOR ROLE rich_owner GRANT SELECT ON TABLES TO "Rich Reader"; GRANT CREATE ON SCHEMA public TO "Rich Reader";
-- since 14
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
-- since 17
GRANT MAINTAIN ON TABLE odd TO rich_owner;
-- since 14
SELECT lo_from_bytea(4711, '\x00ff5c2e'); ALTER LARGE OBJECT 4711 OWNER TO rich_owner; GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC;
-- since 14
COMMENT ON TABLE things IS E'it''s the \\ 0\nsecond line';
-- since 14
COMMENT ON COLUMN things.size IS E'it''s the \\ 1\nsecond line';
-- since 14
COMMENT ON VIEW safe IS E'it''s the \\ 2\nsecond line';
-- since 14
COMMENT ON COLUMN safe."Id" IS E'it''s the \\ 3\nsecond line';
-- since 14
COMMENT ON MATERIALIZED VIEW gathered IS E'it''s the \\ 4\nsecond line';
-- since 14
COMMENT ON INDEX things_by_text IS E'it''s the \\ 5\nsecond line';
-- since 14
COMMENT ON SEQUENCE backwards IS E'it''s the \\ 6\nsecond line';
-- since 14
COMMENT ON TYPE rgb IS E'it''s the \\ 7\nsecond line';
-- since 14
COMMENT ON COLUMN rgb.r IS E'it''s the \\ 8\nsecond line';
-- since 14
COMMENT ON DOMAIN email IS E'it''s the \\ 9\nsecond line';
-- since 14
COMMENT ON CONSTRAINT has_at ON DOMAIN email IS E'it''s the \\ 10\nsecond line';
-- since 14
COMMENT ON CONSTRAINT things_pkey ON things IS E'it''s the \\ 11\nsecond line';
-- since 14
COMMENT ON FUNCTION brightness(rgb) IS E'it''s the \\ 12\nsecond line';
-- since 14
COMMENT ON PROCEDURE note(integer, text[]) IS E'it''s the \\ 13\nsecond line';
-- since 14
COMMENT ON AGGREGATE brightest(integer) IS E'it''s the \\ 14\nsecond line';
-- since 14
COMMENT ON OPERATOR >>> (rgb, rgb) IS E'it''s the \\ 15\nsecond line';
-- since 14
COMMENT ON CAST (rgb AS integer) IS E'it''s the \\ 16\nsecond line';
-- since 14
COMMENT ON COLLATION plain IS E'it''s the \\ 17\nsecond line';
-- since 14
COMMENT ON TEXT SEARCH CONFIGURATION search IS E'it''s the \\ 18\nsecond line';
-- since 14
COMMENT ON TEXT SEARCH DICTIONARY words IS E'it''s the \\ 19\nsecond line';
-- since 14
COMMENT ON OPERATOR FAMILY rgb_family USING btree IS E'it''s the \\ 20\nsecond line';
-- since 14
COMMENT ON ACCESS METHOD heap_too IS E'it''s the \\ 21\nsecond line';
-- since 14
COMMENT ON STATISTICS together IS E'it''s the \\ 22\nsecond line';
-- since 14
COMMENT ON RULE redirect ON refers IS E'it''s the \\ 23\nsecond line';
-- since 14
COMMENT ON TRIGGER watched ON things IS E'it''s the \\ 24\nsecond line';
-- since 14
COMMENT ON POLICY own ON things IS E'it''s the \\ 25\nsecond line';
-- since 14
COMMENT ON SERVER files IS E'it''s the \\ 26\nsecond line';
-- since 14
COMMENT ON FOREIGN TABLE hosts IS E'it''s the \\ 27\nsecond line';
-- since 14
COMMENT ON PUBLICATION "some" IS E'it''s the \\ 28\nsecond line';
-- since 14
COMMENT ON LARGE OBJECT 4711 IS E'it''s the \\ 29\nsecond line';
-- since 14
COMMENT ON SCHEMA crypto IS E'it''s the \\ 30\nsecond line';
-- since 14
COMMENT ON EXTENSION hstore IS E'it''s the \\ 31\nsecond line';
