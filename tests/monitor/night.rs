//! A small night in a catalogue and a store: sets of both arms with the products and metrics that the monitor looks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use soxsd::catalogue::files::{Accepted, Content, Look};
use soxsd::catalogue::jobs::{JobChange, NewJob};
use soxsd::catalogue::products::{JudgedMetric, NewProduct};
use soxsd::catalogue::sets::{SetContent, SetIdentity};
use soxsd::catalogue::{Catalogue, JobId, SetId, VersionId};
use soxsd::clock::SystemClock;
use soxsd::config::Config;
use soxsd::fits::{ColumnData, ColumnValues, FileDigests, Header, ImageHdu, PlaneData, write_images};
use soxsd::instrument::{Arm, Binning, FrameMeta, Night, OnSky, Usage};
use soxsd::quality::{QcMetric, Verdict};

pub const NIGHT: &str = "2026-03-10";

pub struct Site {
    pub catalogue: Catalogue,
    pub config: Config,
    folder: tempfile::TempDir,
}

/// A set with its job, not ended.
pub struct Pending {
    pub name: String,
    night: String,
    set: SetId,
    job: JobId,
}

/// What a set is made of.
struct Recipe<'a> {
    name: &'a str,
    arm: Arm,
    kind: &'a str,
    time: &'a str,
    stem: &'a str,
    read_mode: &'a str,
    slit: Option<&'a str>,
    lamp: Option<&'a str>,
    exptime: f64,
}

impl Site {
    /// An empty catalogue, in a folder whose path the monitor accepts.
    pub async fn empty() -> Site {
        let folder = accepted_folder();
        let mut config = Config::defaults().expect("defaults");
        config.paths.work = folder.path().join("work");
        config.monitor.path = folder.path().join("monitor");
        config.monitor.close_after_s = 0.0;
        config.check().expect("a good configuration");
        std::fs::create_dir_all(config.workspace().store).expect("a store");
        let catalogue =
            Catalogue::open(&config.workspace().catalogue, Arc::new(SystemClock)).await.expect("a catalogue");
        Site { catalogue, config, folder }
    }

    /// The night.
    pub async fn night() -> Site {
        let site = Site::empty().await;
        let metric = |name: &str, value: f64| QcMetric::measured(name, value, "", "");
        site.acquisition_image().await;

        let bias = site.bias("2026-03-10T19:00:42").await;
        let missing = QcMetric::absent("STRUCTX", "too few columns", "", "");
        let metrics = [
            metric("MASTER RON", 1.721_620_245_699_990_7),
            metric("MBIAS MEDIAN", 733.6),
            metric("BADPIX FRAC", 0.1),
            missing,
        ];
        site.end(&bias, Verdict::Pass, &metrics, &[("", "MASTER_BIAS", Vec::new())]).await;

        let dark = Recipe { name: "mdark", kind: "dark", time: "2026-03-10T19:14:49", exptime: 300.0, ..NIR };
        let dark = site.set(&Recipe { stem: "20260310T191449_NIR_3_MDARK_300_0S_SOXS", ..dark }).await;
        let metrics = [metric("MDARK MEDIAN", 0.1), metric("RAW RON", 31.0)];
        site.end(&dark, Verdict::Fail, &metrics, &[("", "MASTER_DARK", Vec::new())]).await;

        for (arm, stem, time, lines) in [
            (Arm::Vis, "20260310T190212_VIS_1X1_1_DSOL_PINHOLE_30_0S_SOXS", "2026-03-10T19:02:12", good_lines()),
            (Arm::Nir, "20260310T194119_NIR_3_DSOL_PINHOLE_10_0S_SOXS", "2026-03-10T19:41:19", powerless_lines()),
        ] {
            let (read_mode, slit) = (if arm == Arm::Vis { "1" } else { "3" }, Some("PINHOLE"));
            let set = Recipe { name: "disp_solution", arm, kind: "pinhole_arc", time, stem, read_mode, slit, ..NIR };
            let set = site.set(&set).await;
            let products = [("", "DISP_TAB", Vec::new()), ("_FITTED_LINES", "DISP_LINES", lines)];
            site.end(&set, Verdict::Pass, &[metric("R PIN MEDIAN", 4321.5), metric("X RES MAX", 1.0)], &products).await;
        }

        let flat =
            Recipe { name: "mflat", kind: "slit_flat", time: "2026-03-10T19:43:19", slit: Some("SLIT1.0"), ..NIR };
        let stem = "20260310T194319_NIR_3_MFLAT_QTH_SLIT1_0_10_0S_SOXS";
        let flat = site.set(&Recipe { stem, lamp: Some("QTH"), exptime: 10.0, ..flat }).await;
        let products = [("", "MASTER_FLAT", Vec::new()), ("OLOC", "ORDER_TAB", order_locations())];
        site.end(&flat, Verdict::Pass, &[metric("ORDEXP50", 4e4), metric("ORDEXP90", 6e4)], &products).await;

        let standard =
            Recipe { name: "nod_std", kind: "standard_nod", time: "2026-03-11T02:03:53", exptime: 120.0, ..NIR };
        let stem = "20260311T020353_NIR_3_NOD_STD_SLIT5_0_120_0S_SOXS";
        let standard = site.set(&Recipe { stem, slit: Some("SLIT5.0"), ..standard }).await;
        let mut metrics = vec![metric("EFF MEDIAN", 0.07)];
        metrics.extend(["10", "24"].map(|order| QcMetric { order: order.to_string(), ..metric("EFF MEDIAN", 0.05) }));
        let spectra =
            ["_EXTRACTED_MERGED", "_EXTRACTED_ORDERS", "_RESP"].map(|suffix| (suffix, "SPECTRUM", Vec::new()));
        site.end(&standard, Verdict::Pass, &metrics, &spectra).await;
        site
    }

