-- Roles belong to the whole cluster, so this part is repeatable and is committed before the rest.
DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['casa_app', 'casa_readonly'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'Role % was not created: this user may not create roles. Its privileges are left out.', wanted;
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another load on the same cluster made it between the two statements
        END;
    END LOOP;
END
$roles$;
