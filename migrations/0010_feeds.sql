-- What goes out to people: nights that are closed for the quality monitor, and alerts with their messages.

-- A night without a row is open. closed: nothing of it waits, it is to be published. published: what it was then is out.
-- reopened: an operator took it back into work; it stays out as it was until he closes it again.
CREATE TABLE monitor_night (
    night        TEXT    PRIMARY KEY,
    state        TEXT    NOT NULL CHECK (state IN ('closed', 'published', 'reopened')),
    revision     INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0), -- how often it was published
    why          TEXT    NOT NULL CHECK (why <> ''),
    error        TEXT    NOT NULL DEFAULT '',                      -- why it could not be published
    metrics      INTEGER NOT NULL DEFAULT 0,                       -- rows that the monitor sees
    files        INTEGER NOT NULL DEFAULT 0,                       -- products in its tree
    changed_us   INTEGER NOT NULL,
    published_us INTEGER,
    CHECK (state <> 'published' OR published_us IS NOT NULL)
) STRICT;

-- The list of acts grows; nothing refers to this table.
CREATE TABLE operator_act_before AS SELECT id, at_us, who, act, target, why, result FROM operator_act;
DROP TABLE operator_act;
CREATE TABLE operator_act (
    id     INTEGER PRIMARY KEY,
    at_us  INTEGER NOT NULL,
    who    TEXT    NOT NULL CHECK (who <> ''),
    act    TEXT    NOT NULL CHECK (act IN ('retry', 'hold', 'release', 'reprocess', 'reject', 'accept', 'withdraw', 'close', 'reopen')),
    target TEXT    NOT NULL,
    why    TEXT    NOT NULL,
    result TEXT    NOT NULL
) STRICT;
INSERT INTO operator_act SELECT id, at_us, who, act, target, why, result FROM operator_act_before;
DROP TABLE operator_act_before;

-- Something that a person should know of, from the moment it was seen until it is over.
CREATE TABLE alert (
    id         INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL,                                   -- the same trouble has the same key
    kind       TEXT    NOT NULL CHECK (kind IN ('keep_up', 'delivery', 'monitor', 'qc', 'calibration', 'disk', 'daemon')),
    severity   TEXT    NOT NULL CHECK (severity IN ('warning', 'error')),
    text       TEXT    NOT NULL CHECK (text <> ''),
    hint       TEXT    NOT NULL DEFAULT '',
    raised_us  INTEGER NOT NULL,
    seen_us    INTEGER NOT NULL,                                   -- when it was last found to be so
    cleared_us INTEGER
) STRICT;

CREATE UNIQUE INDEX alert_one_open ON alert (key) WHERE cleared_us IS NULL;
CREATE INDEX alert_raised ON alert (raised_us);

-- What is to be said of an alert, to whom, and whether it was. `sending` before an act whose outcome is not known yet.
CREATE TABLE alert_message (
    id            INTEGER PRIMARY KEY,
    alert_id      INTEGER NOT NULL REFERENCES alert (id),
    sink          TEXT    NOT NULL,
    what          TEXT    NOT NULL CHECK (what IN ('raised', 'worse', 'reminder', 'cleared')),
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'dropped')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    not_before_us INTEGER NOT NULL,
    error         TEXT    NOT NULL DEFAULT '',
    created_us    INTEGER NOT NULL,
    sent_us       INTEGER,
    CHECK ((state = 'sent') = (sent_us IS NOT NULL))
) STRICT;

CREATE INDEX alert_message_due ON alert_message (sink, not_before_us) WHERE state IN ('queued', 'sending');
CREATE INDEX alert_message_alert ON alert_message (alert_id, id);