    pub fn root(&self) -> PathBuf {
        self.config.monitor.path.clone()
    }

    /// The configuration in a file, for the command.
    pub fn write_config(&self) -> String {
        let path = self.folder.path().join("soxsd.toml");
        std::fs::write(&path, self.config.to_toml().expect("TOML")).expect("written");
        path.display().to_string()
    }

    /// Let go of the catalogue; the folder stays as long as what is returned.
    pub async fn into_folder(self) -> tempfile::TempDir {
        self.catalogue.close().await;
        self.folder
    }

    /// A set of one bias whose job is ready.
    pub async fn bias(&self, time: &str) -> Pending {
        let stem = time.replace(['-', ':'], "") + "_VIS_1X1_1_MBIAS_SOXS";
        let bias = Recipe { name: "mbias", arm: Arm::Vis, kind: "bias", time, read_mode: "1", exptime: 0.0, ..NIR };
        self.set(&Recipe { stem: &stem, ..bias }).await
    }

    /// End a bias.
    pub async fn finish(&self, pending: &Pending, level: f64) {
        let metrics = [
            QcMetric::measured("MASTER RON", level, "electrons", ""),
            QcMetric::measured("MBIAS MEDIAN", 700.0 + level, "electrons", ""),
        ];
        self.end(pending, Verdict::Pass, &metrics, &[("", "MASTER_BIAS", Vec::new())]).await;
    }

    async fn acquisition_image(&self) {
        let image = Recipe { name: "", arm: Arm::Acq, kind: "acquisition", time: "2026-03-10T23:50:00", ..NIR };
        let version = self.frame(&image).await;
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        tx.mark_grouped(version).await.expect("seen");
        tx.commit().await.expect("kept");
    }

    async fn frame(&self, recipe: &Recipe<'_>) -> VersionId {
        let data_id = format!("SOXS.{}.000", recipe.time);
        let meta = meta(recipe, &data_id);
        let digest = digest_of(&format!("{data_id}{}", recipe.arm));
        let name = format!("{data_id}.fits");
        let look = Look { path: format!("/data/raw/{name}"), name, size: 5760, mtime_us: 1 };
        let header = Header::new();
        let content = Content { digest: &digest, bytes: 5760, meta: &meta, header: &header };
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        let accepted = tx.accept_file(&look, &content).await.expect("taken in");
        tx.commit().await.expect("kept");
        assert!(matches!(accepted, Accepted::NewFrame(_)));
        let newest = self.catalogue.ungrouped(100).await.expect("frames");
        newest.into_iter().find(|frame| frame.meta.data_id == data_id).expect("the frame").version
    }

