//! Files made card by card for tests, right ones and wrong ones: nothing here is shared with the writer or the reader.

use std::path::{Path, PathBuf};

/// Time of the check in tests: a day after the exposures.
pub const NOW_MJD: f64 = 61_001.5;

/// One HDU in the making.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Cards without END, each at most 80 bytes.
    pub cards: Vec<Vec<u8>>,
    /// Data without padding.
    pub data: Vec<u8>,
}

/// A file in the making.
#[derive(Clone, Debug)]
pub struct Forge {
    /// File name.
    pub name: String,
    /// HDUs.
    pub units: Vec<Unit>,
    /// Put right sums into CHECKSUM and DATASUM where they stand.
    pub stamp: bool,
    /// Bytes after the last HDU.
    pub tail: Vec<u8>,
}

/// `KEYWORD = literal`, the literal as it stands on the card.
pub fn card(keyword: &str, literal: &str) -> Vec<u8> {
    let mut line = if literal.starts_with('\'') {
        format!("{keyword:8}= {literal}")
    } else {
        format!("{keyword:8}= {literal:>20}")
    };
    assert!(line.len() <= 80, "{line}");
    line.push_str(&" ".repeat(80 - line.len()));
    line.into_bytes()
}

fn unit(cards: &str, data: Vec<u8>) -> Unit {
    let lines = cards.lines().map(str::trim).filter(|line| !line.is_empty());
    let cards = lines.map(|line| {
        let (keyword, literal) = line.split_once('=').unwrap();
        card(keyword.trim(), literal.trim())
    });
    Unit { cards: cards.collect(), data }
}

impl Forge {
    fn index(&self, hdu: usize, keyword: &str) -> Option<usize> {
        let start = format!("{keyword:8}");
        self.units[hdu].cards.iter().position(|card| card.starts_with(start.as_bytes()))
    }

    /// Replace a card, or add one at the end.
    pub fn set(&mut self, hdu: usize, keyword: &str, literal: &str) -> &mut Forge {
        let new = card(keyword, literal);
        match self.index(hdu, keyword) {
            Some(index) => self.units[hdu].cards[index] = new,
            None => self.units[hdu].cards.push(new),
        }
        self
    }

    /// Remove a card.
    pub fn remove(&mut self, hdu: usize, keyword: &str) -> &mut Forge {
        let index = self.index(hdu, keyword).unwrap_or_else(|| panic!("no {keyword} in HDU {hdu}"));
        self.units[hdu].cards.remove(index);
        self
    }

    /// Put values into a column of the spectrum's table: elements of 8 bytes.
    pub fn put(&mut self, column: usize, element: usize, value: f64) -> &mut Forge {
        let at = (column * ELEMENTS + element) * 8;
        self.units[1].data[at..at + 8].copy_from_slice(&value.to_be_bytes());
        self
    }

    /// Put the sums right now, and not when it is written: what is changed after this is not summed.
    pub fn stamp_now(&mut self) -> &mut Forge {
        for unit in &mut self.units {
            let mut data = unit.data.clone();
            data.resize(data.len().next_multiple_of(2880), 0);
            stamp(&mut unit.cards, &data);
        }
        self.stamp = false;
        self
    }

