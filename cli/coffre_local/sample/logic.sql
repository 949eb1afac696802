-- Functions, triggers, views, row security and privileges.

-- Functions -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION casa.quote(listing integer, stay daterange, guests integer DEFAULT 2) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path = casa, pg_catalog
    AS $function$
DECLARE
    price numeric;
BEGIN
    SELECT nightly_price INTO price FROM listings WHERE id = listing;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Listing % does not exist', listing USING ERRCODE = 'no_data_found', HINT = 'It''s "gone".';
    END IF;
    RETURN price * (upper(stay) - lower(stay)) + 5 * greatest(guests - 2, 0);
END
$function$;

CREATE FUNCTION casa.free_listings(wished daterange, OUT listing integer, OUT title text) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 100 COST 500
BEGIN ATOMIC
    SELECT l.id, l.title
    FROM casa.listings AS l
    WHERE NOT EXISTS (
        SELECT FROM casa.bookings AS b WHERE b.listing_id = l.id AND b.stay && wished AND b.status <> 'cancelled'
    );
END;

CREATE FUNCTION casa.add_up(state numeric, VARIADIC terms numeric[]) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(state, 0) + coalesce(sum(term), 0) FROM unnest(terms) AS term);

CREATE FUNCTION casa.multiply(state numeric, factor numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT RETURN state * factor;
CREATE AGGREGATE casa.product(numeric) (SFUNC = casa.multiply, STYPE = numeric, INITCOND = '1');

CREATE PROCEDURE casa.cancel_booking(booking bigint, INOUT refund numeric DEFAULT 0)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog
    AS $$
BEGIN
    UPDATE casa.bookings SET status = 'cancelled', cancelled_at = now() WHERE id = booking RETURNING total INTO refund;
END
$$;
COMMENT ON PROCEDURE casa.cancel_booking(bigint, numeric) IS 'Runs as its owner';
REVOKE ALL ON PROCEDURE casa.cancel_booking(bigint, numeric) FROM PUBLIC;

-- Triggers ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION casa.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := pg_catalog.now();
    RETURN NEW;
END
$$;

CREATE FUNCTION casa.record_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO casa.audit_log (relation, key, before, after)
    VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, OLD.id::text, pg_catalog.to_jsonb(OLD), pg_catalog.to_jsonb(NEW));
    RETURN NULL;
END
$$;

CREATE FUNCTION billing.check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM arrived WHERE amount > 100000) THEN
        RAISE EXCEPTION 'A payment of more than 100 000 needs two signatures';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION casa.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is not allowed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;

CREATE TRIGGER listings_touch BEFORE UPDATE OF title, description, features ON casa.listings
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title OR OLD.description IS NOT NULL) EXECUTE FUNCTION casa.touch();
CREATE TRIGGER bookings_recorded AFTER UPDATE OF status ON casa.bookings
    FOR EACH ROW EXECUTE FUNCTION casa.record_change();
CREATE TRIGGER payments_checked AFTER INSERT ON billing.payments
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION billing.check_invoice();
CREATE CONSTRAINT TRIGGER payments_stay AFTER DELETE ON billing.payments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION casa.refuse();
CREATE TRIGGER audit_log_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON casa.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION casa.refuse();
ALTER TABLE casa.audit_log ENABLE ALWAYS TRIGGER audit_log_only_grows;
-- A restore that fires triggers while it loads rows stops here.
CREATE TRIGGER "no imports any more" BEFORE INSERT ON casa.legacy_imports
    FOR EACH STATEMENT EXECUTE FUNCTION casa.refuse();
CREATE TRIGGER messages_stay BEFORE DELETE ON casa.messages FOR EACH ROW EXECUTE FUNCTION casa.refuse();
ALTER TABLE casa.messages DISABLE TRIGGER messages_stay;
COMMENT ON TRIGGER messages_stay ON casa.messages IS 'Switched off';

-- Views ---------------------------------------------------------------------------------------------------------------

CREATE VIEW casa.open_listings WITH (security_barrier) AS
SELECT l.id, l.title, l.slug, c.name AS city, k.name AS country, l.nightly_price, l.features -> 'beds' AS beds
FROM casa.listings AS l
JOIN casa.cities AS c ON c.id = l.city_id
JOIN casa.countries AS k ON k.code = c.country
WHERE l.published_at IS NOT NULL;

CREATE VIEW casa.bargains AS SELECT * FROM casa.open_listings WHERE nightly_price < 60;
CREATE VIEW casa.castles AS SELECT id, host_id, city_id, kind, title, nightly_price FROM casa.listings
WHERE kind = 'castle' WITH CASCADED CHECK OPTION;
ALTER VIEW casa.castles ALTER COLUMN kind SET DEFAULT 'castle';

CREATE VIEW billing.unpaid_invoices AS
SELECT i.number, i.booking_id, i.gross FROM billing.invoices AS i
WHERE NOT EXISTS (SELECT FROM billing.payments AS p WHERE p.invoice_number = i.number);

