-- Take the chosen nights (temp.chosen_night) out of the snapshot and put them in as the catalogue (schema "soxsd") has them
-- now. Acquisition frames come in as the reference has them, ignored, and enter no set.

DELETE FROM quality_control WHERE sof_name IN (
    SELECT sof FROM raw_frame_sets WHERE "night start date" IN (SELECT night FROM temp.chosen_night));
DELETE FROM quality_control_absent WHERE sof_name IN (
    SELECT sof FROM raw_frame_sets WHERE "night start date" IN (SELECT night FROM temp.chosen_night));
DELETE FROM sof_map_base WHERE sof IN (
    SELECT sof FROM raw_frame_sets WHERE "night start date" IN (SELECT night FROM temp.chosen_night));
DELETE FROM product_frames WHERE "night start date" IN (SELECT night FROM temp.chosen_night);
DELETE FROM raw_frame_sets WHERE "night start date" IN (SELECT night FROM temp.chosen_night);
DELETE FROM raw_frames WHERE "night start date" IN (SELECT night FROM temp.chosen_night);

-- Sets of both spectrographs with their present job and the description of its first frame. Two sets can have one name
-- (it has a resolution of a second): the later one counts.
CREATE TEMP TABLE chosen_set AS
SELECT max(s.id) AS id, s.name || '.sof' AS sof, s.recipe, 'soxs-' || replace(s.recipe, '_', '-') AS soxs_recipe, s.arm,
       s.night, s.n_frames, s.state, s.object, j.id AS job_id, j.state AS job_state, j.error,
       v.id AS version_id, v.meta, v.header, v.mjd_obs, v.night_raw, v.date_obs_us,
       f.data_id || '.fits' AS first_file
FROM soxsd.frame_set s
JOIN soxsd.job j ON j.id = (SELECT max(id) FROM soxsd.job WHERE set_id = s.id AND state <> 'superseded')
JOIN soxsd.job_input i ON i.job_id = j.id AND i.role = 'raw' AND i.position = (
    SELECT min(position) FROM soxsd.job_input WHERE job_id = j.id AND role = 'raw')
JOIN soxsd.frame_version v ON v.id = i.version_id
JOIN soxsd.frame f ON f.id = v.frame_id
WHERE s.night IN (SELECT night FROM temp.chosen_night) AND s.arm IN ('VIS', 'NIR') AND s.n_frames > 0
GROUP BY s.name;

-- The literal values of the contract, in one place: what is not known is null, and nothing is empty.
CREATE TEMP TABLE described AS
SELECT id, meta ->> '$.binning.x' || 'x' || (meta ->> '$.binning.y') AS binning, meta ->> '$.read_mode' AS rospeed,
       meta ->> '$.slit' AS slit,
       coalesce(meta ->> '$.slitmask', CASE WHEN meta ->> '$.slit' LIKE '%MULT%' THEN 'MPH'
           WHEN meta ->> '$.slit' LIKE '%PINHOLE%' THEN 'PH' WHEN meta ->> '$.slit' LIKE '%SLIT%' THEN 'SLIT' END) AS slitmask,
       meta ->> '$.lamp' AS lamp, meta ->> '$.exptime' AS exptime, nullif(meta ->> '$.tpl_id', '') AS template,
       nullif(meta ->> '$.object', '') AS object, meta ->> '$.filter' AS filter, meta ->> '$.gain' AS gain,
       meta ->> '$.dpr_catg' AS catg, meta ->> '$.dpr_tech' AS tech, meta ->> '$.dpr_type' AS type,
       nullif(meta ->> '$.tpl_name', '') AS tpl_name, meta ->> '$.tpl_start' AS tpl_start, meta ->> '$.tpl_nexp' AS tpl_nexp,
       meta ->> '$.obs_id' AS obs_id, nullif(meta ->> '$.obs_name', '') AS obs_name,
       CASE arm WHEN 'NIR' THEN meta ->> '$.detector_temp' END AS nir_k,
       CASE arm WHEN 'VIS' THEN (meta ->> '$.detector_temp') - 273.15 END AS vis_c, meta ->> '$.common_path_temp' AS cp_c,
       strftime('%Y-%m-%dT%H:%M:%f', date_obs_us / 1e6, 'unixepoch') AS date_obs,
       CAST(mjd_obs - 0.625 AS INTEGER) AS night_mjd,
       CASE WHEN recipe IN ('mbias', 'mdark') THEN 1 WHEN recipe = 'disp_solution' THEN 2 WHEN recipe = 'order_centres' THEN 3
            WHEN recipe IN ('mflat', 'd2_flat', 'lamp_off') THEN 4 WHEN recipe = 'spat_solution' THEN 5
            WHEN recipe LIKE '%\_std' ESCAPE '\' THEN 6 ELSE 7 END AS recipe_order
