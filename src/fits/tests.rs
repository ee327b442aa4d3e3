//! Tests across the files of this module: what is written is scanned, read back, damaged and refused.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::card::{self, BLOCK, CARD};
use super::*;

fn sample_header() -> Header {
    let mut header = Header::new();
    header.set("OBJECT", "NGC 'quoted' 1", "target");
    header.set("ESO DPR CATG", "CALIB", "observation category");
    header.set("EXPTIME", 12.5, "[s] exposure time");
    header.set("ESO DET NDIT", 3, "");
    header.set("ESO TEL AO ON", false, "");
    header.push(Card { keyword: "HISTORY".to_string(), value: None, comment: "first".to_string() });
    header.push(Card { keyword: "HISTORY".to_string(), value: None, comment: "second".to_string() });
    header
}

/// Rows x columns with a value of its own in every pixel.
fn ramp(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(row, column)| (row * 1000 + column) as f32 + 0.25)
}

fn write_image(path: &Path, data: &Array2<f32>) {
    let hdu = ImageHdu { extname: None, header: sample_header(), plane: PlaneData::F32(data.view()) };
    write_images(path, &[hdu]).unwrap();
}

/// A file from literal cards, padded with blanks, followed by data padded with zeros.
fn raw_file(units: &[(&[&str], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (cards, data) in units {
        for card in *cards {
            bytes.extend_from_slice(format!("{card:80}").as_bytes());
        }
        bytes.extend_from_slice(format!("{:80}", "END").as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frame.fits");
        Bench { dir, path }
    }

    fn scan_bytes(&self, bytes: &[u8]) -> Result<Scan, ScanError> {
        fs::write(&self.path, bytes).unwrap();
        scan(&self.path, &ScanLimits::default())
    }

    fn read_bytes(&self, bytes: &[u8]) -> Result<RawImage, FitsError> {
        fs::write(&self.path, bytes).unwrap();
        read_image(&self.path, &ReadLimits::default())
    }
}

#[test]
fn the_linked_cfitsio_is_safe_with_threads() {
    assert!(cfitsio_check().unwrap().starts_with(|digit: char| digit.is_ascii_digit()));
}

#[test]
fn what_is_written_is_scanned_and_read_back() {
    let bench = Bench::new();
    let mut science = ramp(7, 11);
    science[[2, 3]] = f32::NAN;
    let flags = Array2::from_shape_fn((7, 11), |(row, column)| (row * column) as u8);
    let counts = Array2::from_shape_fn((7, 11), |(row, column)| row as i32 * -70_000 + column as i32);
    let raw = Array2::from_shape_fn((7, 11), |(row, column)| (row * 9000 + column) as u16);
    let hdu = |extname: Option<&str>, plane| ImageHdu {
        extname: extname.map(str::to_string),
        header: sample_header(),
        plane,
    };
    let hdus = [
        hdu(None, PlaneData::F32(science.view())),
        hdu(Some("QUAL"), PlaneData::U8(flags.view())),
        hdu(Some("COUNT"), PlaneData::I32(counts.view())),
        hdu(Some("RAW"), PlaneData::U16(raw.view())),
        hdu(Some("NOTHING"), PlaneData::Empty),
    ];
    write_images(&bench.path, &hdus).unwrap();

    let scanned = scan(&bench.path, &ScanLimits::default()).unwrap();
    assert_eq!(scanned.hdus.len(), 5);
    assert_eq!(scanned.bytes, fs::metadata(&bench.path).unwrap().len());
    assert_eq!(scanned.sha256, FileDigests::of(&bench.path).unwrap().sha256);
    assert_eq!(scanned.compression, Compression::None);
    assert_eq!((scanned.hdus[2].bitpix, &scanned.hdus[2].shape[..]), (32, &[11, 7][..]));
    assert_eq!(scanned.hdus[4].data_bytes, 0);
    assert_eq!(peek(&bench.path, &ScanLimits::default()).unwrap(), *scanned.primary());

    let planes = read_planes(&bench.path).unwrap();
    for (plane, hdu) in planes.iter().zip(&scanned.hdus) {
        assert_eq!(plane.header, hdu.header, "cfitsio and the scan see the same cards");
        for card in sample_header().cards() {
            assert!(plane.header.cards().contains(card), "{card:?}");
        }
    }
    assert_eq!(planes[1].extname.as_deref(), Some("QUAL"));
    let PlaneArray::F32(back) = &planes[0].data else { panic!("{:?}", planes[0].data) };
    assert!(back.iter().zip(&science).all(|(back, value)| back.to_bits() == value.to_bits()));
    assert_eq!(planes[1].data, PlaneArray::U8(flags));
    assert_eq!(planes[2].data, PlaneArray::I32(counts));
    assert_eq!(planes[3].data, PlaneArray::U16(raw));
    assert_eq!(planes[4].data, PlaneArray::Empty);
    verify_checksums(&bench.path).unwrap();
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bench = Bench::new();
    let data = ramp(20, 30);
    write_image(&bench.path, &data);
    let other = bench.dir.path().join("other.fits");
    write_image(&other, &data);
    assert_eq!(fs::read(&bench.path).unwrap(), fs::read(&other).unwrap());
}

#[test]
fn views_that_are_not_contiguous_are_written_in_row_order() {
    let bench = Bench::new();
    let data = ramp(6, 5);
    let plane = PlaneData::F32(data.t().reversed_axes().slice_move(ndarray::s![..;2, ..;-1]));
    write_images(&bench.path, &[ImageHdu { extname: None, header: Header::new(), plane }]).unwrap();
    verify_checksums(&bench.path).unwrap();
    let expected = data.slice(ndarray::s![..;2, ..;-1]).to_owned();
    assert_eq!(read_image(&bench.path, &ReadLimits::default()).unwrap().data, expected);
}

#[test]
fn a_copied_raw_header_brings_no_structure_and_no_duplicates() {
    let bench = Bench::new();
    let mut header = sample_header();
    for (keyword, value) in [("BITPIX", 16), ("NAXIS3", 4), ("BZERO", 32768), ("PCOUNT", 9)] {
        header.set(keyword, value, "of the raw frame");
    }
    header.set("CHECKSUM", "of the raw frame", "");
    header.push(Card { keyword: "UNDEF".to_string(), value: None, comment: "no value".to_string() });
    header.push(Card { keyword: "OBJECT".to_string(), value: Some("later".into()), comment: String::new() });
    let data = ramp(3, 4);
    let plane = PlaneData::F32(data.view());
    write_images(&bench.path, &[ImageHdu { extname: Some("SCI".to_string()), header, plane }]).unwrap();
    verify_checksums(&bench.path).unwrap();
    let written = peek(&bench.path, &ScanLimits::default()).unwrap();
    assert_eq!(written.text("OBJECT"), Ok("later"));
    for keyword in ["BZERO", "NAXIS3", "PCOUNT", "UNDEF"] {
        assert!(written.cards().iter().all(|card| card.keyword != keyword), "{keyword}");
    }
    for card in written.cards().iter().filter(|card| card.value.is_some()) {
        assert_eq!(written.cards().iter().filter(|other| other.keyword == card.keyword).count(), 1, "{card:?}");
    }
}

#[test]
fn a_value_that_fits_cannot_hold_is_refused_before_a_file_exists() {
    let bench = Bench::new();
    for value in [f64::NAN, f64::NEG_INFINITY] {
        let mut header = Header::new();
        header.set("ESO QC RON", value, "");
        let error =
            write_images(&bench.path, &[ImageHdu { extname: None, header, plane: PlaneData::Empty }]).unwrap_err();
        assert!(error.to_string().contains("ESO QC RON"), "{error}");
        assert!(!bench.path.exists());
    }
    assert!(matches!(write_images(&bench.path, &[]), Err(FitsError::Nothing { .. })));
    assert!(!bench.path.exists());
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let bench = Bench::new();
    fs::write(&bench.path, "precious").unwrap();
    let hdu = ImageHdu { extname: None, header: Header::new(), plane: PlaneData::Empty };
    assert!(matches!(write_images(&bench.path, &[hdu]), Err(FitsError::Write { .. })));
    assert_eq!(fs::read_to_string(&bench.path).unwrap(), "precious");
}

#[test]
fn a_changed_pixel_or_card_breaks_the_checksum() {
    let bench = Bench::new();
    write_image(&bench.path, &ramp(8, 8));
    let good = fs::read(&bench.path).unwrap();
    for (at, keyword) in [(good.len() - BLOCK + 5, "DATASUM"), (10 * CARD + 70, "CHECKSUM")] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&bench.path, &bad).unwrap();
        let error = verify_checksums(&bench.path).unwrap_err();
        assert!(error.to_string().contains(&format!("{keyword} of HDU 0 is wrong")), "{error}");
    }
    let bare = raw_file(&[(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[])]);
    fs::write(&bench.path, bare).unwrap();
    assert!(verify_checksums(&bench.path).unwrap_err().to_string().contains("absent"));
}

#[test]
fn names_that_cfitsio_would_obey_are_only_names() {
    let bench = Bench::new();
    let data = ramp(9, 9);
    for name in ["a[1:3,1:3].fits", "!b.fits", "~c.fits", "d.fits.gz", "mem:", "e(f).fits"] {
        let path = bench.dir.path().join(name);
        write_image(&path, &data);
        assert_eq!(read_image(&path, &ReadLimits::default()).unwrap().data, data, "{name}");
    }
}

#[test]
fn scaling_offset_and_blank_are_applied() {
    let bench = Bench::new();
    let cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 1", "BZERO   = 32768"];
    let pixels = [0x80, 0x00, 0x00, 0x00, 0x7f, 0xff];
    let image = bench.read_bytes(&raw_file(&[(&cards, &pixels)])).unwrap();
    assert_eq!(image.data, array![[0.0, 32768.0, 65535.0]]);

    let cards = [&cards[..5], &["BLANK   = 0", "BSCALE  = 2.0"]].concat();
    let image = bench.read_bytes(&raw_file(&[(&cards, &pixels)])).unwrap();
    assert_eq!((image.data[[0, 0]], image.data[[0, 2]]), (-65536.0, 65534.0));
    assert!(image.data[[0, 1]].is_nan());
}

#[test]
fn an_image_in_an_extension_inherits_the_primary_header() {
    let bench = Bench::new();
    let primary = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "OBJECT  = 'M 31'", "EXPTIME = 1.0"];
    let extension = [
        "XTENSION= 'IMAGE   '",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 2",
        "NAXIS2  = 1",
        "PCOUNT  = 0",
        "GCOUNT  = 1",
        "EXPTIME = 2.0",
    ];
    let image = bench.read_bytes(&raw_file(&[(&primary, &[]), (&extension, &[5, 6])])).unwrap();
    assert_eq!(image.data, array![[5.0, 6.0]]);
    assert_eq!(image.header.text("OBJECT"), Ok("M 31"));
    assert_eq!(image.header.real("EXPTIME"), Ok(2.0));
    assert_eq!(image.header.integer("NAXIS"), Ok(2));
}

