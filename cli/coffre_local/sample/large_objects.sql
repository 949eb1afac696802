-- Optional: three large objects under fixed numbers, so that two loads have the same ones.
CREATE TABLE casa.attachments (name text NOT NULL PRIMARY KEY, content oid NOT NULL);

INSERT INTO casa.attachments (name, content) VALUES
    ('floor plan.pdf', pg_catalog.lo_from_bytea(700001, pg_catalog.decode(repeat(md5('floor plan'), 20000), 'hex'))),
    ('welcome.txt', pg_catalog.lo_from_bytea(700002, 'Bem-vindo!\000\377'::bytea)),
    ('empty', pg_catalog.lo_from_bytea(700003, ''::bytea));

COMMENT ON LARGE OBJECT 700001 IS 'The floor plan of the castle';
COMMENT ON LARGE OBJECT 700002 IS 'Two words and two bytes';
COMMENT ON LARGE OBJECT 700003 IS 'Nothing at all';

DO $owner$
BEGIN
    GRANT SELECT ON LARGE OBJECT 700001 TO casa_readonly;
    ALTER LARGE OBJECT 700002 OWNER TO casa_app;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'The large objects keep their owner: %', SQLERRM;
END
$owner$;
