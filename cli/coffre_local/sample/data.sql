-- The rows of Casa. The same setting casa.scale gives the same rows, on every server and at every hour: all chance comes
-- from a hash of the row number (dice), never from random(), whose series differs between versions, nor from the clock.
-- What passes through lower() or a text search parser is ASCII: a restore computes it again, maybe under another locale.

CREATE FUNCTION pg_temp.dice(n bigint, salt integer, sides bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (pg_catalog.hashint8extended(n, salt) & 9223372036854775807) % sides $$;

CREATE FUNCTION pg_temp.first_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY['Ana', 'Rui', 'Inês', 'João', 'Zoë', 'Björn', 'Chloé', 'Mehmet', 'Łucja', 'Søren', 'Maeve', 'Nikolaï',
        'Yuki', 'Aoife', 'Luís', 'Greta', 'Émile', 'Tomás', 'Ida', 'Omar', 'Pilar', 'Jan', 'Vera', 'Hugo', 'Marta'])
        [1 + pg_temp.dice(n, 901, 25)] $$;

CREATE FUNCTION pg_temp.last_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY['Silva', 'Santos', 'O''Brien', 'Müller', 'Ferreira', 'Kowalska', 'van der Berg', 'Yılmaz', 'Rossi',
        'Lindqvist', 'Dubois', 'García', 'Novák', 'Tanaka', 'Costa', 'Nguyễn', 'Smith', 'Jensen', 'Papadopoulos'])
        [1 + pg_temp.dice(n, 902, 19)] $$;

-- Seconds are spread over the 30 months from January 2023 to June 2025.
CREATE FUNCTION pg_temp.moment(n bigint, salt integer) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT '2023-01-01 00:00:00+00'::timestamptz + pg_temp.dice(n, salt, 78796800) * interval '1 second' $$;

CREATE TEMPORARY TABLE sizes AS
SELECT greatest(60, round(30000 * scale))::bigint AS users,
       greatest(6, round(3000 * scale))::bigint AS hosts,
       greatest(20, round(8000 * scale))::bigint AS listings,
       greatest(60, round(24000 * scale))::bigint AS photos,
       greatest(100, round(70000 * scale))::bigint AS bookings,
       greatest(100, round(80000 * scale))::bigint AS messages,
       greatest(100, round(130000 * scale))::bigint AS events,
       greatest(30, round(20000 * scale))::bigint AS readings,
       greatest(20, round(1500 * scale))::bigint AS documents,
       greatest(20, round(10000 * scale))::bigint AS few
FROM (SELECT coalesce(nullif(current_setting('casa.scale', true), ''), '1')::numeric AS scale) AS setting;
ANALYZE sizes;

-- Places --------------------------------------------------------------------------------------------------------------

INSERT INTO casa.countries (code, name, currency, in_eu) VALUES
    ('PT', 'Portugal', 'EUR', true), ('ES', 'España', 'EUR', true), ('FR', 'France', 'EUR', true),
    ('IT', 'Italia', 'EUR', true), ('DE', 'Deutschland', 'EUR', true), ('IE', 'Éire', 'EUR', true),
    ('PL', 'Polska', 'PLN', true), ('DK', 'Danmark', 'DKK', true), ('SE', 'Sverige', 'SEK', true),
    ('GB', 'United Kingdom', 'GBP', false), ('CH', 'Schweiz', 'CHF', false), ('TR', 'Türkiye', 'TRY', false),
    ('JP', '日本', 'JPY', false), ('IS', 'Ísland', 'ISK', false), ('AQ', 'Antarctica', NULL, false);