#[test]
fn packed_files_scan_and_read_like_the_plain_one() {
    let bench = Bench::new();
    let data = ramp(50, 40);
    write_image(&bench.path, &data);
    let plain = fs::read(&bench.path).unwrap();
    let whole = bench.scan_bytes(&plain).unwrap();
    let lzw = compress::encoder::compress(&plain, 16, true, 3000);
    for (packed, compression) in [(gzip(&plain), Compression::Gzip), (lzw, Compression::Lzw)] {
        // The name says nothing: the first bytes do.
        let scanned = bench.scan_bytes(&packed).unwrap();
        assert_eq!(scanned.compression, compression);
        assert_eq!((&scanned.sha256, scanned.bytes), (&whole.sha256, whole.bytes));
        assert_eq!(scanned.hdus, whole.hdus);
        assert_eq!(read_image(&bench.path, &ReadLimits::default()).unwrap().data, data, "{compression:?}");
    }
}

#[test]
fn a_cut_file_is_never_whole() {
    let bench = Bench::new();
    write_image(&bench.path, &ramp(60, 31));
    let plain = fs::read(&bench.path).unwrap();
    let lzw = compress::encoder::compress(&plain, 16, true, 3000);
    let mut random = Pcg64Mcg::seed_from_u64(1);
    for whole in [plain.clone(), gzip(&plain), lzw] {
        let cuts = (0..whole.len()).step_by(BLOCK).chain((0..150).map(|_| random.random_range(0..whole.len())));
        // Of a .Z the last byte may hold nothing but padding bits; every earlier cut loses pixels or their padding.
        for cut in cuts.chain([1, 2, 3, 9, whole.len() - 2]) {
            let error = bench.scan_bytes(&whole[..cut]).unwrap_err();
            assert!(error.is_incomplete(), "{cut} of {}: {error}", whole.len());
            assert!(bench.read_bytes(&whole[..cut]).is_err(), "{cut} of {}", whole.len());
        }
    }
    let ScanError::Truncated { declared, found, .. } = bench.scan_bytes(&plain[..plain.len() - 100]).unwrap_err()
    else {
        panic!("a cut file must be called truncated");
    };
    assert_eq!((declared, found), (plain.len() as u64, plain.len() as u64 - 100));
}

