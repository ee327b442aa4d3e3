#!/usr/bin/env python3
"""Open Phase 3 files with the readers that astronomers use; any warning is a failure. See README.md."""

import argparse
import io
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits, votable
from astropy.nddata import StdDevUncertainty
from astropy.table import Table
from astropy.wcs import WCS
from specutils import Spectrum


def check(condition, complaint):
    if not condition:
        raise AssertionError(complaint)


def whole(path):
    """Every HDU, its checksums, its data; returns what the file claims to be."""
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            hdu.data  # read now, not when somebody looks
            for keyword in ("CHECKSUM", "DATASUM"):
                check(keyword in hdu.header, f"HDU {hdu.name}: no {keyword}")
        return hdus[0].header.get("PRODCATG", ""), [hdu.name for hdu in hdus]


def science(path):
    """The one-row table of the standard: astropy's table, specutils' spectrum, a VO table and back."""
    table = Table.read(path, hdu=1)
    header = fits.getheader(path, 1)
    check(len(table) == 1, f"{len(table)} rows")
    row = {name: np.asarray(table[name][0]) for name in table.colnames}
    for name in ("WAVE", "FLUX", "ERR"):
        check(isinstance(table[name].unit, units.UnitBase), f"{name} has no unit that astropy knows")
        check(not isinstance(table[name].unit, units.UnrecognizedUnit), f"unit {table[name].unit} of {name}")
        check(len(row[name]) == header["NELEM"], f"{name} has {len(row[name])} elements")
    check(table["FLUX"].unit == table["ERR"].unit, "flux and error differ in their unit")
    good = row["QUAL"] == 0
    check(good.any() and np.all(np.isfinite(row["FLUX"][good])) and np.all(row["ERR"][good] > 0), "bad good elements")
    spectrum = Spectrum(
        spectral_axis=row["WAVE"] * table["WAVE"].unit,
        flux=row["FLUX"] * table["FLUX"].unit,
        uncertainty=StdDevUncertainty(row["ERR"]),
        mask=~good,
    )
    check(np.all(np.diff(spectrum.spectral_axis.value) > 0), "the wavelengths do not increase")
    # The VO deprecates the erg, which ESO asks for: densities travel in watts there.
    density = units.Unit("W m-2 nm-1")
    flat = Table()
    for number, name in enumerate(table.colnames, start=1):
        unit = table[name].unit
        values = row[name] if unit is None else row[name] * unit
        flat[name] = values.to(density) if unit is not None and unit.is_equivalent(density) else values
        flat[name].meta["ucd"] = header[f"TUCD{number}"]
    text = io.BytesIO()
    flat.write(text, format="votable")
    text.seek(0)
    back = votable.parse(text, verify="exception").get_first_table().to_table()
    check(len(back) == header["NELEM"] and np.array_equal(back["WAVE"], row["WAVE"]), "the VO table differs")
    signal = np.nanmedian((row["FLUX"] / row["ERR"])[good])
    return f"{len(good)} elements, {good.sum()} good, {row['WAVE'][0]:.2f}-{row['WAVE'][-1]:.2f} nm, S/N {signal:.1f}"


def rectified(path):
    """The planes of a two-dimensional spectrum and their axes."""
    with fits.open(path) as hdus:
        shape = hdus["FLUX"].data.shape
        for name in ("FLUX", "ERRS", "QUAL"):
            check(hdus[name].data.shape == shape, f"{name} is {hdus[name].data.shape}, FLUX is {shape}")
        first = WCS(hdus["FLUX"].header).wcs_pix2world([[0, 0]], 0)[0]
        return f"{shape[0]} x {shape[1]} pixels, the first at {first[0]}"


def paper(path):
    """The layout of the data paper, by the loader of specutils."""
    spectrum = Spectrum.read(path, format="tabular-fits")
    check(np.all(np.diff(spectrum.spectral_axis.value) > 0), "the wavelengths do not increase")
    return f"{len(spectrum.flux)} samples in {spectrum.flux.unit}"


def read(path):
    claim, names = whole(path)
    if claim == "SCIENCE.SPECTRUM":
        return science(path)
    if claim == "ANCILLARY.2DSPECTRUM":
        return rectified(path)
    if "VARIANCE" in names:
        return paper(path)
    return f"{len(names)} HDUs"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="FITS files, or folders of them")
    parser.add_argument("--trace", action="store_true", help="print where it failed")
    args = parser.parse_args()
    files = [file for given in args.files for file in (sorted(given.rglob("*.fits")) if given.is_dir() else [given])]
    failed = 0
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                print(f"{file}: {read(file)}")
            except Exception as error:  # whatever a reader says is a complaint
                failed += 1
                print(f"{file}: FAILED: {type(error).__name__}: {error}")
                if args.trace:
                    traceback.print_exc()
    print(f"{len(files)} files, {failed} failed")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
