-- 03:02 at night. A clean-up script that was meant for the copy runs against production.
CREATE TEMPORARY TABLE damage_report (line integer GENERATED ALWAYS AS IDENTITY, sentence text NOT NULL);

-- 1. "Nobody uses this table any more."
INSERT INTO damage_report (sentence)
SELECT format('Dropped billing.payments with its %s rows, the key of billing.refunds, billing.unpaid_invoices and the '
              'three revenue views in analytics.', count(*))
FROM billing.payments;

DROP TABLE billing.payments CASCADE;

-- 2. The WHERE was in the next line.
WITH wrong AS (
    UPDATE casa.listings SET nightly_price = 1.00 RETURNING id
)
INSERT INTO damage_report (sentence)
SELECT format('Set the price of all %s homes in casa.listings to 1.00 a night.', count(*)) FROM wrong;

-- 3. "Only the bad reviews, please." They were the ones to keep.
WITH wrong AS (
    DELETE FROM casa.reviews WHERE rating >= 3 RETURNING id
)
INSERT INTO damage_report (sentence)
SELECT format('Deleted the %s reviews in casa.reviews that have three stars or more.', count(*)) FROM wrong;

SELECT sentence FROM damage_report ORDER BY line;