#[test]
fn a_cut_second_extension_is_incomplete() {
    let bench = Bench::new();
    let primary: (&[&str], &[u8]) = (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[]);
    let extension: (&[&str], &[u8]) =
        (&["XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 2", "PCOUNT  = 0", "GCOUNT  = 1"], &[1, 2]);
    let whole = raw_file(&[primary, extension]);
    assert_eq!(bench.scan_bytes(&whole).unwrap().hdus.len(), 2);
    for cut in [BLOCK + 1, BLOCK + 8, BLOCK + 100, 2 * BLOCK, 2 * BLOCK + 2, 3 * BLOCK - 1] {
        let error = bench.scan_bytes(&whole[..cut]).unwrap_err();
        assert!(error.is_incomplete(), "{cut}: {error}");
    }
}

#[test]
fn bytes_after_the_end_must_be_blocks_of_padding() {
    let bench = Bench::new();
    let whole = raw_file(&[(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[])]);
    for (extra, fine) in [
        (vec![0u8; BLOCK], true),
        (vec![b' '; 2 * BLOCK], true),
        (vec![0u8; 10], false),
        (b"more".to_vec(), false),
        ([vec![0u8; BLOCK], vec![1u8; BLOCK]].concat(), false),
    ] {
        let result = bench.scan_bytes(&[whole.clone(), extra].concat());
        assert_eq!(result.is_ok(), fine, "{result:?}");
        assert!(fine || matches!(result, Err(ScanError::Trailing { end: 2880, .. })));
    }
}