FROM temp.chosen_set;

INSERT INTO raw_frame_sets (instrume, "eso seq arm", "mjd-obs", "mjd-date", "date-obs", "night start date", "night start mjd",
    "eso dpr catg", "eso dpr tech", "eso dpr type", exptime, binning, rospeed, slit, slitmask, lamp, filter, object, recipe,
    recipe_order, counts, "eso tpl nexp", "eso tpl name", "eso tpl start", "eso obs id", "eso obs name", set_first_file, sof,
    template, complete, gain, "nir temp k", "vis temp c", "cp temp c")
SELECT 'SOXS', s.arm, s.mjd_obs, s.night_raw, d.date_obs, s.night, d.night_mjd, d.catg, d.tech, d.type, d.exptime, d.binning,
    d.rospeed, d.slit, d.slitmask, d.lamp, d.filter, d.object, s.recipe, d.recipe_order, s.n_frames, d.tpl_nexp, d.tpl_name,
    d.tpl_start, d.obs_id, d.obs_name, s.first_file, s.sof, d.template, s.state IN ('complete', 'partial'), d.gain, d.nir_k,
    d.vis_c, d.cp_c
FROM temp.chosen_set s JOIN temp.described d USING (id) ORDER BY s.sof;

-- The products that the reference predicts, under its names; others (maps, lists of lines, spectra of orders) are in the
-- tree only. A set whose recipe failed has the row of its main product, failed, as there.
INSERT INTO product_frames (instrume, "eso seq arm", file, sof, "mjd-obs", "mjd-date", "night start date", "night start mjd",
    "eso pro catg", "eso pro tech", "eso pro type", exptime, binning, rospeed, slit, slitmask, lamp, recipe, recipe_order,
    template, filter, object, "eso tpl name", "eso tpl start", "eso tpl nexp", "eso obs name", "eso obs id", set_first_file,
    complete, status, status_base, filepath, gain, error_message, "nir temp k", "vis temp c", "cp temp c")
SELECT 'SOXS', s.arm, m.file, s.sof, s.mjd_obs, s.night_raw, s.night, d.night_mjd, m.catg, d.tech, 'REDUCED', d.exptime,
    d.binning, d.rospeed, d.slit, d.slitmask, d.lamp, s.recipe, d.recipe_order, d.template, d.filter, d.object, d.tpl_name,
    d.tpl_start, d.tpl_nexp, d.obs_name, d.obs_id, s.first_file, 1, m.status, m.status,
    './reduced/' || s.night || '/' || s.soxs_recipe || '/' || m.file, d.gain, nullif(s.error, ''), d.nir_k, d.vis_c, d.cp_c