INSERT INTO casa.cities (country, name, location, tourist_tax, quarters) VALUES
    ('PT', 'Lisboa', '(-9.139,38.722)', 4.00, '{Alfama,Graça,"Bairro Alto",Belém}'),
    ('PT', 'Porto', '(-8.611,41.149)', 3.00, '{Ribeira,Boavista}'),
    ('PT', 'Évora', '(-7.909,38.571)', NULL, '{}'),
    ('ES', 'Sevilla', '(-5.984,37.389)', NULL, '{Triana,"Santa Cruz"}'),
    ('ES', 'A Coruña', '(-8.396,43.371)', 1.00, '{}'),
    ('FR', 'Paris', '(2.352,48.857)', 5.20, '{"1er","2e",NULL,"4e"}'),
    ('FR', 'L''Haÿ-les-Roses', '(2.337,48.779)', 1.10, '{}'),
    ('IT', 'Roma', '(12.496,41.903)', 6.00, '{Trastevere,Monti}'),
    ('DE', 'Köln', '(6.96,50.938)', 0.05, '{Ehrenfeld}'),
    ('IE', 'Dún Laoghaire', '(-6.133,53.294)', NULL, '{}'),
    ('PL', 'Łódź', '(19.456,51.759)', NULL, '{}'),
    ('DK', 'København', '(12.568,55.676)', NULL, '{Nørrebro,Christianshavn}'),
    ('SE', 'Malmö', '(13.003,55.605)', NULL, '{}'),
    ('GB', 'Newcastle upon Tyne', '(-1.618,54.978)', NULL, '{"a, b","c \"d\"","e \\ f"}'),
    ('CH', 'Zürich', '(8.541,47.377)', 3.50, '{}'),
    ('TR', 'İstanbul', '(28.979,41.008)', 2.00, '{Kadıköy}'),
    ('JP', '京都', '(135.768,35.012)', 2.00, '{祇園}'),
    ('IS', 'Reykjavík', '(-21.942,64.147)', 4.50, '{}');

-- People --------------------------------------------------------------------------------------------------------------

INSERT INTO casa.users (public_id, email, full_name, phone, birth_date, home, signup_ip, tags, settings, referred_by,
                        member_until, created_at, deleted_at)
SELECT md5('user' || n)::uuid,
       (ARRAY['guest', 'Traveller', 'home.owner', 'no-reply+casa'])[1 + pg_temp.dice(n, 1, 4)] || '.' || n
           || (ARRAY['@example.org', '@Example.com', '@mail.example.net'])[1 + pg_temp.dice(n, 2, 3)],
       pg_temp.first_name(n) || ' ' || pg_temp.last_name(n),
       CASE WHEN n % 3 > 0 THEN '+351 9' || lpad(pg_temp.dice(n, 3, 100000000)::text, 8, '0') END,
       CASE WHEN n % 7 > 0 THEN '1940-01-01'::date + pg_temp.dice(n, 4, 24000)::integer END,
       CASE WHEN n % 4 > 0 THEN ROW(pg_temp.last_name(n + 7) || ' Street ' || n % 200, lpad((n % 99999)::text, 5, '0'),
            CASE WHEN n % 5 > 0 THEN 'Lisboa' END, point(pg_temp.dice(n, 5, 360) - 180, n % 180 - 90))::casa.address END,
       CASE n % 6 WHEN 0 THEN NULL WHEN 1 THEN ('2001:db8::' || to_hex(n % 65000))::inet
            ELSE '198.51.100.0'::inet + n % 256 END,
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY['newsletter', NULL, 'NULL']
            ELSE ARRAY['early bird', 'a,b', 'x"y', E'back\\slash'] END,
       jsonb_build_object('language', (ARRAY['pt', 'en', 'de', 'ja'])[1 + pg_temp.dice(n, 6, 4)], 'dark', n % 2 = 0,
           'budget', pg_temp.dice(n, 7, 50000) / 100.0, 'seen', CASE WHEN n % 9 > 0 THEN n END),
       CASE WHEN n > 1 AND n % 5 = 0 THEN 1 + pg_temp.dice(n, 8, n - 1) END,
       CASE n % 10 WHEN 0 THEN '-infinity' WHEN 1 THEN pg_temp.moment(n, 9) + interval '3 years' ELSE 'infinity' END,
       pg_temp.moment(n, 10),
       CASE WHEN n % 97 = 0 THEN '2025-05-01 12:00:00.123456+02'::timestamptz END
