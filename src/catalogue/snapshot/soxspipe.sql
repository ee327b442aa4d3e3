-- The database that the quality monitor reads, as the reference pipeline lays it out: names, types and literal values are a
-- contract. Names contain blanks and are quoted.

CREATE TABLE raw_frames (
    uuid INTEGER PRIMARY KEY AUTOINCREMENT, instrume TEXT, "eso seq arm" TEXT, file TEXT NOT NULL, "mjd-obs" REAL NOT NULL,
    "mjd-date" TEXT NOT NULL, "date-obs" TEXT NOT NULL, "night start date" TEXT NOT NULL, "night start mjd" INTEGER NOT NULL,
    "eso dpr catg" TEXT NOT NULL, "eso dpr tech" TEXT NOT NULL, "eso dpr type" TEXT NOT NULL, exptime REAL NOT NULL,
    binning TEXT, rospeed TEXT, slit TEXT, slitmask TEXT, object TEXT NOT NULL, lamp TEXT, template TEXT, ra REAL, dec REAL,
    filter TEXT, absrot REAL, "eso tpl name" TEXT, "eso tpl start" TEXT, "eso tpl expno" INTEGER, "eso tpl nexp" INTEGER,
    set_size INTEGER, "eso obs id" INTEGER, "eso obs name" TEXT, "eso obs targ name" TEXT, "eso obs ntpl" INTEGER,
    "eso obs tplno" INTEGER, "eso obs start" TEXT, "eso tel az" REAL, "eso tel alt" REAL, "eso tel parang start" REAL,
    "eso tel parang end" REAL, "eso tel ambi fwhm start" REAL, "eso tel ambi fwhm end" REAL, "eso tel airm start" REAL,
    "eso tel airm end" REAL, filepath TEXT NOT NULL, ignore INTEGER DEFAULT 0, simulation INTEGER DEFAULT 0,
    processed INTEGER DEFAULT 0, set_first_file TEXT, gain REAL, "nir temp k" REAL, "vis temp c" REAL, "cp temp c" REAL,
    "afc1 pos1" REAL, "afc1 pos2" REAL, "afc2 pos1" REAL, "afc2 pos2" REAL,
    UNIQUE (file, "eso dpr tech") ON CONFLICT IGNORE
);

CREATE TABLE raw_frame_sets (
    instrume TEXT, "eso seq arm" TEXT, "mjd-obs" REAL, "mjd-date" TEXT, "date-obs" TEXT, "night start date" TEXT,
    "night start mjd" INTEGER, "eso dpr catg" TEXT, "eso dpr tech" TEXT, "eso dpr type" TEXT, exptime REAL, binning TEXT,
    rospeed TEXT, slit TEXT, slitmask TEXT, lamp TEXT, filter TEXT, object TEXT, recipe TEXT, recipe_order INTEGER,
    counts INTEGER, "eso tpl nexp" INTEGER, "eso tpl name" TEXT, "eso tpl start" TEXT, "eso obs id" INTEGER,
    "eso obs name" TEXT, "eso obs start" TEXT, set_first_file TEXT, sof TEXT UNIQUE ON CONFLICT IGNORE, template TEXT,
    complete INTEGER, gain REAL, "nir temp k" REAL, "vis temp c" REAL, "cp temp c" REAL, "afc1 pos1" REAL, "afc1 pos2" REAL,
    "afc2 pos1" REAL, "afc2 pos2" REAL, absrot REAL
);

CREATE TABLE product_frames (
    uuid INTEGER PRIMARY KEY AUTOINCREMENT, instrume TEXT, "eso seq arm" TEXT, file TEXT, sof TEXT, "mjd-obs" REAL,
    "mjd-date" TEXT, "night start date" TEXT, "night start mjd" INTEGER, "eso pro catg" TEXT, "eso pro tech" TEXT,
    "eso pro type" TEXT, exptime REAL, binning TEXT, rospeed TEXT, slit TEXT, slitmask TEXT, lamp TEXT, recipe TEXT NOT NULL,
    recipe_order INTEGER, template TEXT, filter TEXT, object TEXT, "eso tpl name" TEXT, "eso tpl start" TEXT,
    "eso tpl nexp" INTEGER, "eso obs name" TEXT, "eso obs start" TEXT, "eso obs id" INTEGER, set_first_file TEXT,
    complete INTEGER DEFAULT 0, status TEXT, status_base TEXT, filepath TEXT, gain REAL, error_message TEXT,
    "nir temp k" REAL, "vis temp c" REAL, "cp temp c" REAL, "afc1 pos1" REAL, "afc1 pos2" REAL, "afc2 pos1" REAL,
    "afc2 pos2" REAL, absrot REAL,
    UNIQUE (file, recipe) ON CONFLICT IGNORE
);

