//! What is written of one frame.

use serde_json::{Value, json};

use crate::simulator::detector::Camera;
use crate::simulator::exposure::Exposure;
use crate::simulator::{SimFrame, header};

/// Columns of `frames.csv`, and where their values stand in the record.
const COLUMNS: [(&str, &str); 20] = [
    ("name", "/name"),
    ("arm", "/arm"),
    ("kind", "/kind"),
    ("template", "/template"),
    ("expno", "/expno"),
    ("start", "/start"),
    ("exptime", "/exptime"),
    ("slit", "/slit"),
    ("filter", "/filter"),
    ("object", "/object"),
    ("airmass", "/place/airmass"),
    ("seeing", "/conditions/seeing"),
    ("gain", "/detector/gain"),
    ("ron", "/detector/ron"),
    ("offset", "/offset"),
    ("level", "/level"),
    ("saturated", "/saturated"),
    ("cosmic_pixels", "/cosmic_pixels"),
    ("bytes", "/bytes"),
    ("faults", "/faults"),
];

/// First line of `frames.csv`.
pub(super) const CSV_HEAD: &str = "name,arm,kind,template,expno,start,exptime,slit,filter,object,airmass,seeing,gain,ron,\
                                   offset,level,saturated,cosmic_pixels,bytes,faults\n";

/// One line of `frames.csv`: faults by name, with blanks between them.
pub(super) fn csv_line(record: &Value) -> String {
    let cells = COLUMNS.iter().map(|(_, pointer)| match record.pointer(pointer) {
        Some(Value::String(text)) => super::tables::quoted(text),
        Some(Value::Array(faults)) => faults.iter().map(fault_name).collect::<Vec<_>>().join(" "),
        Some(Value::Null) | None => String::new(),
        Some(value) => value.to_string(),
    });
    cells.collect::<Vec<_>>().join(",") + "\n"
}

fn fault_name(fault: &Value) -> String {
    match fault {
        Value::String(name) => name.clone(),
        Value::Object(table) => table.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// A detector in one setup.
pub(super) fn camera(camera: &Camera) -> Value {
    let (rows, columns) = camera.shape();
    json!({
        "arm": camera.arm,
        "read_mode": camera.mode,
        "read_mode_name": camera.mode_name,
        "binning": camera.binning.to_string(),
        "gain": camera.gain,
        "ron": camera.ron,
        "readout": camera.readout,
        "rows": rows,
        "columns": columns,
    })
}

/// Everything about one frame.
pub(super) fn frame(exposure: &Exposure, frame: &SimFrame, bytes: usize) -> Value {
    let truth = &frame.truth;
    let date_obs = exposure.header.text("DATE-OBS").unwrap_or_default();
    json!({
        "name": exposure.name,
        "number": exposure.number,
        "arm": exposure.arm,
        "kind": exposure.kind,
        "template": exposure.template,
        "expno": exposure.expno,
        "start": header::iso(exposure.start),
        "date_obs": date_obs,
        "exptime": exposure.exptime,
        "slit": exposure.slit,
        "filter": exposure.filter,
        "lamps": exposure.lamps,
        "object": exposure.object,
        "sources": exposure.sources,
        "open_sky": exposure.open,
        "pointing": { "ra": exposure.pointing[0], "dec": exposure.pointing[1] },
        "place": exposure.place,
        "conditions": exposure.conditions,
        "flexure": exposure.flexure,
        "defocus": exposure.defocus,
        "mask_shift": exposure.mask_shift,
        "shutter": exposure.shutter,
        "detector": camera(&exposure.camera),
        "offset": truth.offset,
        "level": truth.level,
        "saturated": truth.saturated.len(),
        "hot_pixels": truth.hot.iter().filter(|rate| **rate > 0.0).count(),
        "cosmic_pixels": truth.cosmics.len(),
        "cosmics": runs(&truth.cosmics),
        "faults": exposure.faults,
        "bytes": bytes,
    })
}

/// Sorted pixels as runs `[row, first column, length]`.
pub fn runs(pixels: &[(usize, usize)]) -> Vec<[usize; 3]> {
    let mut runs: Vec<[usize; 3]> = Vec::new();
    for (row, column) in pixels.iter().copied() {
        match runs.last_mut() {
            Some([last, first, length]) if *last == row && *first + *length == column => *length += 1,
            _ => runs.push([row, column, 1]),
        }
    }
    runs
}