    async fn set(&self, recipe: &Recipe<'_>) -> Pending {
        let version = self.frame(recipe).await;
        let frame =
            self.catalogue.ungrouped(100).await.expect("frames").into_iter().find(|found| found.version == version);
        let frame = frame.expect("the frame").frame;
        let night = Night::of(at(recipe.time)).to_string();
        let arm = recipe.arm.as_str();
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        let start_us = at(recipe.time).as_microsecond();
        let template = tx.put_template(recipe.stem, arm, "SOXS_gen_cal", start_us, 1).await.expect("a template");
        let identity = SetIdentity {
            key: recipe.stem,
            template,
            recipe: recipe.name,
            arm,
            night: &night,
            object: recipe.kind,
            keys: "{}",
            follows: None,
        };
        let set = tx.put_set(&identity).await.expect("a set");
        tx.put_template_member(template, frame, 1).await.expect("a member");
        tx.put_member(frame, Some(set)).await.expect("a member");
        tx.mark_grouped(version).await.expect("marked");
        tx.close_template(template, "all its exposures came").await.expect("closed");
        let content = SetContent {
            name: recipe.stem.to_string(),
            night: night.clone(),
            content: digest_of(recipe.stem),
            n_frames: 1,
            mjd_first: 61109.0,
            mjd_last: 61109.0,
            state: "complete",
            why: String::new(),
        };
        tx.put_set_content(set, &content).await.expect("described");
        let job = NewJob {
            set,
            recipe: recipe.name,
            recipe_version: "1",
            key: &digest_of(&format!("job {}", recipe.stem)),
            parameters: "{}",
            state: "ready",
            priority: 1,
            newest_mjd: 61109.0,
            peak_bytes: 0,
            waits_for: "",
            deadline_us: None,
            level: None,
            class: "",
            error: "",
            why: "test",
            raw: &[version],
            masters: &[],
            candidates: &[],
        };
        let job = tx.create_job(&job).await.expect("a job");
        tx.commit().await.expect("kept");
        self.planned().await;
        Pending { name: recipe.stem.to_string(), night, set, job }
    }

    /// Nothing is left for association to do.
    async fn planned(&self) {
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        for set in self.catalogue.dirty_sets().await.expect("sets") {
            tx.clean_set(set.id, set.dirty).await.expect("planned");
        }
        tx.commit().await.expect("kept");
    }

    /// The job's end: products by suffix (`OLOC`: the order locations of a flat) with the tables in them, and metrics.
    async fn end(&self, set: &Pending, verdict: Verdict, metrics: &[QcMetric], products: &[(&str, &str, Vec<Table>)]) {
        let row = self.catalogue.set_row(set.set.0).await.expect("a row").expect("a set");
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        assert!(tx.claim_job(set.job, "boot").await.expect("claimed"));
        for (suffix, catg, tables) in products {
            let name = match *suffix {
                "OLOC" => format!("{}.fits", set.name.replace("MFLAT", "OLOC")),
                suffix => format!("{}{suffix}.fits", set.name),
            };
            let product = NewProduct {
                catg: format!("{catg}_{}", row.arm),
                arm: row.arm.clone(),
                night: set.night.clone(),
                digests: self.store(&name, tables),
                folder: format!("{}/soxs-{}", set.night, row.recipe.replace('_', "-")),
                name,
                keys: "{}".to_string(),
                mjd: 61109.0,
                n_combined: 1,
                claim: None,
            };
            tx.put_product(set.job, set.set, &product, verdict).await.expect("a product");
        }
        let failing = if verdict == Verdict::Fail { "RAW RON" } else { "" };
        let at_us = self.first_exposure(set);
        for metric in metrics {
            let fails = metric.name == failing;
            let verdict = if fails { Verdict::Fail } else { Verdict::Pass };
            let judged = JudgedMetric { metric: metric.clone(), verdict, min: None, max: fails.then_some(30.0) };
            tx.put_qc(set.job, &row.recipe, at_us, &judged).await.expect("a metric");
        }
        let change = JobChange { why: "recipe ended", actor: "scheduler", ..JobChange::default() };
        let end = if verdict == Verdict::Fail { "flagged" } else { "done" };
        tx.move_job(set.job, &["running"], end, &change).await.expect("ended");
        tx.commit().await.expect("kept");
    }