    /// Write it into a folder.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let mut bytes = Vec::new();
        for unit in &self.units {
            let mut data = unit.data.clone();
            data.resize(data.len().next_multiple_of(2880), 0);
            let mut cards = unit.cards.clone();
            if self.stamp {
                stamp(&mut cards, &data);
            }
            bytes.extend(header(&cards));
            bytes.extend(data);
        }
        bytes.extend(&self.tail);
        let path = folder.join(&self.name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn header(cards: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = cards.concat();
    bytes.extend(b"END");
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes
}

fn sum(bytes: &[u8], mut sum: u64) -> u64 {
    for word in bytes.chunks(4) {
        sum += u64::from(u32::from_be_bytes(word.try_into().unwrap()));
        sum = (sum & 0xffff_ffff) + (sum >> 32);
    }
    sum
}

fn stamp(cards: &mut [Vec<u8>], data: &[u8]) {
    let data_sum = sum(data, 0);
    let find = |cards: &[Vec<u8>], name: &str| cards.iter().position(|card| card.starts_with(name.as_bytes()));
    if let Some(index) = find(cards, "DATASUM ") {
        cards[index] = card("DATASUM", &format!("'{data_sum}'"));
    }
    if let Some(index) = find(cards, "CHECKSUM") {
        cards[index] = card("CHECKSUM", "'0000000000000000'");
        let total = !(sum(&header(cards), data_sum) as u32);
        // Appendix J of the FITS standard: each byte in four, none of them punctuation, one place to the right.
        let mut text = [0u8; 16];
        for (place, byte) in total.to_be_bytes().into_iter().enumerate() {
            let mut four = [byte / 4 + 48; 4];
            four[0] += byte % 4;
            let odd = |byte: &u8| (58..=64).contains(byte) || (91..=96).contains(byte);
            while four.iter().any(odd) {
                for pair in [0, 2] {
                    if odd(&four[pair]) || odd(&four[pair + 1]) {
                        four[pair] += 1;
                        four[pair + 1] -= 1;
                    }
                }
            }
            for (row, byte) in four.into_iter().enumerate() {
                text[(4 * row + place + 1) % 16] = byte;
            }
        }
        cards[index] = card("CHECKSUM", &format!("'{}'", String::from_utf8(text.to_vec()).unwrap()));
    }
}

/// Elements of the spectrum.
pub const ELEMENTS: usize = 41;

/// What every science file says in HDU 0.
const SCIENCE: &str = "
    EXTEND = T
    DATE = '2026-11-22T04:00:00.000'
    ORIGIN = 'ESO'
    TELESCOP = 'ESO-NTT'
    INSTRUME = 'SOXS'
    OBJECT = 'SN 2025abc'
    RA = 150.1234567
    DEC = -2.1234567
    RADESYS = 'ICRS'
    EQUINOX = 2000.0
    TIMESYS = 'UTC'
    EXPTIME = 1200.0
    TEXPTIME = 1200.0
    MJD-OBS = 61000.12345678
    MJD-END = 61000.14429011
    DATE-OBS = '2025-11-21T02:57:46.666'
    PROG_ID = '116.28LH.001'
    OBID1 = 1000593703
    NCOMBINE = 2
    OBSTECH = 'ECHELLE,SLIT,NODDING'
    FLUXCAL = 'ABSOLUTE'
    PROCSOFT = 'soxsd/0.1.0'
    REFERENC = ''
    PROV1 = 'SOXS.2025-11-21T02:57:46.666'
    PROV2 = 'SOXS.2025-11-21T03:12:00.000'
    CHECKSUM = ''
    DATASUM = ''";

/// The preview that [`spectrum`] is associated with.
pub const PREVIEW: (&str, &[u8]) = ("preview.png", b"not a picture, but a file");

/// A right spectrum, with its preview beside it in the folder.
pub fn spectrum(folder: &Path) -> Forge {
    let preview = folder.join(PREVIEW.0);
    std::fs::write(&preview, PREVIEW.1).unwrap();
    let md5 = crate::fits::FileDigests::of(&preview).unwrap().md5;
    let primary = format!(
        "SIMPLE = T\n BITPIX = 8\n NAXIS = 0\n PRODCATG = 'SCIENCE.SPECTRUM'\n{SCIENCE}
        SPECSYS = 'TOPOCENT'\n EXT_OBJ = F\n CONTNORM = F\n TOT_FLUX = F\n FLUXERR = -2.0
        WAVELMIN = 500.0\n WAVELMAX = 504.0\n SPEC_BIN = 0.1\n SPEC_ERR = 0.002\n SPEC_SYE = 0.0
        LAMRMS = 0.01\n LAMNLIN = 300\n RA_ERR = 0.000138889\n DEC_ERR = 0.000138889\n SNR = 20.0
        SPEC_RES = 4500.0\n PRODLVL = 2\n DISPELEM = 'UVVIS'\n M_EPOCH = F\n SINGLEXP = F
        ASSON1 = '{}'\n ASSOC1 = 'ANCILLARY.PREVIEW'\n ASSOM1 = '{md5}'",
        PREVIEW.0
    );
    let mut table = format!(
        "XTENSION = 'BINTABLE'\n BITPIX = 8\n NAXIS = 2\n NAXIS1 = {}\n NAXIS2 = 1\n PCOUNT = 0\n GCOUNT = 1
        TFIELDS = 6\n EXTNAME = 'SPECTRUM'\n INHERIT = T\n VOCLASS = 'SPECTRUM V2.0'\n VOPUB = 'ESO/SAF'
        TITLE = 'SN 2025abc_SOXS_2025-11-21T02:57:46.666_VIS'\n OBJECT = 'SN 2025abc'
        RA = 150.1234567\n DEC = -2.1234567\n APERTURE = 0.00027777778\n TELAPSE = 1799.999712
        TMID = 61000.133873445\n SPEC_VAL = 502.0\n SPEC_BW = 4.0\n NELEM = {ELEMENTS}
        TDMIN1 = 500.0\n TDMAX1 = 504.0\n CHECKSUM = ''\n DATASUM = ''",
        ELEMENTS * 44
    );
    let flux_unit = "erg.s**(-1).cm**(-2).angstrom**(-1)";
    let flux_ucd = "phot.flux.density;em.wl;src.net;meta.main";
    for (number, (name, form, unit, utype, ucd)) in (1..).zip([
        ("WAVE", "D", "nm", "spec:Data.SpectralAxis.Value", "em.wl;obs.atmos"),
        ("FLUX", "D", flux_unit, "spec:Data.FluxAxis.Value", flux_ucd),
        (
            "ERR",
            "D",
            flux_unit,
            "spec:Data.FluxAxis.Accuracy.StatError",
            "stat.error;phot.flux.density;em.wl;meta.main",
        ),
        ("BGFLUX", "D", flux_unit, "", flux_ucd),
        ("SNR", "D", "", "eso:Data.FluxAxis.Accuracy.SNR", "stat.snr;meta.main"),
        ("QUAL", "J", "", "spec:Data.FluxAxis.Accuracy.QualityStatus", "meta.code.qual;meta.main"),
    ]) {
        table.push_str(&format!(
            "\nTTYPE{number} = '{name}'\nTFORM{number} = '{ELEMENTS}{form}'\nTUNIT{number} = '{unit}'
             TUTYP{number} = '{utype}'\nTUCD{number} = '{ucd}'"
        ));
    }
    let columns: [&dyn Fn(usize) -> f64; 5] =
        [&|i| 500.0 + 0.1 * i as f64, &|i| 2e-17 + 1e-19 * (i % 3) as f64, &|_| 1e-18, &|_| 1e-18, &|_| 20.0];
    let mut data: Vec<u8> = columns.iter().flat_map(|of| (0..ELEMENTS).flat_map(|i| of(i).to_be_bytes())).collect();
    data.resize(ELEMENTS * 44, 0);
    let units = vec![unit(&primary, Vec::new()), unit(&table, data)];
    Forge { name: "SOXS_SN2025abc_20251121T025746666_VIS_1D.fits".to_string(), units, stamp: true, tail: Vec::new() }
}

const WCS: &str = "
    BUNIT = 'adu'\n CTYPE1 = 'RA---TAN'\n CTYPE2 = 'DEC--TAN'\n CRVAL1 = 150.1234567\n CRVAL2 = -2.1234567
    CRPIX1 = 4.5\n CRPIX2 = 3.5\n CUNIT1 = 'deg'\n CUNIT2 = 'deg'
    CD1_1 = -5.7E-05\n CD1_2 = 0.0\n CD2_1 = 0.0\n CD2_2 = 5.7E-05";
const PHOTOMETRY: &str = "
    CRDER1 = 1.0E-05\n CSYER1 = 1.0E-05\n CRDER2 = 1.0E-05\n CSYER2 = 1.0E-05\n PHOTZP = 27.1\n PHOTZPER = 0.05
    PHOTSYS = 'AB'\n ABMAGLIM = 22.5\n ABMAGSAT = 14.1\n PSF_FWHM = 1.1";

/// A right image with its data in HDU 0.
pub fn image() -> Forge {
    let cards = format!(
        "SIMPLE = T\n BITPIX = -32\n NAXIS = 2\n NAXIS1 = 8\n NAXIS2 = 6\n PRODCATG = 'SCIENCE.IMAGE'\n FILTER = 'r'
        {SCIENCE}\n{WCS}\n{PHOTOMETRY}"
    );
    let mut forge = Forge {
        name: "image.fits".to_string(),
        units: vec![unit(&cards, vec![0; 192])],
        stamp: true,
        tail: Vec::new(),
    };
    forge.set(0, "OBSTECH", "'IMAGE'");
    forge
}

/// A right image with its errors and quality in the same file.
pub fn extensions() -> Forge {
    let primary = format!("SIMPLE = T\n BITPIX = 8\n NAXIS = 0\n PRODCATG = 'SCIENCE.IMAGE'\n FILTER = 'r'\n{SCIENCE}");
    let mut units = vec![unit(&primary, Vec::new())];
    for (name, own) in [
        ("DATA", "HDUCLAS2 = 'DATA'\n ERRDATA = 'ERR'\n QUALDATA = 'Q'"),
        ("ERR", "HDUCLAS2 = 'ERROR'\n HDUCLAS3 = 'RMSE'\n SCIDATA = 'DATA'\n QUALDATA = 'Q'"),
        ("Q", "HDUCLAS2 = 'QUALITY'\n HDUCLAS3 = 'MASKZERO'\n SCIDATA = 'DATA'\n ERRDATA = 'ERR'"),
    ] {
        let photometry = if name == "DATA" { PHOTOMETRY } else { "" };
        let cards = format!(
            "XTENSION = 'IMAGE'\n BITPIX = -32\n NAXIS = 2\n NAXIS1 = 8\n NAXIS2 = 6\n PCOUNT = 0\n GCOUNT = 1
            EXTNAME = '{name}'\n HDUCLASS = 'ESO'\n HDUCLAS1 = 'IMAGE'\n HDUDOC = 'SDP'\n HDUVERS = 'SDP version 8'
            {own}\n{WCS}\n{photometry}\n CHECKSUM = ''\n DATASUM = ''"
        );
        units.push(unit(&cards, vec![0; 192]));
    }
    let mut forge = Forge { name: "extensions.fits".to_string(), units, stamp: true, tail: Vec::new() };
    forge.set(0, "OBSTECH", "'IMAGE'");
    forge
}

/// A right companion of this category.
pub fn companion(category: &str) -> Forge {
    let primary = format!(
        "SIMPLE = T\n BITPIX = 8\n NAXIS = 0\n EXTEND = T\n PRODCATG = '{category}'\n CHECKSUM = ''\n DATASUM = ''"
    );
    let plane = "XTENSION = 'IMAGE'\n BITPIX = -32\n NAXIS = 2\n NAXIS1 = 8\n NAXIS2 = 6\n PCOUNT = 0\n GCOUNT = 1
        EXTNAME = 'FLUX'\n HDUCLASS = 'ESO'\n CTYPE1 = 'AWAV'\n CUNIT1 = 'nm'\n BUNIT = 'adu'\n CHECKSUM = ''\n DATASUM = ''";
    let units = vec![unit(&primary, Vec::new()), unit(plane, vec![0; 192])];
    Forge { name: "companion.fits".to_string(), units, stamp: true, tail: Vec::new() }
}
