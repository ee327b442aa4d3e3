-- Executions of observing templates, and the sets of frames that recipes are run on.

CREATE TABLE template (
    id          INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE,                       -- arm | template start | template id
    arm         TEXT    NOT NULL CHECK (arm IN ('VIS', 'NIR', 'ACQ')),
    tpl_id      TEXT    NOT NULL,
    start_us    INTEGER NOT NULL,
    nexp        INTEGER NOT NULL CHECK (nexp >= 1),
    seen        INTEGER NOT NULL DEFAULT 0 CHECK (seen >= 0),  -- distinct exposure numbers seen
    touched_us  INTEGER NOT NULL,                              -- when its last frame was taken in
    closed      INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),
    closed_why  TEXT    NOT NULL DEFAULT '',
    CHECK (closed = 0 OR closed_why <> '')
) STRICT;

CREATE INDEX template_open ON template (arm, start_us) WHERE closed = 0;
CREATE INDEX template_start ON template (arm, start_us);

CREATE TABLE frame_set (
    id          INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE,
    template_id INTEGER NOT NULL REFERENCES template (id),
    recipe      TEXT    NOT NULL,
    arm         TEXT    NOT NULL CHECK (arm IN ('VIS', 'NIR', 'ACQ')),
    night       TEXT    NOT NULL,
    name        TEXT    NOT NULL,                              -- stem of its SOF and products
    object      TEXT    NOT NULL,
    keys        TEXT    NOT NULL CHECK (json_valid(keys)),     -- what all its frames share
    n_frames    INTEGER NOT NULL DEFAULT 0 CHECK (n_frames >= 0),
    content     TEXT    NOT NULL DEFAULT '',                   -- digest of its members' digests
    mjd_first   REAL    NOT NULL DEFAULT 0,
    mjd_last    REAL    NOT NULL DEFAULT 0,
    -- open: waits for the rest of its template. complete. partial: closed with fewer frames than planned, still usable.
    -- short: closed with fewer than the recipe's minimum. empty: its frames moved elsewhere.
    state       TEXT    NOT NULL CHECK (state IN ('open', 'complete', 'partial', 'short', 'empty')),
    why         TEXT    NOT NULL DEFAULT '',
    changed_us  INTEGER NOT NULL,
    dirty       INTEGER NOT NULL DEFAULT 1 CHECK (dirty >= 0),      -- reasons to plan it again since it was last planned
    CHECK (state NOT IN ('partial', 'short') OR why <> '')
) STRICT;

CREATE INDEX frame_set_dirty ON frame_set (id) WHERE dirty > 0;
CREATE INDEX frame_set_state ON frame_set (state, mjd_first);
CREATE INDEX frame_set_name ON frame_set (name);
CREATE INDEX frame_set_template ON frame_set (template_id);
CREATE INDEX frame_set_night ON frame_set (night, mjd_first);
CREATE INDEX frame_set_recipe ON frame_set (recipe, arm, mjd_first);

CREATE TABLE set_member (
    frame_id INTEGER PRIMARY KEY REFERENCES frame (id),        -- a frame belongs to one set
    set_id   INTEGER NOT NULL REFERENCES frame_set (id)
) STRICT;

CREATE INDEX set_member_set ON set_member (set_id);

-- Every frame of a template, also those that no recipe consumes (lamp-off partners): completeness counts them all.
CREATE TABLE template_member (
    frame_id    INTEGER PRIMARY KEY REFERENCES frame (id),
    template_id INTEGER NOT NULL REFERENCES template (id),
    expno       INTEGER NOT NULL
) STRICT;

CREATE INDEX template_member_template ON template_member (template_id);
