-- Keys, checks and indexes, once the rows are in.

-- Primary keys and unique keys ----------------------------------------------------------------------------------------

ALTER TABLE casa.countries ADD PRIMARY KEY (code);
ALTER TABLE casa.cities ADD PRIMARY KEY (id), ADD CONSTRAINT "one name per country" UNIQUE (country, name);
ALTER TABLE casa.users ADD PRIMARY KEY (id), ADD UNIQUE (public_id), ADD CONSTRAINT users_email_once UNIQUE (email_key);
ALTER TABLE casa.hosts ADD PRIMARY KEY (user_id);
ALTER TABLE casa.user_secrets ADD PRIMARY KEY (user_id);
ALTER TABLE casa.private_notes ADD PRIMARY KEY (id);
ALTER TABLE casa.sessions ADD PRIMARY KEY (token);
ALTER TABLE casa.listings ADD PRIMARY KEY (id), ADD CONSTRAINT listings_slug_once UNIQUE (slug);
ALTER TABLE casa.photos ADD PRIMARY KEY (id),
    ADD CONSTRAINT photos_position UNIQUE (listing_id, position) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE casa.favourites ADD PRIMARY KEY (user_id, listing_id) INCLUDE (added_on);
ALTER TABLE casa.bookings ADD PRIMARY KEY (id);
ALTER TABLE casa.booking_guests ADD PRIMARY KEY (booking_id, position);
ALTER TABLE casa.coupons ADD PRIMARY KEY (code);
ALTER TABLE casa.reviews ADD PRIMARY KEY (id), ADD UNIQUE (booking_id);
ALTER TABLE casa.waiting_list ADD PRIMARY KEY (id);
ALTER TABLE casa.messages ADD PRIMARY KEY (id, sent_at);
ALTER TABLE casa.documents ADD PRIMARY KEY (id);
ALTER TABLE casa.contracts ADD PRIMARY KEY (id);
ALTER TABLE casa.identity_papers ADD PRIMARY KEY (id);
ALTER TABLE casa.support_tickets ADD PRIMARY KEY (number);
ALTER TABLE casa.audit_log ADD PRIMARY KEY (id);
ALTER TABLE casa.exchange_rates ADD PRIMARY KEY (currency, day);
ALTER TABLE casa.legacy_imports ADD PRIMARY KEY (id);
ALTER TABLE public.schema_migrations ADD PRIMARY KEY (version);
ALTER TABLE billing.invoices ADD PRIMARY KEY (number);
ALTER TABLE billing.invoice_lines ADD PRIMARY KEY (invoice_number, line);
ALTER TABLE billing.payments ADD PRIMARY KEY (id), ADD UNIQUE (reference);
ALTER TABLE billing.refunds ADD PRIMARY KEY (payment_id);
ALTER TABLE billing.payouts ADD PRIMARY KEY (id);
ALTER TABLE "Odd Names"."Order" ADD CONSTRAINT "Order's ""key""" PRIMARY KEY ("Order");
ALTER TABLE "Odd Names"."Empty Parent" ADD PRIMARY KEY ("key");

-- Checks and exclusions -----------------------------------------------------------------------------------------------

ALTER TABLE casa.bookings
    ADD CONSTRAINT bookings_never_overlap EXCLUDE USING gist
        (int4range(listing_id, listing_id, '[]') WITH =, stay WITH &&) WHERE (status = 'confirmed'),
    ADD CONSTRAINT at_least_one_guest CHECK (guests > 0),
    ADD CONSTRAINT cancelled_has_a_time CHECK (status <> 'cancelled' OR cancelled_at IS NOT NULL);
ALTER TABLE casa.reviews ADD CONSTRAINT rating_from_1_to_5 CHECK (rating BETWEEN 1 AND 5);
ALTER TABLE casa.listings ADD CONSTRAINT slug_is_the_title CHECK (slug = casa.slugify(title));
-- Old rows break it: the constraint holds for new ones only.
ALTER TABLE casa.legacy_imports ADD CONSTRAINT line_is_known CHECK (line IS NOT NULL) NOT VALID;

COMMENT ON CONSTRAINT bookings_never_overlap ON casa.bookings IS 'A range of one listing stands in for btree_gist';

-- Foreign keys --------------------------------------------------------------------------------------------------------