FROM sizes, generate_series(1, sizes.users) AS n;

INSERT INTO casa.hosts (user_id, about, superhost_since, reply_time, commission, open_days, score)
SELECT n * 2,
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'I love guests.\n\tAnd tabs.\r\n'
            ELSE 'Family business since 1755; we rebuilt. ' || repeat('Welcome! ', (n % 40)::integer) END,
       CASE WHEN n % 5 = 0 THEN '2015-01-01'::date + (n % 3000)::integer END,
       CASE WHEN n % 8 > 0 THEN make_interval(months => (n % 2)::integer, days => (n % 3)::integer,
            secs => pg_temp.dice(n, 11, 90000) / 8.0) END,
       0.02 + (n % 50) / 1000.0, (n % 128)::integer::bit(7), (pg_temp.dice(n, 12, 500) / 100.0)::real
FROM sizes, generate_series(1, sizes.hosts) AS n;

INSERT INTO casa.user_secrets (user_id, password_hash, recovery_codes, changed_at)
SELECT n, decode(md5('secret' || n), 'hex'), CASE WHEN n % 3 = 0 THEN ARRAY[md5('code' || n)] END, pg_temp.moment(n, 13)
FROM sizes, generate_series(1, sizes.users) AS n
WHERE n % 4 > 0;

INSERT INTO casa.private_notes (author_id, about_id, note)
SELECT 2 * (1 + pg_temp.dice(n, 14, sizes.hosts)), CASE WHEN n % 3 > 0 THEN 1 + pg_temp.dice(n, 15, sizes.users) END,
       (ARRAY['Key is under the mat', 'Asked for a late check-out', 'Broke the blue vase', 'Never again', '\N', 'NULL', ''])
           [1 + pg_temp.dice(n, 16, 7)]
FROM sizes, generate_series(1, sizes.few / 4) AS n;

INSERT INTO casa.sessions (token, user_id, client, device, expires_at)
SELECT decode(md5('session' || n), 'hex'), 1 + pg_temp.dice(n, 17, sizes.users),
       CASE WHEN n % 3 > 0 THEN '203.0.113.0'::inet + n % 256 END,
       CASE WHEN n % 4 = 0 THEN ('08:00:2b:' || substr(md5(n::text), 1, 2) || ':00:01')::macaddr END,
       CASE WHEN n % 11 = 0 THEN 'infinity'::timestamptz ELSE '2025-07-01 00:00+00'::timestamptz + n * interval '1 minute' END
FROM sizes, generate_series(1, sizes.few / 2) AS n;

-- Homes ---------------------------------------------------------------------------------------------------------------

INSERT INTO casa.listings (host_id, city_id, kind, title, description, nightly_price, deposit, band, location, floor,
                           area_m2, built_on, check_in, quiet_from, minimum_stay, amenities, house_rules, features,
                           closed_on, published_at, updated_at)