#[test]
fn what_is_no_fits_file_is_told_apart() {
    let bench = Bench::new();
    assert!(matches!(bench.scan_bytes(b"").unwrap_err(), ScanError::Empty { .. }));
    let error = bench.scan_bytes(b"\x89PNG and so on").unwrap_err();
    assert!(matches!(&error, ScanError::NotFits { found, .. } if found.starts_with("\\x89PNG")), "{error}");
    assert!(!error.is_incomplete());
    let error = bench.scan_bytes(&gzip(b"not fits at all")).unwrap_err();
    assert!(matches!(error, ScanError::NotFits { .. }), "{error}");
    let mut broken = gzip(&vec![7u8; 50_000]);
    broken[15] ^= 0xff;
    broken[16] ^= 0xff;
    let error = bench.scan_bytes(&broken).unwrap_err();
    assert!(matches!(error, ScanError::Compressed { .. } | ScanError::NotFits { .. }), "{error}");
    assert!(matches!(scan(bench.dir.path(), &ScanLimits::default()), Err(ScanError::NotAFile { .. })));
    let error = scan(Path::new("no such file"), &ScanLimits::default()).unwrap_err();
    assert_eq!(crate::fault::Classified::class(&error), crate::fault::FaultClass::Transient);
}

#[test]
fn impossible_headers_are_quoted() {
    let bench = Bench::new();
    let cases: [(&[&str], usize, &str); 13] = [
        (&["SIMPLE  = F", "BITPIX  = 8", "NAXIS   = 0"], 1, "SIMPLE = F"),
        (&["SIMPLE  = T", "BITPIX  = 17", "NAXIS   = 0"], 2, "BITPIX = 17"),
        (&["SIMPLE  = T", "BITPIX  = 'x'", "NAXIS   = 0"], 2, "BITPIX = x"),
        (&["SIMPLE  = T", "NAXIS   = 0", "BITPIX  = 8"], 2, "NAXIS = 0"),
        (&["SIMPLE  = T", "BITPIX  = 8"], 3, ""),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = -1"], 3, "NAXIS = -1"),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1000"], 3, "NAXIS = 1000"),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = -5"], 4, "NAXIS1 = -5"),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1", "OBJECT  = 'x'"], 4, "OBJECT = x"),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 9.5"], 4, "NAXIS1 = 9.5"),
        (
            &["SIMPLE  = T", "BITPIX  = 64", "NAXIS   = 2", "NAXIS1  = 9000000000000", "NAXIS2  = 9000000000000"],
            3,
            "NAXIS = 2",
        ),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "exptime = 3"], 4, "exptime = 3"),
        (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 1", "GCOUNT  = -2"], 5, "GCOUNT = -2"),
    ];
    for (cards, number, quoted) in cases {
        match bench.scan_bytes(&raw_file(&[(cards, &[])])).unwrap_err() {
            ScanError::BadHeader { hdu: 0, card, text, .. } => assert_eq!((card, text.as_str()), (number, quoted)),
            other => panic!("{cards:?}: {other}"),
        }
    }
    let mut bytes = raw_file(&[(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "OBJECT  = 'cafe'"], &[])]);
    bytes[3 * CARD + 14] = 0xe9;
    let error = bench.scan_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("OBJECT  =") && error.contains("\\xe9"), "{error}");
}

