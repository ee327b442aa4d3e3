-- The outbox: what goes to which archive or health monitor, and what the other side said of it.

CREATE TABLE delivery (
    id            INTEGER PRIMARY KEY,
    sink          TEXT    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('archive', 'health')),
    key           TEXT    NOT NULL,                       -- archive: name in the archive; health: job
    product_id    INTEGER REFERENCES product (id),
    job_id        INTEGER NOT NULL REFERENCES job (id),
    -- held: waits for an operator. queued. sending. unknown: sent, no answer. buffered: accepted, not stored yet.
    -- sent: answered, not read back yet. confirmed: the other side's own record agrees. parked: needs a person. cancelled.
    state         TEXT    NOT NULL CHECK (state IN ('held', 'queued', 'sending', 'unknown', 'buffered', 'sent', 'confirmed', 'parked', 'cancelled')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    not_before_us INTEGER NOT NULL DEFAULT 0,
    class         TEXT    NOT NULL DEFAULT '',
    error         TEXT    NOT NULL DEFAULT '',
    receipt       TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(receipt)), -- the other side's record
    created_us    INTEGER NOT NULL,
    confirmed_us  INTEGER,
    UNIQUE (sink, key),
    CHECK ((kind = 'archive') = (product_id IS NOT NULL)),
    CHECK ((state = 'confirmed') = (confirmed_us IS NOT NULL)),
    CHECK (state <> 'parked' OR error <> '')
) STRICT;

CREATE INDEX delivery_due ON delivery (sink, not_before_us) WHERE state IN ('queued', 'sending', 'unknown', 'buffered', 'sent');
CREATE INDEX delivery_state ON delivery (state);
CREATE INDEX delivery_sink_state ON delivery (sink, kind, state, created_us);
CREATE INDEX delivery_product ON delivery (product_id);
CREATE INDEX delivery_job ON delivery (job_id);

CREATE TABLE delivery_event (
    id          INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES delivery (id),
    at_us       INTEGER NOT NULL,
    from_state  TEXT    NOT NULL,
    to_state    TEXT    NOT NULL,
    why         TEXT    NOT NULL
) STRICT;

CREATE INDEX delivery_event_delivery ON delivery_event (delivery_id, id);
