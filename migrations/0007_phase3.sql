-- Science files for ESO's Phase 3, and the act that takes one back from the archive.

-- What the file claims to be (PRODCATG); empty: no Phase 3 file.
ALTER TABLE product ADD COLUMN prodcatg TEXT NOT NULL DEFAULT '';
-- What the validator objected to before the file was offered to any archive: JSON, one text a breach.
ALTER TABLE product ADD COLUMN findings TEXT NOT NULL DEFAULT '[]';

-- The list of acts grows; nothing refers to this table.
CREATE TABLE operator_act_before AS SELECT id, at_us, who, act, target, why, result FROM operator_act;
DROP TABLE operator_act;
CREATE TABLE operator_act (
    id     INTEGER PRIMARY KEY,
    at_us  INTEGER NOT NULL,
    who    TEXT    NOT NULL CHECK (who <> ''),
    act    TEXT    NOT NULL CHECK (act IN ('retry', 'hold', 'release', 'reprocess', 'reject', 'accept', 'withdraw')),
    target TEXT    NOT NULL,
    why    TEXT    NOT NULL,
    result TEXT    NOT NULL
) STRICT;
INSERT INTO operator_act SELECT id, at_us, who, act, target, why, result FROM operator_act_before;
DROP TABLE operator_act_before;
