-- One recipe on one content of one set, with its inputs, its candidates, its attempts and its results.

CREATE TABLE job (
    id             INTEGER PRIMARY KEY,
    set_id         INTEGER NOT NULL REFERENCES frame_set (id),
    recipe         TEXT    NOT NULL,
    recipe_version TEXT    NOT NULL,
    key            TEXT    NOT NULL UNIQUE CHECK (length(key) = 64), -- recipe, version, parameters, inputs
    parameters     TEXT    NOT NULL CHECK (json_valid(parameters)),
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'ready', 'running', 'done', 'flagged', 'parked', 'failed',
                                                     'unsupported', 'superseded', 'held')),
    priority       INTEGER NOT NULL,                                 -- lower runs first
    newest_mjd     REAL    NOT NULL,
    peak_bytes     INTEGER NOT NULL DEFAULT 0,
    attempts       INTEGER NOT NULL DEFAULT 0,
    crashes        INTEGER NOT NULL DEFAULT 0,
    not_before_us  INTEGER NOT NULL DEFAULT 0,
    deadline_us    INTEGER,                                          -- until when a waiting job waits
    boot_id        TEXT,
    waits_for      TEXT    NOT NULL DEFAULT '',
    level          INTEGER,                                          -- worst validity level of its masters, 0 is best
    class          TEXT    NOT NULL DEFAULT '',
    error          TEXT    NOT NULL DEFAULT '',
    remarks        TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(remarks)),
    log            TEXT    NOT NULL DEFAULT '',
    created_us     INTEGER NOT NULL,
    started_us     INTEGER,
    finished_us    INTEGER,
    CHECK (state <> 'running' OR boot_id IS NOT NULL),
    CHECK (state <> 'waiting' OR (waits_for <> '' AND deadline_us IS NOT NULL)),
    CHECK (state NOT IN ('parked', 'failed', 'unsupported') OR error <> '')
) STRICT;

CREATE UNIQUE INDEX job_one_live ON job (set_id) WHERE state IN ('waiting', 'ready', 'running', 'held');
CREATE INDEX job_ready ON job (priority, newest_mjd DESC) WHERE state = 'ready';
CREATE INDEX job_state ON job (state);
CREATE INDEX job_set ON job (set_id, id);

CREATE TABLE job_event (
    id         INTEGER PRIMARY KEY,
    job_id     INTEGER NOT NULL REFERENCES job (id),
    at_us      INTEGER NOT NULL,
    from_state TEXT    NOT NULL,
    to_state   TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    actor      TEXT    NOT NULL
) STRICT;

CREATE INDEX job_event_job ON job_event (job_id, id);

CREATE TABLE product (
    id          INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL REFERENCES job (id),
    set_id      INTEGER NOT NULL REFERENCES frame_set (id),
    catg        TEXT    NOT NULL,                                    -- PRO CATG with the arm: MASTER_BIAS_VIS
    arm         TEXT    NOT NULL CHECK (arm IN ('VIS', 'NIR', 'ACQ')),
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
    UNIQUE (folder, name, revision),
    CHECK (state = 'current' OR state_why <> '')
) STRICT;

CREATE UNIQUE INDEX product_one_current ON product (folder, name) WHERE state IN ('current', 'bad');
CREATE INDEX product_catg ON product (catg, mjd);
CREATE INDEX product_name ON product (name);
CREATE INDEX product_night ON product (night, created_us);
CREATE INDEX product_state ON product (state, verdict);
CREATE INDEX product_job ON product (job_id);
CREATE INDEX product_set ON product (set_id);
CREATE INDEX product_sha ON product (sha256);

CREATE TABLE job_input (
    job_id     INTEGER NOT NULL REFERENCES job (id),
    position   INTEGER NOT NULL CHECK (position >= 1),
    role       TEXT    NOT NULL CHECK (role IN ('raw', 'master')),
    version_id INTEGER REFERENCES frame_version (id),
    product_id INTEGER REFERENCES product (id),
    used       INTEGER NOT NULL DEFAULT 1 CHECK (used IN (0, 1)),
    remark     TEXT    NOT NULL DEFAULT '',                          -- why the recipe left it out
    PRIMARY KEY (job_id, role, position),
    CHECK ((role = 'raw') = (version_id IS NOT NULL)),
    CHECK ((role = 'master') = (product_id IS NOT NULL))
) STRICT;

CREATE INDEX job_input_product ON job_input (product_id) WHERE product_id IS NOT NULL;
CREATE INDEX job_input_version ON job_input (version_id) WHERE version_id IS NOT NULL;

CREATE TABLE candidate (
    job_id     INTEGER NOT NULL REFERENCES job (id),
    need       TEXT    NOT NULL,                                     -- PRO CATG that was looked for
    position   INTEGER NOT NULL CHECK (position >= 1),
    product_id INTEGER REFERENCES product (id),
    set_id     INTEGER NOT NULL REFERENCES frame_set (id),           -- the set that made it, or will
    verdict    TEXT    NOT NULL CHECK (verdict IN ('chosen', 'awaited', 'eligible', 'refused')),
    rule       TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    level      INTEGER,
    days       REAL    NOT NULL,                                     -- data minus candidate
    PRIMARY KEY (job_id, need, position)
) STRICT;

CREATE INDEX candidate_product ON candidate (product_id) WHERE product_id IS NOT NULL;

CREATE TABLE qc (
    id         INTEGER PRIMARY KEY,
    job_id     INTEGER NOT NULL REFERENCES job (id),
    recipe     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    qc_order   TEXT    NOT NULL DEFAULT '-1',
    value      REAL,
    absent     TEXT    NOT NULL DEFAULT '',                          -- why there is no value
    unit       TEXT    NOT NULL,
    comment    TEXT    NOT NULL,
    verdict    TEXT    NOT NULL CHECK (verdict IN ('pass', 'warn', 'fail')),
    min        REAL,
    max        REAL,
    at_us      INTEGER NOT NULL,                                     -- start of the set's first exposure
    made_us    INTEGER NOT NULL,
    UNIQUE (job_id, name, qc_order),
    CHECK ((value IS NULL) = (absent <> ''))
) STRICT;

CREATE INDEX qc_name ON qc (name, at_us);