SELECT 2 * (1 + pg_temp.dice(n, 20, sizes.hosts)), 1 + pg_temp.dice(n, 21, 18),
       (ARRAY['apartment', 'apartment', 'apartment', 'house', 'house', 'villa', 'castle', 'host''s spare room'])
           [1 + pg_temp.dice(n, 22, 8)]::casa.listing_kind,
       (ARRAY['Sunny', 'Quiet', 'Tiny', 'Grand', 'Old', 'Bright & Airy'])[1 + pg_temp.dice(n, 23, 6)] || ' '
           || (ARRAY['loft', 'home', 'studio', 'retreat'])[1 + pg_temp.dice(n, 24, 4)] || ' no. ' || n,
       CASE WHEN n % 20 = 0 THEN NULL ELSE 'Três quartos, vista para o rio – 5′ à pied du métro. '
           || repeat('Lovely place with a view over the roofs. ', (n % 12)::integer) END,
       20 + pg_temp.dice(n, 25, 48000) / 100.0,
       CASE WHEN n % 3 > 0 THEN (pg_temp.dice(n, 26, 50000) / 100.0)::numeric(8, 2)::money END,
       CASE WHEN n % 4 > 0 THEN casa.price_band(20.00 + n % 50, CASE WHEN n % 9 > 0 THEN 100.50 + n % 400 END, '[]') END,
       point(pg_temp.dice(n, 27, 360000) / 1000.0 - 180, pg_temp.dice(n, 28, 180000) / 1000.0 - 90),
       CASE WHEN n % 3 = 0 THEN n % 30 - 2 END,
       CASE WHEN n % 13 > 0 THEN (15 + pg_temp.dice(n, 29, 3000) / 10.0)::real END,
       CASE WHEN n % 500 = 7 THEN '0044-03-15 BC'::date WHEN n % 6 > 0 THEN '1755-11-01'::date + (n * 13 % 98000)::integer END,
       make_time((13 + n % 6)::integer, (n % 4 * 15)::integer, 0),
       CASE WHEN n % 5 = 0 THEN '22:30:00+01'::timetz END,
       CASE n % 4 WHEN 0 THEN interval '1 mon -2 days +03:04:05.678' WHEN 1 THEN interval '7 days' ELSE interval '1 day' END,
       CASE WHEN n % 7 > 0 THEN (ARRAY['wifi', 'kitchen', 'heating', 'pool', 'cot', 'crypt'])[1:1 + n % 6] END,
       CASE WHEN n % 10 = 0 THEN ARRAY[['no', 'smoking'], ['yes', 'dogs']] END,
       jsonb_build_object('beds', 1 + n % 6, 'sea', n % 9 = 0, 'rooms', jsonb_build_array('kitchen', n, NULL, '{}'::jsonb)),
       CASE WHEN n % 6 = 0 THEN datemultirange(daterange('2024-01-10', '2024-02-01'), daterange('2025-11-01', NULL)) END,
       CASE WHEN n % 15 > 0 THEN pg_temp.moment(n, 30) END, pg_temp.moment(n, 31)
FROM sizes, generate_series(1, sizes.listings) AS n;

INSERT INTO casa.photos (listing_id, position, digest, thumbnail, width, height, taken_at)
SELECT 1 + (n - 1) % sizes.listings, 1 + (n - 1) / sizes.listings, decode(md5('photo' || n), 'hex'),
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN ''::bytea ELSE decode(repeat(md5(n::text), 4), 'hex') END,
       640 + n % 4000, 480 + n % 3000, CASE WHEN n % 8 > 0 THEN pg_temp.moment(n, 32) AT TIME ZONE 'UTC' END
FROM sizes, generate_series(1, sizes.photos) AS n;

UPDATE casa.listings SET cover_photo_id = id FROM sizes WHERE id <= sizes.photos AND id % 12 > 0;

INSERT INTO casa.closures (listing_id, closed, reason)
SELECT 1 + pg_temp.dice(n, 33, sizes.listings),
       CASE n % 20 WHEN 0 THEN daterange(NULL, '2022-01-01') WHEN 1 THEN daterange('2026-01-01', 'infinity')
            WHEN 2 THEN 'empty' WHEN 3 THEN daterange('2026-01-01', NULL)
            ELSE daterange('2024-01-01'::date + (n % 300)::integer, '2024-01-02'::date + (n % 300 + n % 9)::integer) END,
       CASE WHEN n % 3 = 0 THEN 'Works on the roof' END
FROM sizes, generate_series(1, sizes.few / 2) AS n;

INSERT INTO casa.favourites (user_id, listing_id, added_on)
SELECT n, listing, '2024-01-01'::date + pg_temp.dice(n, 34, 500)::integer
FROM sizes, generate_series(1, sizes.users) AS n, LATERAL (
    SELECT DISTINCT 1 + pg_temp.dice(n * 4 + k, 35, sizes.listings) AS listing
    FROM generate_series(1, pg_temp.dice(n, 36, 3)) AS k
) AS liked;

