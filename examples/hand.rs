use soxsd::{
    fits::{self, *},
    instrument::*,
    recipes::{self, *},
};
use std::path::Path;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (name, out) = (&args[1], &args[2]);
    let t0 = std::time::Instant::now();
    let frames: Vec<RawFrame> = args[3..]
        .iter()
        .map(|p| {
            let im = fits::read_image(Path::new(p), &ReadLimits::default()).unwrap();
            let h = &im.header;
            let arm = Arm::parse(h.text("ESO SEQ ARM").unwrap()).unwrap();
            let t: jiff::Timestamp = "2026-03-10T19:00:42Z".parse().unwrap();
            let (rows, columns) = im.data.dim();
            RawFrame {
                meta: FrameMeta {
                    data_id: p.clone(),
                    arm,
                    kind: String::new(),
                    usage: Usage::Reduce,
                    usage_reason: String::new(),
                    recipe: None,
                    date_obs: t,
                    mjd_obs: 0.0,
                    exptime: h.real("EXPTIME").unwrap(),
                    dpr_catg: String::new(),
                    dpr_type: h.text("ESO DPR TYPE").unwrap().into(),
                    dpr_tech: String::new(),
                    tpl_id: String::new(),
                    tpl_name: String::new(),
                    tpl_start: t,
                    tpl_expno: 1,
                    tpl_nexp: 1,
                    obs_id: None,
                    obs_name: String::new(),
                    prog_id: String::new(),
                    object: String::new(),
                    binning: None,
                    read_mode: None,
                    gain: h.real("ESO DET OUT1 CONAD").unwrap(),
                    ron: None,
                    slit: None,
                    slitmask: None,
                    lamp: None,
                    filter: None,
                    columns,
                    rows,
                    detector_temp: h.real("ESO INS TEMP104 VAL").ok(),
                    common_path_temp: None,
                    warnings: vec![],
                },
                adu: im.data,
            }
        })
        .collect();
    let t1 = std::time::Instant::now();
    let r = recipes::by_name(name).unwrap();
    let o = r.run(RecipeInput { frames, masters: vec![] }, &toml::Table::new()).unwrap();
    println!("read {:?} recipe {:?}", t1 - t0, t1.elapsed());
    for q in &o.qc {
        println!("{:24} {:?} {}", q.name, q.value, q.unit);
    }
    for q in &o.remarks {
        println!("# {q}");
    }
    for q in &o.rejected {
        println!("! {q:?}");
    }
    let _ = std::fs::remove_file(out);
    let p = &o.products[0];
    let e = Header::new();
    fits::write_images(
        Path::new(out),
        &[
            ImageHdu { extname: None, header: e.clone(), plane: PlaneData::F32(p.value.view()) },
            ImageHdu {
                extname: Some("VAR".into()),
                header: e.clone(),
                plane: PlaneData::F32(p.variance.as_ref().unwrap().view()),
            },
            ImageHdu { extname: Some("FLAGS".into()), header: e, plane: PlaneData::I32(p.flags.view()) },
        ],
    )
    .unwrap();
}
