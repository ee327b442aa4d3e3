-- What operators did, and which process kept the catalogue when.

CREATE TABLE operator_act (
    id     INTEGER PRIMARY KEY,
    at_us  INTEGER NOT NULL,
    who    TEXT    NOT NULL CHECK (who <> ''),
    act    TEXT    NOT NULL CHECK (act IN ('retry', 'hold', 'release', 'reprocess', 'reject', 'accept')),
    target TEXT    NOT NULL,
    why    TEXT    NOT NULL,
    result TEXT    NOT NULL
) STRICT;

CREATE TABLE boot (
    id         TEXT    PRIMARY KEY,
    started_us INTEGER NOT NULL,
    version    TEXT    NOT NULL,
    pid        INTEGER NOT NULL
) STRICT;

-- Facts about the running process that commands show: paused and why, last scan, disk.
CREATE TABLE health_fact (
    name  TEXT    PRIMARY KEY,
    value TEXT    NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;