    fn first_exposure(&self, set: &Pending) -> i64 {
        let (date, time) = (&set.name[..8], &set.name[9..15]);
        let text =
            format!("{}-{}-{}T{}:{}:{}", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
        at(&text).as_microsecond()
    }

    fn store(&self, name: &str, tables: &[Table]) -> FileDigests {
        let staged = self.folder.path().join("staged");
        let mut header = Header::new();
        header.set("OBJECT", name, "");
        let mut hdus = vec![ImageHdu { extname: None, header, plane: PlaneData::Empty }];
        let columns: Vec<Vec<ColumnData<'_>>> = tables.iter().map(Table::columns).collect();
        hdus.extend(columns.iter().map(|columns| ImageHdu {
            extname: None,
            header: Header::new(),
            plane: PlaneData::Table(columns),
        }));
        write_images(&staged, &hdus).expect("a product");
        let digests = FileDigests::of(&staged).expect("digests");
        let stored = self.config.workspace().stored(&digests.sha256);
        std::fs::create_dir_all(stored.parent().expect("a folder")).expect("a folder");
        std::fs::rename(staged, stored).expect("stored");
        digests
    }
}

/// A table by its columns of numbers.
pub struct Table(Vec<(&'static str, Vec<f64>)>);

impl Table {
    fn columns(&self) -> Vec<ColumnData<'_>> {
        self.0.iter().map(|(name, values)| ColumnData { name, unit: "", values: ColumnValues::F64(values) }).collect()
    }
}

const NIR: Recipe<'static> = Recipe {
    name: "",
    arm: Arm::Nir,
    kind: "",
    time: "",
    stem: "",
    read_mode: "3",
    slit: None,
    lamp: None,
    exptime: 30.0,
};

fn lines(last_power: f64) -> Vec<Table> {
    vec![Table(vec![
        ("wavelength", vec![500.0, 600.0, 1000.0]),
        ("detector_x", vec![10.0, 20.0, 30.0]),
        ("detector_y", vec![10.0, 20.0, 30.0]),
        ("order", vec![1.0, 1.0, 24.0]),
        ("R_pin", vec![4000.0, f64::NAN, last_power]),
    ])]
}

fn good_lines() -> Vec<Table> {
    lines(5000.0)
}

fn powerless_lines() -> Vec<Table> {
    lines(f64::NAN)
}

fn order_locations() -> Vec<Table> {
    let models = [("degorder_cent", 0.0), ("degx_cent", 1.0), ("cent_00", 3.0), ("cent_01", 0.5)];
    let ranges = [("order", 10.0), ("xmin", 0.0), ("xmax", 2047.0), ("ymin", 100.0), ("ymax", 140.0)];
    let row =
        |columns: &[(&'static str, f64)]| Table(columns.iter().map(|(name, value)| (*name, vec![*value])).collect());
    vec![row(&models), row(&ranges)]
}

fn at(text: &str) -> Timestamp {
    format!("{text}Z").parse().expect("a time as written in this test")
}

fn digest_of(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of our own whose path holds none of the words that the monitor refuses: the system's temporary folder does.
fn accepted_folder() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().map(Path::to_path_buf);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let candidates = [target, home, Some("/dev/shm".into()), Some("/var/lib".into())].into_iter().flatten();
    let accepted = |path: &Path| {
        let text = path.display().to_string().to_lowercase();
        ["test", "tmp", "temporary", "sandbox"].iter().all(|word| !text.contains(word))
    };
    for parent in candidates.filter(|parent| accepted(parent)) {
        // The random part of the name can hold a word too.
        for _ in 0..10 {
            match tempfile::Builder::new().prefix("soxsd-feed-").tempdir_in(&parent) {
                Ok(folder) if accepted(folder.path()) => return folder,
                _ => {}
            }
        }
    }
    panic!("no folder whose path the monitor accepts can be written");
}

fn meta(recipe: &Recipe<'_>, data_id: &str) -> FrameMeta {
    let date_obs = at(recipe.time);
    let reduce = !recipe.name.is_empty();
    FrameMeta {
        data_id: data_id.to_string(),
        arm: recipe.arm,
        kind: recipe.kind.to_string(),
        usage: if reduce { Usage::Reduce } else { Usage::Register },
        usage_reason: if reduce { String::new() } else { "no recipe consumes it".to_string() },
        recipe: reduce.then(|| recipe.name.to_string()),
        date_obs,
        mjd_obs: 40587.0 + date_obs.as_second() as f64 / 86400.0,
        exptime: recipe.exptime,
        dpr_catg: "CALIB".to_string(),
        dpr_type: recipe.kind.to_ascii_uppercase(),
        dpr_tech: "IMAGE".to_string(),
        tpl_id: "SOXS_gen_cal".to_string(),
        tpl_name: String::new(),
        tpl_start: date_obs,
        tpl_expno: 1,
        tpl_nexp: 1,
        obs_id: None,
        obs_name: String::new(),
        prog_id: String::new(),
        object: recipe.kind.to_ascii_uppercase(),
        binning: (recipe.arm == Arm::Vis).then_some(Binning { x: 1, y: 1 }),
        read_mode: Some(recipe.read_mode.to_string()),
        gain: 1.0,
        ron: None,
        slit: recipe.slit.map(str::to_string),
        slitmask: None,
        lamp: recipe.lamp.map(str::to_string),
        filter: None,
        columns: 16,
        rows: 16,
        detector_temp: Some(150.0),
        common_path_temp: None,
        on_sky: OnSky::default(),
        warnings: Vec::new(),
    }
}