INSERT INTO casa.lock_readings (listing_id, read_at, battery, signal, raw)
SELECT 1 + pg_temp.dice(n, 37, sizes.listings), '2025-05-01 00:00+00'::timestamptz + n * interval '1.25 seconds',
       CASE n % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN '-0'::double precision WHEN 3 THEN NULL
            WHEN 4 THEN 4.9e-324 WHEN 5 THEN 1.7976931348623157e308
            ELSE pg_temp.dice(n, 38, 1000000)::double precision / 3 END,
       -pg_temp.dice(n, 39, 1000)::real / 7, CASE WHEN n % 6 = 0 THEN decode(md5(n::text), 'hex') END
FROM sizes, generate_series(1, sizes.readings) AS n;

-- Bookings: the k-th stay of every listing lies in its own window of 90 days ------------------------------------------

INSERT INTO casa.bookings (listing_id, guest_id, status, stay, guests, total, currency, wishes, coupon, created_at,
                           cancelled_at)
SELECT 1 + (n - 1) % sizes.listings, 1 + pg_temp.dice(n, 40, sizes.users),
       (ARRAY['requested', 'confirmed', 'cancelled', 'no show', 'completed', 'completed', 'completed', 'completed'])
           [1 + pg_temp.dice(n, 41, 8)]::casa.booking_status,
       daterange(first_day, first_day + 1 + pg_temp.dice(n, 43, 21)::integer),
       1 + pg_temp.dice(n, 44, 6), 50 + pg_temp.dice(n, 45, 250000) / 100.0,
       (ARRAY['EUR', 'EUR', 'EUR', 'GBP', 'CHF'])[1 + pg_temp.dice(n, 46, 5)],
       CASE WHEN n % 9 = 0 THEN E'Late arrival, please.\nThank you! 🙏' END,
       CASE WHEN n % 25 = 0 THEN 'WELCOME-' || 1 + pg_temp.dice(n, 47, 40) END,
       pg_temp.moment(n, 48), CASE WHEN pg_temp.dice(n, 41, 8) = 2 THEN pg_temp.moment(n, 48) + interval '2 days' END
FROM sizes, generate_series(1, sizes.bookings) AS n,
     LATERAL (SELECT '2023-01-05'::date + ((n - 1) / sizes.listings * 90 + pg_temp.dice(n, 42, 60))::integer) AS f (first_day);

INSERT INTO casa.booking_guests (booking_id, position, full_name, age, passport_country)
SELECT 100000 + n, k, pg_temp.first_name(n * 6 + k) || ' ' || pg_temp.last_name(n),
       CASE WHEN (n + k) % 5 > 0 THEN pg_temp.dice(n * 6 + k, 49, 99) END,
       (ARRAY['PT', 'FR', 'DE', NULL, 'JP', 'GB'])[1 + pg_temp.dice(n, 50, 6)]
FROM sizes, generate_series(1, sizes.bookings) AS n, generate_series(1, 1 + (n % 3) / 2) AS k;

INSERT INTO casa.coupons (code, percent, valid, conditions)
SELECT 'WELCOME-' || n, CASE WHEN n % 10 > 0 THEN n / 2.0 END,
       tstzrange('2023-01-01 00:00+00', CASE WHEN n % 4 > 0 THEN '2025-12-31 23:59:59+00'::timestamptz END, '[)'),
       CASE WHEN n % 3 = 0 THEN '{"b": 1,  "a": [1, 2 ,3], "b": "kept twice"}'::json END
FROM generate_series(1, 40) AS n;