CREATE TABLE sof_map_base (
    file TEXT, tag TEXT, sof TEXT, filepath TEXT, complete INTEGER, UNIQUE (file, sof) ON CONFLICT IGNORE
);
CREATE TABLE z_sof_map (
    file TEXT, tag TEXT, sof TEXT, filepath TEXT, complete INTEGER, UNIQUE (file, sof) ON CONFLICT IGNORE
);

CREATE TABLE quality_control (
    soxspipe_recipe TEXT, qc_name TEXT NOT NULL, qc_value TEXT, qc_unit TEXT, qc_comment TEXT, obs_date_utc TEXT,
    reduction_date_utc TEXT, sof_name TEXT NOT NULL, qc_order TEXT DEFAULT '-1', qc_flag TEXT, qc_value_min REAL,
    qc_value_max REAL,
    UNIQUE (qc_name, sof_name, qc_order) ON CONFLICT IGNORE
);

-- Ours: metrics that could not be measured. They have no row above, for a row without a number keeps its night out of the
-- monitor's archive.
CREATE TABLE quality_control_absent (
    soxspipe_recipe TEXT, qc_name TEXT NOT NULL, sof_name TEXT NOT NULL, qc_order TEXT NOT NULL, reason TEXT NOT NULL
);

CREATE INDEX product_frames_recipe ON product_frames (recipe, "eso seq arm", complete);
CREATE INDEX product_frames_sof ON product_frames (sof);
CREATE INDEX product_frames_sof_status ON product_frames (sof, status);
CREATE INDEX quality_control_name ON quality_control (qc_name);
CREATE INDEX quality_control_sof ON quality_control (sof_name);
CREATE INDEX raw_frames_mjd ON raw_frames ("mjd-obs");
CREATE INDEX raw_frames_first ON raw_frames (set_first_file);
CREATE INDEX raw_frames_template ON raw_frames ("eso tpl start", "eso tpl expno");

CREATE VIEW sof_map AS SELECT * FROM sof_map_base;
CREATE VIEW raw_frames_valid AS SELECT * FROM raw_frames WHERE ignore = 0 AND simulation = 0;
CREATE VIEW failed_products AS SELECT * FROM product_frames WHERE status = 'fail';
CREATE VIEW product_frames_plus AS
SELECT p.*, s."date-obs", s.counts FROM product_frames p JOIN raw_frame_sets s ON s.sof = p.sof;

CREATE VIEW quality_control_plus AS
SELECT q.soxspipe_recipe, q.qc_name, q.qc_value, q.qc_unit, q.qc_comment, q.obs_date_utc, q.reduction_date_utc, q.sof_name,
       q.qc_order, q.qc_flag, q.qc_value_min, q.qc_value_max, p."eso seq arm", p.file, p.filepath, p.status,
       p."night start date", p."night start mjd", p.binning, p.rospeed, p.slit, p.slitmask, p.lamp, p.exptime, p.template,
       p.object, p.recipe, p."eso pro catg"
FROM quality_control q
JOIN product_frames p ON p.sof = q.sof_name
JOIN raw_frame_sets s ON s.sof = q.sof_name;

-- What the monitor reads: one row for each metric of each main product, without those that are counts of others.
CREATE VIEW quality_control_plus_lite AS
SELECT "night start date", obs_date_utc, "eso seq arm", soxspipe_recipe, qc_name, qc_value, qc_order, qc_unit, qc_flag,
       qc_value_min, qc_value_max, sof_name, file, status, filepath, binning, rospeed, slit, slitmask, lamp, exptime,
       template, object
FROM quality_control_plus
WHERE file NOT LIKE '%\_IMAGE.fits' ESCAPE '\'
  AND NOT (soxspipe_recipe = 'soxs-mflat' AND file LIKE '%\_OLOC\_%' ESCAPE '\')
  AND qc_name NOT IN ('BADPIX NUM', 'BADPIX FRAC', 'BAXPIX NUM', 'COLDPIX NUM', 'COLDPIX FRAC', 'DETLINES NUM',
                      'DETLINES TOT', 'DETLINES CLIP NUM', 'HOTPIX NUM', 'INNER ORDER PIX SUM', 'X RES MIN', 'X RES MAX',
                      'Y RES MIN', 'Y RES MAX', 'XY RES MIN', 'XY RES MAX', 'SAMPLES DET NUM', 'SAMPLES CLIP NUM',
                      'SAMPLES TOT NUM', 'SAMPLES CLIP FRAC', 'N LOW SENS', 'ORDEXP10', 'ORDEXP90', 'PINHOLE COUNT MIN');
