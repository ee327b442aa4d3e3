-- Sets that are made of what other sets gave: the spectra of both arms to one.

-- The set beside which this one is made; NULL for a set of frames of its own.
ALTER TABLE frame_set ADD COLUMN follows INTEGER REFERENCES frame_set (id);
CREATE INDEX frame_set_follows ON frame_set (follows) WHERE follows IS NOT NULL;

-- A product may be of both arms (JNT). SQLite cannot change a check, so the table is made anew; what refers to it is looked
-- at when this migration ends.
PRAGMA defer_foreign_keys = ON;
DROP VIEW file_account;
DROP VIEW set_account;
CREATE TABLE product_before AS SELECT * FROM product;
DROP TABLE product;
CREATE TABLE product (
    id          INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL REFERENCES job (id),
    set_id      INTEGER NOT NULL REFERENCES frame_set (id),
    catg        TEXT    NOT NULL,                                    -- PRO CATG with the arm: MASTER_BIAS_VIS
    arm         TEXT    NOT NULL CHECK (arm IN ('VIS', 'NIR', 'ACQ', 'JNT')),
    night       TEXT    NOT NULL,
    name        TEXT    NOT NULL,                                    -- file name in the tree of products
    folder      TEXT    NOT NULL,                                    -- <night>/<recipe>, below the root of products
    archive_name TEXT   NOT NULL UNIQUE,                             -- unique for all time
    revision    INTEGER NOT NULL CHECK (revision >= 1),
    sha256      TEXT    NOT NULL CHECK (length(sha256) = 64),
    md5         TEXT    NOT NULL CHECK (length(md5) = 32),
    crc32       INTEGER NOT NULL,
    crc32c      INTEGER NOT NULL,
    size        INTEGER NOT NULL CHECK (size > 0),
    keys        TEXT    NOT NULL CHECK (json_valid(keys)),           -- what later sets match on
    mjd         REAL    NOT NULL,                                    -- of its last raw frame: it is not known earlier
    verdict     TEXT    NOT NULL CHECK (verdict IN ('pass', 'warn', 'fail')),
    -- current; stale: an input changed, a new one is being made; superseded by a newer revision; bad: an operator said so
    state       TEXT    NOT NULL CHECK (state IN ('current', 'stale', 'superseded', 'bad')),
    state_why   TEXT    NOT NULL DEFAULT '',
    n_combined  INTEGER NOT NULL,
    created_us  INTEGER NOT NULL,
    -- What the file claims to be (PRODCATG); empty: no Phase 3 file.
    prodcatg    TEXT    NOT NULL DEFAULT '',
    -- What the validator objected to before the file was offered to any archive: JSON, one text a breach.
    findings    TEXT    NOT NULL DEFAULT '[]',
    UNIQUE (folder, name, revision),
    CHECK (state = 'current' OR state_why <> '')
) STRICT;
INSERT INTO product SELECT * FROM product_before;
DROP TABLE product_before;

CREATE UNIQUE INDEX product_one_current ON product (folder, name) WHERE state IN ('current', 'bad');
CREATE INDEX product_catg ON product (catg, mjd);
CREATE INDEX product_name ON product (name);
CREATE INDEX product_night ON product (night, created_us);
CREATE INDEX product_state ON product (state, verdict);
CREATE INDEX product_job ON product (job_id);
CREATE INDEX product_set ON product (set_id);
CREATE INDEX product_sha ON product (sha256);

-- The views, as they were.