INSERT INTO casa.reviews (booking_id, rating, comment, language, written_at)
SELECT 100000 + n, 1 + pg_temp.dice(n, 51, 5),
       (ARRAY[NULL, 'Perfect stay, we will come back', 'Too loud at night', 'As described', 'The host was very kind',
              'Clean; a bit small', 'Where was the pool?', ''])[1 + pg_temp.dice(n, 52, 8)],
       (ARRAY['en', 'en', 'pt', NULL])[1 + pg_temp.dice(n, 53, 4)], pg_temp.moment(n, 54)
FROM sizes, generate_series(1, sizes.bookings) AS n
WHERE n % 3 = 0;

-- Talk ----------------------------------------------------------------------------------------------------------------

INSERT INTO casa.messages (id, sent_at, booking_id, sender_id, body, read_at, attachments)
SELECT n, CASE WHEN n % 400 = 0 THEN '2019-06-30 23:59:59.999999+00'::timestamptz ELSE pg_temp.moment(n, 55) END,
       CASE WHEN n % 6 > 0 THEN 100001 + pg_temp.dice(n, 56, sizes.bookings) END, 1 + pg_temp.dice(n, 57, sizes.users),
       (ARRAY['Olá! Is the flat still free?', 'Where do we pick up the keys?', E'Line one\nLine two\n\n', E'\\.', E'\\N',
              'The Wi-Fi password is "hunter2"', 'Danke schön, bis morgen 🌞', E'tab\there, quote '' there, \\ everywhere',
              '家の鍵はどこですか?', 'No.'])[1 + pg_temp.dice(n, 58, 10)] || CASE WHEN n % 4 = 0 THEN ' #' || n ELSE '' END,
       CASE WHEN n % 3 > 0 THEN pg_temp.moment(n, 55) + interval '17 minutes' END,
       CASE WHEN n % 30 = 0 THEN ARRAY['photo ' || n || '.jpg'] END
FROM sizes, generate_series(1, sizes.messages) AS n;
SELECT setval('casa.messages_id_seq', sizes.messages + 5) FROM sizes;

INSERT INTO casa.events (id, kind, occurred_at, user_id, listing_id, client, payload)
SELECT n, (ARRAY['view', 'view', 'view', 'view', 'search', 'search', 'filter', 'book', 'cancel', 'login', 'share'])
              [1 + pg_temp.dice(n, 60, 11)],
       pg_temp.moment(n, 61), CASE WHEN n % 5 > 0 THEN 1 + pg_temp.dice(n, 62, sizes.users) END,
       CASE WHEN n % 2 = 0 THEN 1 + pg_temp.dice(n, 63, sizes.listings) END,
       CASE WHEN n % 4 > 0 THEN '192.0.2.0'::inet + n % 256 END,
       CASE WHEN n % 3 > 0 THEN jsonb_build_object('page', n % 40, 'ms', pg_temp.dice(n, 64, 9000) / 10.0) END
FROM sizes, generate_series(1, sizes.events) AS n;

-- Papers: every eighth scan is larger than a page and lives out of line -----------------------------------------------

INSERT INTO casa.documents (owner_id, title, scan, meta, created_at, language)
SELECT 1 + pg_temp.dice(n, 70, sizes.users), 'House rules ' || n, CASE WHEN n % 8 = 0 THEN
           decode(repeat(md5('scan' || n) || md5('page' || n), 300), 'hex') END,
       CASE WHEN n % 2 = 0 THEN '{ "pages" : 3 }'::json END, pg_temp.moment(n, 71), CASE WHEN n % 3 > 0 THEN 'fr' END
FROM sizes, generate_series(1, sizes.documents) AS n;

INSERT INTO casa.contracts (owner_id, title, scan, created_at, booking_id, signed_on, terms)
SELECT 1 + pg_temp.dice(n, 72, sizes.users), 'Contract ' || n, decode(repeat(md5('contract' || n), 20), 'hex'),
       pg_temp.moment(n, 73), CASE WHEN n % 2 = 0 THEN 100001 + pg_temp.dice(n, 74, sizes.bookings) END,
       CASE WHEN n % 9 > 0 THEN '2024-02-29'::date END, repeat('The guest agrees to leave the place as it was. ', 5)