ALTER TABLE casa.cities ADD FOREIGN KEY (country) REFERENCES casa.countries;
ALTER TABLE casa.users ADD FOREIGN KEY (referred_by) REFERENCES casa.users ON DELETE SET NULL;
ALTER TABLE casa.hosts ADD FOREIGN KEY (user_id) REFERENCES casa.users;
ALTER TABLE casa.user_secrets ADD FOREIGN KEY (user_id) REFERENCES casa.users ON DELETE CASCADE;
ALTER TABLE casa.private_notes ADD FOREIGN KEY (author_id) REFERENCES casa.hosts;
ALTER TABLE casa.sessions ADD FOREIGN KEY (user_id) REFERENCES casa.users ON DELETE CASCADE;
ALTER TABLE casa.listings
    ADD FOREIGN KEY (host_id) REFERENCES casa.hosts,
    ADD FOREIGN KEY (city_id) REFERENCES casa.cities,
    ADD CONSTRAINT listings_cover FOREIGN KEY (cover_photo_id) REFERENCES casa.photos ON DELETE SET NULL
        DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE casa.photos ADD CONSTRAINT photos_listing FOREIGN KEY (listing_id) REFERENCES casa.listings ON DELETE CASCADE
    DEFERRABLE INITIALLY IMMEDIATE;
COMMENT ON CONSTRAINT listings_cover ON casa.listings IS 'Circle: a photo has a listing, a listing has a cover photo';
ALTER TABLE casa.closures ADD FOREIGN KEY (listing_id) REFERENCES casa.listings;
ALTER TABLE casa.favourites
    ADD FOREIGN KEY (user_id) REFERENCES casa.users, ADD FOREIGN KEY (listing_id) REFERENCES casa.listings;
ALTER TABLE casa.bookings
    ADD FOREIGN KEY (listing_id) REFERENCES casa.listings, ADD FOREIGN KEY (guest_id) REFERENCES casa.users,
    ADD CONSTRAINT bookings_coupon FOREIGN KEY (coupon) REFERENCES casa.coupons ON UPDATE CASCADE;
ALTER TABLE casa.booking_guests ADD FOREIGN KEY (booking_id) REFERENCES casa.bookings ON DELETE CASCADE;
ALTER TABLE casa.reviews ADD FOREIGN KEY (booking_id) REFERENCES casa.bookings;
ALTER TABLE casa.waiting_list ADD FOREIGN KEY (user_id) REFERENCES casa.users;
ALTER TABLE casa.messages
    ADD FOREIGN KEY (sender_id) REFERENCES casa.users, ADD FOREIGN KEY (booking_id) REFERENCES casa.bookings;
ALTER TABLE casa.contracts ADD FOREIGN KEY (booking_id) REFERENCES casa.bookings;
ALTER TABLE billing.invoices ADD FOREIGN KEY (booking_id) REFERENCES casa.bookings;
ALTER TABLE billing.invoice_lines ADD FOREIGN KEY (invoice_number) REFERENCES billing.invoices ON DELETE CASCADE;
ALTER TABLE billing.payments ADD FOREIGN KEY (invoice_number) REFERENCES billing.invoices;
ALTER TABLE billing.refunds ADD FOREIGN KEY (payment_id) REFERENCES billing.payments;
ALTER TABLE billing.payouts ADD FOREIGN KEY (host_id) REFERENCES casa.hosts;

-- Indexes -------------------------------------------------------------------------------------------------------------

CREATE INDEX users_signup ON casa.users USING brin (created_at);
CREATE INDEX users_settings ON casa.users USING gin (settings jsonb_path_ops);
CREATE INDEX users_living ON casa.users (lower(full_name) text_pattern_ops) WHERE deleted_at IS NULL;
ALTER INDEX casa.users_living ALTER COLUMN 1 SET STATISTICS 300;
CREATE INDEX listings_city_price ON casa.listings (city_id, nightly_price DESC NULLS LAST) INCLUDE (title);
CREATE INDEX listings_amenities ON casa.listings USING gin (amenities);
CREATE INDEX listings_place ON casa.listings USING gist (location);
CREATE INDEX "Listings By Kind" ON casa.listings (kind) WITH (fillfactor = 70);
CREATE INDEX photos_digest ON casa.photos USING hash (digest);
CREATE INDEX bookings_guest ON casa.bookings (guest_id);
CREATE INDEX bookings_created ON casa.bookings (created_at);
CREATE INDEX reviews_words ON casa.reviews USING gin (words);
CREATE INDEX messages_sender ON casa.messages (sender_id, sent_at);
CREATE INDEX messages_2025_unread ON casa.messages_2025 (sent_at) WHERE read_at IS NULL;
CREATE INDEX events_when ON casa.events USING brin (occurred_at);
CREATE INDEX events_view_listing ON casa.events_view (listing_id);
CREATE INDEX lock_readings_time ON casa.lock_readings (listing_id, read_at);
CREATE INDEX payments_invoice ON billing.payments (invoice_number);
CREATE INDEX payments_paid ON billing.payments (paid_at);
COMMENT ON INDEX casa.messages_2025_unread IS 'On one partition only';

CREATE STATISTICS casa.listing_place (dependencies, ndistinct) ON city_id, kind FROM casa.listings;
ALTER TABLE casa.listings CLUSTER ON listings_city_price;
ALTER TABLE casa.users REPLICA IDENTITY USING INDEX users_public_id_key;
ALTER TABLE casa.audit_log REPLICA IDENTITY FULL;