FROM temp.chosen_set s JOIN temp.described d USING (id)
JOIN (
    SELECT c.id AS set_id, p.name AS file, p.catg,
           CASE WHEN p.verdict = 'fail' OR p.state = 'bad' THEN 'fail' ELSE 'pass' END AS status
    FROM temp.chosen_set c JOIN soxsd.product p ON p.job_id = c.job_id AND p.state IN ('current', 'stale', 'bad')
    WHERE c.job_state IN ('done', 'flagged')
      AND (p.name IN (replace(c.sof, '.sof', '.fits'), replace(c.sof, '.sof', '_IMAGE.fits'),
                      replace(c.sof, '.sof', '_EXTRACTED_MERGED.fits'), replace(c.sof, '.sof', '_RESP.fits'))
           OR (c.recipe = 'mflat' AND p.name LIKE '%\_OLOC\_%' ESCAPE '\'))
    UNION ALL
    SELECT c.id, CASE WHEN c.recipe IN ('stare', 'nod', 'offset', 'stare_std', 'nod_std', 'offset_std')
               THEN replace(c.sof, '.sof', '_EXTRACTED_MERGED.fits') ELSE replace(c.sof, '.sof', '.fits') END, NULL, 'fail'
    FROM temp.chosen_set c WHERE c.job_state IN ('failed', 'parked', 'unsupported')
) m ON m.set_id = s.id
ORDER BY s.sof, m.file;

INSERT INTO sof_map_base (file, tag, sof, filepath, complete)
SELECT f.data_id || '.fits', (v.meta ->> '$.dpr_type') || '_' || s.arm, s.sof,
       coalesce((SELECT path FROM soxsd.file WHERE version_id = v.id AND state = 'accepted'), f.data_id || '.fits'), 1
FROM temp.chosen_set s JOIN soxsd.job_input i ON i.job_id = s.job_id AND i.role = 'raw'
JOIN soxsd.frame_version v ON v.id = i.version_id JOIN soxsd.frame f ON f.id = v.frame_id
UNION ALL
SELECT p.name, p.catg, s.sof, './reduced/' || p.folder || '/' || p.name, 1
FROM temp.chosen_set s JOIN soxsd.job_input i ON i.job_id = s.job_id AND i.role = 'master'
JOIN soxsd.product p ON p.id = i.product_id;

-- A number that is not finite is no number: it goes where the unmeasured ones go.
INSERT INTO quality_control (soxspipe_recipe, qc_name, qc_value, qc_unit, qc_comment, obs_date_utc, reduction_date_utc,
    sof_name, qc_order, qc_flag, qc_value_min, qc_value_max)
SELECT s.soxs_recipe, q.name, printf('%!.17g', q.value), q.unit, q.comment,
       strftime('%Y-%m-%dT%H:%M:%f', q.at_us / 1e6, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%S', q.made_us / 1e6, 'unixepoch'),
       s.sof, q.qc_order, CASE q.verdict WHEN 'fail' THEN 'fail' ELSE 'pass' END, q.min, q.max
FROM temp.chosen_set s JOIN soxsd.qc q ON q.job_id = s.job_id
WHERE s.job_state IN ('done', 'flagged') AND abs(q.value) < 9e999 ORDER BY q.id;
INSERT INTO quality_control_absent (soxspipe_recipe, qc_name, sof_name, qc_order, reason)
SELECT s.soxs_recipe, q.name, s.sof, q.qc_order, coalesce(nullif(q.absent, ''), 'it is not a finite number')
FROM temp.chosen_set s JOIN soxsd.qc q ON q.job_id = s.job_id
WHERE s.job_state IN ('done', 'flagged') AND coalesce(abs(q.value) < 9e999, 0) = 0 ORDER BY q.id;

CREATE TEMP TABLE cards AS
SELECT v.id, json_group_object(c.value ->> '$.keyword', c.value -> '$.value') AS header
FROM soxsd.frame f JOIN soxsd.frame_version v ON v.id = f.current_version, json_each(v.header, '$.cards') c
WHERE v.night IN (SELECT night FROM temp.chosen_night) AND (c.value ->> '$.keyword' LIKE 'ESO TEL %'
    OR c.value ->> '$.keyword' LIKE 'ESO OBS %'
    OR c.value ->> '$.keyword' = 'ESO ADA ABSROT END')
GROUP BY v.id;
INSERT INTO raw_frames (instrume, "eso seq arm", file, "mjd-obs", "mjd-date", "date-obs", "night start date",
    "night start mjd", "eso dpr catg", "eso dpr tech", "eso dpr type", exptime, binning, rospeed, slit, slitmask, object,
    lamp, template, ra, dec, filter, absrot, "eso tpl name", "eso tpl start", "eso tpl expno", "eso tpl nexp", set_size,
    "eso obs id", "eso obs name", "eso obs targ name", "eso obs ntpl", "eso obs tplno", "eso obs start", "eso tel az",
    "eso tel alt", "eso tel parang start", "eso tel parang end", "eso tel ambi fwhm start", "eso tel ambi fwhm end",
    "eso tel airm start", "eso tel airm end", filepath, ignore, processed, set_first_file, gain, "nir temp k", "vis temp c",
    "cp temp c")
SELECT 'SOXS', f.arm, f.data_id || '.fits', v.mjd_obs, v.night_raw,
    strftime('%Y-%m-%dT%H:%M:%f', v.date_obs_us / 1e6, 'unixepoch'), v.night, CAST(v.mjd_obs - 0.625 AS INTEGER),
    v.meta ->> '$.dpr_catg', v.dpr_tech, v.dpr_type, v.exptime, v.meta ->> '$.binning.x' || 'x' || (v.meta ->> '$.binning.y'),
    v.meta ->> '$.read_mode', v.meta ->> '$.slit', v.meta ->> '$.slitmask', v.object, v.meta ->> '$.lamp',
    nullif(v.meta ->> '$.tpl_id', ''), v.meta ->> '$.on_sky.position[0]', v.meta ->> '$.on_sky.position[1]',
    v.meta ->> '$.filter', c.header ->> '$."ESO ADA ABSROT END"', v.meta ->> '$.tpl_name', v.meta ->> '$.tpl_start',
    v.meta ->> '$.tpl_expno', v.meta ->> '$.tpl_nexp', s.n_frames, v.meta ->> '$.obs_id', v.meta ->> '$.obs_name',
    c.header ->> '$."ESO OBS TARG NAME"', c.header ->> '$."ESO OBS NTPL"', c.header ->> '$."ESO OBS TPLNO"',
    c.header ->> '$."ESO OBS START"', c.header ->> '$."ESO TEL AZ"', c.header ->> '$."ESO TEL ALT"',
    c.header ->> '$."ESO TEL PARANG START"', c.header ->> '$."ESO TEL PARANG END"', c.header ->> '$."ESO TEL AMBI FWHM START"',
    c.header ->> '$."ESO TEL AMBI FWHM END"', c.header ->> '$."ESO TEL AIRM START"', c.header ->> '$."ESO TEL AIRM END"',
    coalesce((SELECT path FROM soxsd.file WHERE version_id = v.id AND state = 'accepted'), f.data_id || '.fits'),
    v.usage <> 'reduce' OR f.arm = 'ACQ', s.id IS NOT NULL, s.first_file, v.meta ->> '$.gain',
    CASE f.arm WHEN 'NIR' THEN v.meta ->> '$.detector_temp' END,
    CASE f.arm WHEN 'VIS' THEN (v.meta ->> '$.detector_temp') - 273.15 END, v.meta ->> '$.common_path_temp'
FROM soxsd.frame f JOIN soxsd.frame_version v ON v.id = f.current_version
LEFT JOIN temp.cards c ON c.id = v.id
LEFT JOIN soxsd.set_member m ON m.frame_id = f.id LEFT JOIN temp.chosen_set s ON s.id = m.set_id
WHERE v.night IN (SELECT night FROM temp.chosen_night) ORDER BY v.mjd_obs, f.data_id;

DROP TABLE temp.cards;
DROP TABLE temp.described;
DROP TABLE temp.chosen_set;