FROM sizes, generate_series(1, sizes.documents * 2) AS n;

INSERT INTO casa.identity_papers (owner_id, title, created_at, language, country, number, expires)
SELECT 1 + pg_temp.dice(n, 75, sizes.users), 'Passport', pg_temp.moment(n, 76), NULL,
       (ARRAY['PT', 'FR', 'DE', 'JP'])[1 + pg_temp.dice(n, 77, 4)], upper(substr(md5('paper' || n), 1, 9)),
       CASE WHEN n % 10 = 0 THEN 'infinity'::date ELSE '2026-01-01'::date + (n % 3000)::integer END
FROM sizes, generate_series(1, sizes.documents * 2) AS n;

-- Operations ----------------------------------------------------------------------------------------------------------

INSERT INTO casa.support_tickets (user_id, subject, first_answer, network, steps)
SELECT CASE WHEN n % 4 > 0 THEN 1 + pg_temp.dice(n, 80, sizes.users) END, 'Refund of ' || n || ' €',
       CASE WHEN n % 5 > 0 THEN n * interval '3 minutes' END, CASE WHEN n % 3 = 0 THEN '198.51.100.0/24'::cidr END,
       CASE WHEN n % 2 = 0 THEN ARRAY['{"by": "bot"}'::jsonb, NULL, to_jsonb(n)] END
FROM sizes, generate_series(1, sizes.few / 5) AS n;

INSERT INTO casa.audit_log (happened_at, relation, key, before, after)
SELECT pg_temp.moment(n, 82), (ARRAY['casa.listings', 'casa.bookings'])[1 + n % 2], n::text,
       CASE WHEN n % 3 > 0 THEN jsonb_build_object('price', n % 300) END, jsonb_build_object('price', n % 310)
FROM sizes, generate_series(1, sizes.few) AS n;

INSERT INTO casa.exchange_rates (day, currency, rate)
SELECT '2023-01-01'::date + n, currency,
       CASE WHEN n % 97 = 0 THEN 'NaN'::numeric WHEN n % 89 = 0 THEN NULL WHEN n % 83 = 0 THEN 'Infinity'::numeric
            ELSE (0.5 + pg_temp.dice(n, 83 + k::integer, 1000000) / 700000.0)::numeric(20, 12) END
FROM generate_series(0, 880) AS n, unnest(ARRAY['GBP', 'CHF', 'JPY', 'PLN']) WITH ORDINALITY AS rate (currency, k);

INSERT INTO casa.heartbeats SELECT FROM generate_series(1, 12);

INSERT INTO casa.legacy_imports (line, imported_on, source)
SELECT CASE WHEN n % 6 > 0 THEN 'row;' || n || ';"quoted; text"' END, '0001-01-01 BC'::date + n::integer,
       (ARRAY['csv', 'fax'])[1 + n % 2]
FROM sizes, generate_series(1, sizes.few / 10) AS n;

INSERT INTO public.schema_migrations (version, name, applied_at)
SELECT 20230101000000 + n * 10000, 'change ' || n, '2023-01-01 09:00+00'::timestamptz + n * interval '9 days'
FROM generate_series(1, 96) AS n;

-- Billing -------------------------------------------------------------------------------------------------------------

INSERT INTO billing.invoices (booking_id, issued_on, net, vat_percent, billed_to)
SELECT b.id, upper(b.stay), b.total, (ARRAY[6, 13, 23, NULL])[1 + pg_temp.dice(b.id, 90, 4)],
       CASE WHEN b.id % 3 > 0 THEN u.home END
FROM casa.bookings AS b JOIN casa.users AS u ON u.id = b.guest_id
WHERE b.status IN ('confirmed', 'completed', 'no show')
ORDER BY b.id;

INSERT INTO billing.invoice_lines (invoice_number, line, label, quantity, unit_price)
SELECT i.number, k, CASE k WHEN 1 THEN 'Nights' ELSE 'Cleaning' END, CASE k WHEN 1 THEN 2.50 ELSE 1 END, i.net / (k + 1)
FROM billing.invoices AS i, generate_series(1, 1 + (i.number / 7) % 2) AS k;

