-- What the console asks of a full catalogue, answered from indexes.

-- The night that a file belongs to: that of its frame, else the one that its name says, else that of its arrival. Kept in a
-- column, so that the files of a night are found without looking at all others.
ALTER TABLE file ADD COLUMN night TEXT NOT NULL DEFAULT '';

CREATE VIEW file_night AS
SELECT f.id,
       coalesce(v.night,
                date(CASE WHEN f.name GLOB 'SOXS.[12][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]*'
                          THEN substr(f.name, 6, 19) END, '-15 hours'),
                date(f.first_seen_us / 1000000, 'unixepoch', '-15 hours'), '') AS night
FROM file f
LEFT JOIN frame_version v ON v.id = f.version_id;

UPDATE file SET night = (SELECT n.night FROM file_night n WHERE n.id = file.id);

CREATE TRIGGER file_night_of_new AFTER INSERT ON file BEGIN
    UPDATE file SET night = (SELECT n.night FROM file_night n WHERE n.id = NEW.id) WHERE id = NEW.id;
END;
CREATE TRIGGER file_night_of_version AFTER UPDATE OF version_id ON file BEGIN
    UPDATE file SET night = (SELECT n.night FROM file_night n WHERE n.id = NEW.id) WHERE id = NEW.id;
END;

CREATE INDEX file_by_night ON file (night, id);

-- As before, with the night from its column.
DROP VIEW file_account;
CREATE VIEW file_account AS
SELECT f.id, f.path, f.name, f.size, f.state, f.code, f.reason, f.first_seen_us, f.looked_us,
       fr.id AS frame_id, fr.data_id, fr.arm,
       f.night,
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

-- The files behind the jobs, for going from a state of jobs to its files.
CREATE VIEW file_of_job AS
SELECT w.id AS file_id, j.state AS job_state
FROM job j
JOIN set_member m ON m.set_id = j.set_id
JOIN frame g ON g.id = m.frame_id
JOIN file w ON w.version_id = g.current_version;

-- A metric over time: by name and order, and what is out of range without reading the rows.
CREATE INDEX qc_trend ON qc (name, qc_order, at_us, verdict);
-- What is out of range, newest jobs first.
CREATE INDEX qc_verdict ON qc (verdict, job_id);
-- How long a recipe usually takes.
CREATE INDEX job_duration ON job (recipe, finished_us, started_us) WHERE state IN ('done', 'flagged');
-- Set-ups of the last nights, and the masters that there are of each.
CREATE INDEX frame_set_mjd ON frame_set (mjd_first);
CREATE INDEX product_setup ON product (catg, keys, mjd) WHERE state = 'current';
