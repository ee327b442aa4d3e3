-- Files below the raw roots, the frames they carry, and every version of a frame's content.
-- Times are microseconds since 1970 UTC. Nothing is ever deleted from these tables.

CREATE TABLE frame (
    id              INTEGER PRIMARY KEY,
    data_id         TEXT    NOT NULL CHECK (data_id <> ''),
    arm             TEXT    NOT NULL CHECK (arm IN ('VIS', 'NIR', 'ACQ')),
    current_version INTEGER REFERENCES frame_version (id) DEFERRABLE INITIALLY DEFERRED,
    first_seen_us   INTEGER NOT NULL,
    UNIQUE (data_id, arm)
) STRICT;

CREATE TABLE frame_version (
    id             INTEGER PRIMARY KEY,
    frame_id       INTEGER NOT NULL REFERENCES frame (id),
    version        INTEGER NOT NULL CHECK (version >= 1),
    digest         TEXT    NOT NULL UNIQUE CHECK (length(digest) = 64), -- sha256 of the uncompressed stream
    bytes          INTEGER NOT NULL CHECK (bytes > 0),
    night          TEXT    NOT NULL,                                     -- UT - 15 h: products and QC
    night_raw      TEXT    NOT NULL,                                     -- UT - 12 h: raw folders
    night_calendar TEXT    NOT NULL,                                     -- UT date: names in the quality monitor
    kind           TEXT    NOT NULL,
    usage          TEXT    NOT NULL CHECK (usage IN ('reduce', 'register', 'ignore')),
    usage_reason   TEXT    NOT NULL,
    recipe         TEXT,
    mjd_obs        REAL    NOT NULL,
    date_obs_us    INTEGER NOT NULL,
    exptime        REAL    NOT NULL CHECK (exptime >= 0),
    object         TEXT    NOT NULL,
    dpr_type       TEXT    NOT NULL,
    dpr_tech       TEXT    NOT NULL,
    meta           TEXT    NOT NULL CHECK (json_valid(meta)),            -- the typed description
    header         TEXT    NOT NULL CHECK (json_valid(header)),          -- every card
    taken_us       INTEGER NOT NULL,
    grouped        INTEGER NOT NULL DEFAULT 0 CHECK (grouped IN (0, 1)), -- has association seen it?
    UNIQUE (frame_id, version),
    CHECK (usage = 'reduce' OR usage_reason <> ''),
    CHECK (usage <> 'reduce' OR recipe IS NOT NULL)
) STRICT;

CREATE INDEX frame_version_ungrouped ON frame_version (id) WHERE grouped = 0;
CREATE INDEX frame_version_night ON frame_version (night, date_obs_us);
-- Counts by usage without touching the headers.
CREATE INDEX frame_version_usage ON frame_version (usage);
CREATE INDEX frame_current ON frame (current_version);

CREATE TABLE file (
    id            INTEGER PRIMARY KEY,
    path          TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    size          INTEGER NOT NULL CHECK (size >= 0),
    mtime_us      INTEGER NOT NULL,
    -- waiting: not complete yet. accepted: carries its frame's current content. duplicate: same content elsewhere.
    -- superseded: carries older content of its frame. quarantined: unusable, see reason. ignored: not a frame. gone: no longer there.
    state         TEXT    NOT NULL CHECK (state IN ('waiting', 'accepted', 'duplicate', 'superseded', 'quarantined', 'ignored', 'gone')),
    version_id    INTEGER REFERENCES frame_version (id),
    code          TEXT    NOT NULL DEFAULT '',
    reason        TEXT    NOT NULL DEFAULT '',
    first_seen_us INTEGER NOT NULL,
    changed_us    INTEGER NOT NULL,                                      -- when size or time were last seen to change
    looked_us     INTEGER NOT NULL,                                      -- when the state was last decided
    CHECK (state NOT IN ('accepted', 'duplicate', 'superseded') OR version_id IS NOT NULL),
    CHECK (state NOT IN ('quarantined', 'ignored') OR reason <> '')
) STRICT;

CREATE INDEX file_state ON file (state);
CREATE INDEX file_version ON file (version_id);
CREATE INDEX file_name ON file (name);
CREATE UNIQUE INDEX file_accepted_once ON file (version_id) WHERE state = 'accepted';

CREATE TABLE file_event (
    id      INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES file (id),
    at_us   INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    reason  TEXT    NOT NULL
) STRICT;

CREATE INDEX file_event_file ON file_event (file_id, id);