INSERT INTO billing.payments (invoice_number, method, amount, reference, paid_at, receipt, payer_ip)
SELECT i.number, (ARRAY['card', 'card', 'card', 'transfer', 'direct debit', 'voucher'])
           [1 + pg_temp.dice(i.number, 91, 6)]::billing.payment_method,
       i.gross, md5('payment' || i.number)::uuid,
       i.issued_on::timestamptz + pg_temp.dice(i.number, 92, 86400) * interval '1 second',
       CASE WHEN i.number % 5 > 0 THEN jsonb_build_object('last4', lpad((i.number % 10000)::text, 4, '0')) END,
       CASE WHEN i.number % 3 > 0 THEN '203.0.113.0'::inet + i.number % 256 END
FROM billing.invoices AS i
WHERE i.number % 16 > 0
ORDER BY i.number;

INSERT INTO billing.refunds (payment_id, amount, reason, refunded_at)
SELECT p.id, round(p.amount / 2, 2), CASE WHEN p.id % 2 = 0 THEN 'Cancelled in time' END, p.paid_at + interval '4 days'
FROM billing.payments AS p
WHERE p.id % 25 = 0;

INSERT INTO billing.payouts (host_id, period, amount, sent_at)
SELECT 2 * n, daterange(month::date, (month + interval '1 month')::date), (pg_temp.dice(n * 40 + k, 93, 400000) / 100.0)::money,
       CASE WHEN k < 12 THEN month + interval '1 month 4 days' END
FROM sizes, generate_series(1, sizes.hosts) AS n, generate_series(9, 12) AS k,
     LATERAL (SELECT '2024-01-01 00:00+00'::timestamptz + (k - 1) * interval '1 month') AS m (month);

-- Odd names -----------------------------------------------------------------------------------------------------------

INSERT INTO "Odd Names"."Order" ("select", "UPPER", "camelCase")
SELECT 'order ' || n, NULLIF(n % 5, 0), (ARRAY[true, false, NULL])[1 + n % 3] FROM generate_series(1, 250) AS n;
INSERT INTO "Odd Names"."select" VALUES (1, 'where', 'public'), (2, 'group by', NULL), (3, NULL, 'current_user');
INSERT INTO "Odd Names"."with space" VALUES (1, 2, ' spaces around '), (NULL, NULL, NULL);
INSERT INTO "Odd Names"."quo""te" VALUES ('it''s', 'say "hi"', E'C:\\new\\table'), ('', '', ''), (NULL, NULL, NULL);
INSERT INTO "Odd Names"."dot.ted" VALUES (1, 2, 3), (4, 5, 6);
INSERT INTO "Odd Names"."50% off; --" VALUES ('100%', 1, '{}', 2), ('%s %% %(x)s', NULL, '{0}', NULL);
INSERT INTO "Odd Names"."ünïcödé 家 🏠" VALUES ('Hauptstraße 1', 12.5, 't'), ('東京', NULL, NULL);
INSERT INTO "Odd Names".a_name_of_sixty_three_bytes_which_is_as_long_as_names_may_be_ok
    (a_column_of_sixty_three_bytes_which_is_as_long_as_names_may_be1) VALUES ('long'), (repeat('longer ', 3000));
INSERT INTO "Odd Names"."Empty Parent" SELECT generate_series(1, 10);

-- Sequences that stand alone: one called, one set but not called, one that counts down, one untouched ------------------

SELECT setval('casa.countdown', -42, true), setval('"Odd Names"."Sequence.with ""everything"""', 7, false);

DROP TABLE sizes;
DROP FUNCTION pg_temp.dice(bigint, integer, bigint), pg_temp.first_name(bigint), pg_temp.last_name(bigint),
    pg_temp.moment(bigint, integer);