CREATE VIEW file_account AS
SELECT f.id, f.path, f.name, f.size, f.state, f.code, f.reason, f.first_seen_us, f.looked_us,
       fr.id AS frame_id, fr.data_id, fr.arm,
       coalesce(v.night,
                date(CASE WHEN f.name GLOB 'SOXS.[12][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'
                          THEN substr(f.name, 6, 19) END, '-15 hours'),
                date(f.first_seen_us / 1000000, 'unixepoch', '-15 hours')) AS night,
       v.id AS version_id, v.version, v.kind, v.usage, v.usage_reason, v.recipe, v.exptime, v.object, v.date_obs_us,
       s.id AS set_id, s.name AS set_name, s.state AS set_state, j.id AS job_id, j.state AS job_state,
       CASE
           WHEN f.state <> 'accepted' THEN f.state
           WHEN v.usage = 'ignore' THEN 'ignored'
           WHEN v.usage = 'register' THEN 'registered'
           WHEN s.id IS NULL THEN 'pending'
           WHEN s.state = 'short' THEN 'unreduced'
           WHEN s.state = 'open' OR j.id IS NULL THEN 'pending'
           WHEN j.state = 'unsupported' OR (j.state = 'parked' AND j.class = 'missing') THEN 'unreduced'
           WHEN j.state IN ('parked', 'failed') THEN 'failed'
           WHEN j.state NOT IN ('done', 'flagged') OR i.job_id IS NULL THEN 'pending'
           WHEN i.used = 0 THEN 'unreduced'
           WHEN j.state = 'flagged' THEN 'flagged'
           WHEN s.state = 'partial' THEN 'partial'
           ELSE 'reduced'
       END AS outcome,
       CASE
           WHEN f.state <> 'accepted' THEN f.reason
           WHEN v.usage <> 'reduce' THEN v.usage_reason
           WHEN s.id IS NULL THEN 'association has not put it into a set yet'
           WHEN s.state = 'short' THEN s.why
           WHEN s.state = 'open' THEN coalesce(nullif(s.why, ''), 'waits for the rest of its template')
           WHEN j.id IS NULL THEN 'its set has no job yet'
           WHEN j.state = 'waiting' THEN 'waits for ' || j.waits_for
           WHEN j.state = 'ready' THEN coalesce(nullif(j.error, ''), 'ready to run')
           WHEN j.state = 'running' THEN 'its recipe is running'
           WHEN j.state = 'held' THEN 'held by an operator'
           WHEN j.state IN ('parked', 'failed', 'unsupported') THEN j.error
           WHEN i.job_id IS NULL THEN 'its set is to be reduced again with it'
           WHEN i.used = 0 THEN 'left out by the recipe: ' || i.remark
           WHEN j.state = 'flagged' THEN coalesce(nullif(j.error, ''), 'a metric is out of range')
           WHEN s.state = 'partial' THEN s.why
           ELSE ''
       END AS outcome_why,
       -- Stored in every archive that it was queued for, by their own records.
       coalesce(f.state = 'accepted' AND i.used = 1 AND j.state IN ('done', 'flagged')
           AND EXISTS (SELECT 1 FROM product p JOIN delivery d ON d.product_id = p.id
                       WHERE p.set_id = s.id AND p.state = 'current')
           AND NOT EXISTS (SELECT 1 FROM product p JOIN delivery d ON d.product_id = p.id
                           WHERE p.set_id = s.id AND p.state = 'current' AND d.state <> 'confirmed'), 0) AS delivered
FROM file f
LEFT JOIN frame_version v ON v.id = f.version_id
LEFT JOIN frame fr ON fr.id = v.frame_id
LEFT JOIN set_member m ON m.frame_id = fr.id AND f.state = 'accepted'
LEFT JOIN frame_set s ON s.id = m.set_id
LEFT JOIN job j ON j.id = (SELECT max(id) FROM job WHERE set_id = s.id AND state <> 'superseded')
LEFT JOIN job_input i ON i.version_id = v.id AND i.job_id = j.id;

-- Every set with its template and its present job.
CREATE VIEW set_account AS
SELECT s.id, s.name, s.key, s.recipe, s.arm, s.night, s.object, s.keys, s.n_frames, s.state, s.why, s.mjd_first, s.mjd_last,
       s.changed_us, s.dirty > 0 AS to_plan,
       t.id AS template_id, t.tpl_id, t.start_us AS template_start_us, t.nexp AS n_planned, t.seen AS n_seen,
       t.closed AS template_closed, t.closed_why AS template_closed_why,
       j.id AS job_id, j.state AS job_state, j.waits_for, j.deadline_us, j.class AS job_class, j.error AS job_error,
       (SELECT count(*) FROM product p WHERE p.set_id = s.id AND p.state = 'current') AS n_products
FROM frame_set s
JOIN template t ON t.id = s.template_id
LEFT JOIN job j ON j.id = (SELECT max(id) FROM job WHERE set_id = s.id AND state <> 'superseded');