CREATE RECURSIVE VIEW casa.referrals (id, root, depth) AS
SELECT u.id, u.id, 0 FROM casa.users AS u WHERE u.referred_by IS NULL
UNION ALL
SELECT u.id, r.root, r.depth + 1 FROM casa.users AS u JOIN referrals AS r ON r.id = u.referred_by;

CREATE VIEW "Odd Names"."a ""view"".1" AS SELECT o."select" AS "UPPER", o."Order" AS "order by" FROM "Odd Names"."Order" AS o;
CREATE TRIGGER "instead, of" INSTEAD OF DELETE ON "Odd Names"."a ""view"".1" FOR EACH ROW EXECUTE FUNCTION casa.refuse();

-- Materialized views: the second reads the first, the last was never filled -------------------------------------------

CREATE MATERIALIZED VIEW analytics.monthly_revenue AS
SELECT date_trunc('month', p.paid_at AT TIME ZONE 'Europe/Lisbon')::date AS month, l.kind,
       count(*) AS payments, sum(p.amount) AS amount, sum(p.fee) AS fees
FROM billing.payments AS p
JOIN billing.invoices AS i ON i.number = p.invoice_number
JOIN casa.bookings AS b ON b.id = i.booking_id
JOIN casa.listings AS l ON l.id = b.listing_id
GROUP BY 1, 2;
CREATE UNIQUE INDEX monthly_revenue_once ON analytics.monthly_revenue (month, kind);

CREATE MATERIALIZED VIEW analytics.yearly_revenue AS
SELECT date_trunc('year', month::timestamp)::date AS year, sum(payments) AS payments, sum(amount) AS amount,
       round(sum(amount) / sum(payments), 2) AS average
FROM analytics.monthly_revenue
GROUP BY 1;
COMMENT ON MATERIALIZED VIEW analytics.yearly_revenue IS 'Reads another materialized view: the order of refreshing matters';

CREATE MATERIALIZED VIEW analytics.city_ratings AS
SELECT c.name COLLATE "C" AS city, count(*) AS reviews, round(avg(r.rating), 2) AS rating,
       array_agg(DISTINCT r.language ORDER BY r.language) AS languages
FROM casa.reviews AS r
JOIN casa.bookings AS b ON b.id = r.booking_id
JOIN casa.listings AS l ON l.id = b.listing_id
JOIN casa.cities AS c ON c.id = l.city_id
GROUP BY c.name;

CREATE MATERIALIZED VIEW analytics.forecast AS
SELECT month + 365 AS month, amount FROM analytics.monthly_revenue WITH NO DATA;

-- Row security --------------------------------------------------------------------------------------------------------

CREATE FUNCTION casa.current_account() RETURNS bigint LANGUAGE sql STABLE
    RETURN nullif(pg_catalog.current_setting('casa.account', true), '')::bigint;

ALTER TABLE casa.user_secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_secrets ON casa.user_secrets USING (user_id = casa.current_account());
ALTER TABLE casa.private_notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_notes ON casa.private_notes
    USING (author_id = casa.current_account()) WITH CHECK (author_id = casa.current_account());
CREATE POLICY "never delete" ON casa.private_notes AS RESTRICTIVE FOR DELETE USING (false);
COMMENT ON POLICY own_notes ON casa.private_notes IS 'Holds for the owner of the table as well (FORCE)';

-- Privileges, where the roles exist -----------------------------------------------------------------------------------

DO $grants$
BEGIN
    GRANT USAGE ON SCHEMA casa, billing, analytics, "Odd Names" TO casa_app, casa_readonly;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA casa TO casa_app;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA casa, billing TO casa_app WITH GRANT OPTION;
    GRANT EXECUTE ON PROCEDURE casa.cancel_booking(bigint, numeric) TO casa_app;
    GRANT SELECT ON ALL TABLES IN SCHEMA casa, billing, analytics, "Odd Names" TO casa_readonly;
    REVOKE ALL ON casa.user_secrets, casa.sessions FROM casa_readonly;
    GRANT SELECT (user_id, changed_at) ON casa.user_secrets TO casa_readonly;
    GRANT USAGE ON TYPE casa.booking_status TO casa_app;
    GRANT SELECT (country, expires), UPDATE (expires) ON casa.identity_papers TO PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA casa GRANT SELECT ON TABLES TO casa_readonly;
    ALTER DEFAULT PRIVILEGES IN SCHEMA casa GRANT USAGE, SELECT ON SEQUENCES TO casa_app;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    CREATE POLICY staff_read ON casa.user_secrets FOR SELECT TO casa_readonly USING (changed_at < '2024-01-01 00:00+00');
EXCEPTION
    WHEN undefined_object OR insufficient_privilege THEN
        RAISE NOTICE 'The privileges were left out: %', SQLERRM;
END
$grants$;