#[test]
fn a_value_that_is_no_number_does_not_stop_the_scan() {
    let bench = Bench::new();
    let bytes = raw_file(&[(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXPTIME = NaN"], &[])]);
    let scanned = bench.scan_bytes(&bytes).unwrap();
    let error = scanned.primary().real("EXPTIME").unwrap_err().to_string();
    assert!(error.contains("EXPTIME") && error.contains("NaN"), "{error}");
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    let bench = Bench::new();
    write_image(&bench.path, &ramp(100, 100));
    let limits = ScanLimits::default();
    for (limits, what) in [
        (ScanLimits { cards: 5, ..limits }, "cards in a header"),
        (ScanLimits { hdus: 0, ..limits }, "HDUs"),
        (ScanLimits { bytes: 10_000, ..limits }, "bytes"),
    ] {
        let error = scan(&bench.path, &limits).unwrap_err();
        assert!(matches!(error, ScanError::TooLarge { what: found, .. } if found == what), "{error}");
    }
    let narrow = ReadLimits { columns: 99, ..ReadLimits::default() };
    assert!(matches!(read_image(&bench.path, &narrow), Err(FitsError::Shape { .. })));

    // Twenty kilobytes that unpack to twenty megabytes.
    let head = raw_file(&[(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[])]);
    let bomb = gzip(&[head, vec![0u8; 20_000_000]].concat());
    fs::write(&bench.path, bomb).unwrap();
    let tight = ScanLimits { bytes: 1_000_000, ..limits };
    assert!(matches!(scan(&bench.path, &tight), Err(ScanError::TooLarge { .. })));
    let tight = ReadLimits { file: tight, ..ReadLimits::default() };
    assert!(matches!(read_image(&bench.path, &tight), Err(FitsError::Scan(ScanError::TooLarge { .. }))));

    let vast = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 4000000000", "NAXIS2  = 4000000000"];
    assert!(matches!(bench.read_bytes(&raw_file(&[(&vast, &[])])), Err(FitsError::Shape { .. })));
    // Waiting for sixteen million terabytes would be in vain: the declaration itself is refused.
    let error = bench.scan_bytes(&raw_file(&[(&vast, &[])])).unwrap_err();
    assert!(matches!(error, ScanError::TooLarge { what: "bytes", found, .. } if found > 1 << 60), "{error}");
}

#[test]
fn random_groups_and_heaps_are_counted() {
    let bench = Bench::new();
    let groups = [
        "SIMPLE  = T",
        "BITPIX  = 16",
        "NAXIS   = 2",
        "NAXIS1  = 0",
        "NAXIS2  = 3",
        "GROUPS  = T",
        "PCOUNT  = 2",
        "GCOUNT  = 7",
    ];
    let scanned = bench.scan_bytes(&raw_file(&[(&groups, &[1; 70])])).unwrap();
    assert_eq!(scanned.hdus[0].data_bytes, 2880);
    let table = [
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 8",
        "NAXIS2  = 100",
        "PCOUNT  = 2081",
        "GCOUNT  = 1",
        "TFIELDS = 0",
    ];
    let primary: (&[&str], &[u8]) = (&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[]);
    let scanned = bench.scan_bytes(&raw_file(&[primary, (&table, &[1; 2881])])).unwrap();
    assert_eq!(scanned.hdus[1].data_bytes, 2 * 2880);
}

#[test]
fn mutated_files_never_panic_and_never_read_out_of_limits() {
    let bench = Bench::new();
    write_image(&bench.path, &ramp(30, 20));
    let plain = fs::read(&bench.path).unwrap();
    let forms = [plain.clone(), gzip(&plain), compress::encoder::compress(&plain, 14, true, 900)];
    let limits = ReadLimits { columns: 64, rows: 64, file: ScanLimits { bytes: 1 << 20, ..ScanLimits::default() } };
    let mut random = Pcg64Mcg::seed_from_u64(2);
    for round in 0..2000 {
        let mut bytes = forms[if round % 4 == 3 { 1 + round / 4 % 2 } else { 0 }].clone();
        for _ in 0..random.random_range(1..4) {
            // Three of four mutations hit the cards that say what the file is.
            let reach = if random.random_range(0..4) > 0 { 20 * CARD } else { bytes.len() };
            let at = random.random_range(0..reach.min(bytes.len()));
            match random.random_range(0..4) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random_range(b'0'..=b'9'),
                2 => bytes[at] = random.random_range(b' '..=b'~'),
                _ => bytes.truncate(at.max(1)),
            }
        }
        fs::write(&bench.path, &bytes).unwrap();
        let scanned = scan(&bench.path, &limits.file);
        if let Ok(scanned) = &scanned {
            let declared: u64 = scanned.hdus.iter().map(|hdu| hdu.data_bytes).sum();
            assert!(declared < scanned.bytes);
        }
        if let Ok(image) = read_image(&bench.path, &limits) {
            assert!(image.data.nrows() <= 64 && image.data.ncols() <= 64);
        }
    }
}

#[test]
fn every_card_of_a_written_header_parses_to_itself() {
    let header = sample_header();
    let mut back = Header::new();
    for record in header.cards().iter().flat_map(|card| card::format(card).unwrap()) {
        card::append(&mut back, card::parse(&record).unwrap());
    }
    assert_eq!(back, header);
}

#[test]
fn a_table_is_read_back_as_it_was_written_and_its_sums_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.fits");
    let (x, order) = ([1.5, f64::NAN, -3.0e-300], [3, i64::MIN, 24]);
    let ion = ["Ar I".to_string(), String::new(), "ThII".to_string()];
    let columns = [
        ColumnData { name: "observed_x", unit: "pixel", values: ColumnValues::F64(&x) },
        ColumnData { name: "ion", unit: "", values: ColumnValues::Text(&ion) },
        ColumnData { name: "order", unit: "", values: ColumnValues::I64(&order) },
    ];
    let mut own = sample_header();
    own.set("TTYPE7", "left over", "");
    let hdus = [
        ImageHdu { extname: None, header: sample_header(), plane: PlaneData::Empty },
        ImageHdu { extname: Some("LINES".to_string()), header: own, plane: PlaneData::Table(&columns) },
    ];
    write_images(&path, &hdus).unwrap();
    verify_checksums(&path).unwrap();
    scan(&path, &ScanLimits::default()).unwrap();
    let tables = read_tables(&path).unwrap();
    let [table] = tables.as_slice() else { panic!("{} tables", tables.len()) };
    assert_eq!(table.extname.as_deref(), Some("LINES"));
    assert_eq!(table.header.text("OBJECT").unwrap(), "NGC 'quoted' 1");
    assert!(!table.header.contains("TTYPE7"));
    let [first, second, third] = table.columns.as_slice() else { panic!("{} columns", table.columns.len()) };
    let ReadValues::F64(found) = &first.values else { panic!("{first:?}") };
    assert!(found.iter().zip(x).all(|(found, put)| found.to_bits() == put.to_bits()));
    assert_eq!((first.name.as_str(), first.unit.as_str()), ("observed_x", "pixel"));
    assert_eq!(second.values, ReadValues::Text(ion.to_vec()));
    assert_eq!(third.values, ReadValues::I64(order.to_vec()));

    let again = dir.path().join("again.fits");
    write_images(&again, &hdus).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn columns_that_are_no_table_are_refused_before_a_file_exists() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.fits");
    let write = |place: usize, columns: &[ColumnData<'_>]| {
        let empty = || ImageHdu { extname: None, header: Header::new(), plane: PlaneData::Empty };
        let table = ImageHdu { extname: None, header: Header::new(), plane: PlaneData::Table(columns) };
        let mut hdus = vec![empty(), empty()];
        hdus[place] = table;
        write_images(&path, &hdus).unwrap_err().to_string()
    };
    let (long, short, foreign) = ([1.0, 2.0], [1], ["\u{e9}".to_string(), String::new()]);
    let real = ColumnData { name: "x", unit: "", values: ColumnValues::F64(&long) };
    let unequal = [real.clone(), ColumnData { name: "n", unit: "", values: ColumnValues::I64(&short) }];
    assert!(write(1, &unequal).ends_with("column n has 1 rows, the first has 2"), "{}", write(1, &unequal));
    let text = [ColumnData { name: "ion", unit: "", values: ColumnValues::Text(&foreign) }];
    assert!(write(1, &text).contains("column ion holds"), "{}", write(1, &text));
    assert!(write(0, &[real]).ends_with("the first HDU can't be a table"));
    assert!(!path.exists());
}

#[test]
fn tables_of_other_programs_are_read_or_refused_with_the_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("foreign.fits");
    let primary: &[&str] =
        &["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"];
    let file = |form: &str, width: usize, rows: usize, row: &[u8]| {
        let (width, form) = (format!("NAXIS1  = {width:>20}"), format!("TFORM1  = '{form:<8}'"));
        let rows = format!("NAXIS2  = {rows:>20}");
        let table = [
            "XTENSION= 'BINTABLE'",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            width.as_str(),
            rows.as_str(),
            "PCOUNT  =                    0",
            "GCOUNT  =                    1",
            "TFIELDS =                    1",
            form.as_str(),
        ];
        fs::write(&path, raw_file(&[(primary, &[]), (&table, row)])).unwrap();
        read_tables(&path)
    };
    let values = |form: &str, width, row: &[u8]| file(form, width, 1, row).unwrap().remove(0).columns.remove(0).values;
    assert_eq!(values("1E", 4, &1.25f32.to_be_bytes()), ReadValues::F64(vec![1.25]));
    assert_eq!(values("J", 4, &(-7i32).to_be_bytes()), ReadValues::I64(vec![-7]));
    assert_eq!(values("1I", 2, &9i16.to_be_bytes()), ReadValues::I64(vec![9]));
    assert_eq!(values("B", 1, &[200]), ReadValues::I64(vec![200]));
    // A cell of several numbers is read of a table of one row only.
    assert_eq!(values("3I", 6, &[0, 1, 0, 2, 0, 3]), ReadValues::I64(vec![1, 2, 3]));
    for (form, width, rows) in [("3D", 24, 2), ("PD(3)", 8, 1), ("2I", 4, 3), ("0D", 0, 1)] {
        let error = file(form, width, rows, &[0; 64]).unwrap_err();
        assert!(matches!(error, FitsError::Table { hdu: 1, .. }), "{form}: {error}");
    }
}
