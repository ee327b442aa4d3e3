//! Safe wrappers around the few cfitsio calls that `read` and `write` need. The only file of the crate with `unsafe`.
//!
//! A [`Handle`] is opened, used and closed by one function on one thread: it holds a raw pointer, so the compiler refuses
//! to send it elsewhere. Names are always given to the disk-file variants (`ffdkopn`, `ffdkinit`): the ordinary ones read
//! brackets, `!` and prefixes in a name as instructions. cfitsio's memory driver is never called.
//!
//! What never lives here: judgement. Shapes are checked by the callers before they allocate.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fitsio::sys;

use super::card::CARD;

/// cfitsio's status after a failed call, with its own short text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cfitsio status {code}: {text}")]
pub struct Status {
    /// The number; cfitsio's manual lists them.
    pub code: i32,
    /// The number in words.
    pub text: String,
}

/// Longest name that cfitsio can hold (FLEN_FILENAME less the closing zero).
const NAME_MAX: usize = 1024;
/// Longest error text including the closing zero, with room to spare over FLEN_STATUS (31).
const TEXT_MAX: usize = 81;
/// More axes than any image that is accepted; further ones are counted, not reported.
const AXES_MAX: usize = 9;
/// Status for a name that can't be given to cfitsio (FILE_NOT_OPENED).
const FILE_NOT_OPENED: i32 = 104;

fn status(code: c_int) -> Result<(), Status> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0 as c_char; TEXT_MAX];
    // SAFETY: ffgerr writes at most FLEN_STATUS (31) bytes with a closing zero; the buffer is longer and zeroed, so it
    // holds a closing zero in any case. ffcmsg only empties cfitsio's own (locked) message stack, which nobody reads:
    // messages of several threads mix there.
    let text = unsafe {
        sys::ffgerr(code, text.as_mut_ptr());
        sys::ffcmsg();
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    };
    Err(Status { code, text })
}

fn c_name(path: &Path) -> Result<CString, Status> {
    // An absolute name can't begin with '~', '-' or '!', which mean something to cfitsio.
    let refuse = |text: &str| Status { code: FILE_NOT_OPENED, text: text.to_string() };
    let path = std::path::absolute(path).map_err(|error| refuse(&error.to_string()))?;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > NAME_MAX {
        return Err(refuse("the path is longer than 1024 bytes"));
    }
    CString::new(bytes).map_err(|_| refuse("the path holds a zero byte"))
}

/// Version of the linked cfitsio, for example 3.49.
pub fn version() -> f32 {
    let mut version = 0f32;
    // SAFETY: ffvers writes one float.
    unsafe { sys::ffvers(&mut version) }
}

/// True when cfitsio was built for use by several threads.
pub fn is_reentrant() -> bool {
    // SAFETY: no arguments, returns a constant of the build.
    unsafe { sys::fits_is_reentrant() != 0 }
}

/// An open file. Dropping it closes it without a check; writers call [`Handle::close`].
pub struct Handle {
    file: *mut sys::fitsfile,
}

/// A pixel type that cfitsio converts to and from.
pub trait Pixel: Copy + Default {
    /// cfitsio's code of the type.
    const CODE: c_int;
    /// What undefined integer pixels become, if the type has such a value.
    const UNDEFINED: Option<Self>;
}

impl Pixel for f32 {
    const CODE: c_int = sys::TFLOAT as c_int;
    const UNDEFINED: Option<f32> = Some(f32::NAN);
}

impl Pixel for u8 {
    const CODE: c_int = sys::TBYTE as c_int;
    const UNDEFINED: Option<u8> = None;
}

impl Pixel for u16 {
    const CODE: c_int = sys::TUSHORT as c_int;
    const UNDEFINED: Option<u16> = None;
}

impl Pixel for i32 {
    const CODE: c_int = sys::TINT as c_int;
    const UNDEFINED: Option<i32> = None;
}

impl Handle {
    /// Open a plain, gzip or compress file for reading.
    pub fn open(path: &Path) -> Result<Handle, Status> {
        let name = c_name(path)?;
        let mut file = std::ptr::null_mut();
        let mut code = 0;
        // SAFETY: `name` is a closed string that outlives the call; `file` and `code` are valid for writing.
        unsafe { sys::ffdkopn(&mut file, name.as_ptr(), sys::READONLY as c_int, &mut code) };
        Handle::from_raw(file, code)
    }

    /// Create a file; fails when it exists.
    pub fn create(path: &Path) -> Result<Handle, Status> {
        let name = c_name(path)?;
        let mut file = std::ptr::null_mut();
        let mut code = 0;
        // SAFETY: as in `open`.
        unsafe { sys::ffdkinit(&mut file, name.as_ptr(), &mut code) };
        Handle::from_raw(file, code)
    }

    fn from_raw(file: *mut sys::fitsfile, code: c_int) -> Result<Handle, Status> {
        status(code)?;
        if file.is_null() {
            return Err(Status { code: FILE_NOT_OPENED, text: "no file was opened".to_string() });
        }
        Ok(Handle { file })
    }

    /// Close and report what Drop would hide: a full disk often shows only here.
    pub fn close(self) -> Result<(), Status> {
        let file = std::mem::ManuallyDrop::new(self).file;
        let mut code = 0;
        // SAFETY: `file` came from a successful open and is closed once: Drop does not run on ManuallyDrop.
        unsafe { sys::ffclos(file, &mut code) };
        status(code)
    }

    /// Number of HDUs.
    pub fn hdu_count(&mut self) -> Result<usize, Status> {
        let (mut count, mut code) = (0, 0);
        // SAFETY: the handle is open; both outputs are valid for writing.
        unsafe { sys::ffthdu(self.file, &mut count, &mut code) };
        status(code)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Go to an HDU, 0 is the primary. True when it is an image (or holds none), false when it is a table.
    pub fn select(&mut self, hdu: usize) -> Result<bool, Status> {
        let number = c_int::try_from(hdu + 1).unwrap_or(c_int::MAX);
        let (mut kind, mut code) = (0, 0);
        // SAFETY: as above.
        unsafe { sys::ffmahd(self.file, number, &mut kind, &mut code) };
        status(code)?;
        Ok(kind == sys::IMAGE_HDU as c_int)
    }

    /// BITPIX as stored, and the axes (columns first) of the image in this HDU.
    pub fn image(&mut self) -> Result<(i32, Vec<u64>), Status> {
        let (mut bitpix, mut axes, mut code) = (0, 0, 0);
        let mut lengths = [0; AXES_MAX];
        // SAFETY: `lengths` holds the AXES_MAX values that the call may write.
        unsafe { sys::ffgiprll(self.file, AXES_MAX as c_int, &mut bitpix, &mut axes, lengths.as_mut_ptr(), &mut code) };
        status(code)?;
        let axes = usize::try_from(axes).unwrap_or(0);
        let known = lengths.iter().take(axes).map(|length| u64::try_from(*length).unwrap_or(0));
        // Axes beyond the buffer are reported with length 0, so that the shape has the right number of them.
        Ok((bitpix, known.chain(std::iter::repeat_n(0, axes.saturating_sub(AXES_MAX))).collect()))
    }

    /// Type of the image after BZERO and BSCALE: 20 (USHORT_IMG) for BITPIX 16 with BZERO 32768, else like BITPIX.
    pub fn equivalent_type(&mut self) -> Result<i32, Status> {
        let (mut kind, mut code) = (0, 0);
        // SAFETY: the handle is open; both outputs are valid for writing.
        unsafe { sys::ffgiet(self.file, &mut kind, &mut code) };
        status(code)?;
        Ok(kind)
    }

    /// All records of this HDU's header without END.
    pub fn records(&mut self) -> Result<Vec<[u8; CARD]>, Status> {
        let (mut count, mut free, mut code) = (0, 0, 0);
        // SAFETY: the handle is open; the outputs are valid for writing.
        unsafe { sys::ffghsp(self.file, &mut count, &mut free, &mut code) };
        status(code)?;
        (1..=count)
            .map(|number| {
                let mut text = [0 as c_char; CARD + 1];
                let mut code = 0;
                // SAFETY: a record is at most 80 characters (FLEN_CARD is 81 with the closing zero).
                unsafe { sys::ffgrec(self.file, number, text.as_mut_ptr(), &mut code) };
                status(code)?;
                let mut record = [b' '; CARD];
                for (to, from) in record.iter_mut().zip(text.iter().take_while(|byte| **byte != 0)) {
                    *to = *from as u8;
                }
                Ok(record)
            })
            .collect()
    }

    /// Read the first `pixels.len()` pixels of this HDU with BZERO and BSCALE applied.
    pub fn read<T: Pixel>(&mut self, pixels: &mut [T], mark_undefined: bool) -> Result<(), Status> {
        let mut undefined = T::UNDEFINED.filter(|_| mark_undefined);
        let marker =
            undefined.as_mut().map_or(std::ptr::null_mut(), |value| std::ptr::from_mut(value).cast::<c_void>());
        let (mut any, mut code) = (0, 0);
        // SAFETY: `pixels` is valid for `len` values of the type that CODE names; `marker` is null or points to one
        // value of it that outlives the call; cfitsio checks that the HDU holds that many pixels.
        unsafe {
            let target = pixels.as_mut_ptr().cast();
            sys::ffgpv(self.file, T::CODE, 1, pixels.len() as i64, marker, target, &mut any, &mut code)
        };
        status(code)
    }

    /// Begin another HDU at the end of the file.
    pub fn append_hdu(&mut self) -> Result<(), Status> {
        let mut code = 0;
        // SAFETY: the handle is open for writing.
        unsafe { sys::ffcrhd(self.file, &mut code) };
        status(code)
    }

    /// Append one record to this HDU's header.
    pub fn write_record(&mut self, record: &[u8; CARD]) -> Result<(), Status> {
        let mut text = [0 as c_char; CARD + 1];
        for (to, from) in text.iter_mut().zip(record) {
            *to = *from as c_char;
        }
        let mut code = 0;
        // SAFETY: `text` is closed by the zero in its last place.
        unsafe { sys::ffprec(self.file, text.as_ptr(), &mut code) };
        status(code)
    }

    /// Write all pixels of this HDU. The header must be written.
    pub fn write<T: Pixel>(&mut self, pixels: &[T]) -> Result<(), Status> {
        let mut code = 0;
        // SAFETY: `pixels` is valid for `len` values of the type that CODE names. The parameter is `*mut` because C
        // has no const there; cfitsio converts into buffers of its own and leaves the input alone.
        unsafe {
            let source = pixels.as_ptr().cast_mut().cast();
            sys::ffppr(self.file, T::CODE, 1, pixels.len() as i64, source, &mut code)
        };
        status(code)
    }

    /// Write the whole data unit of a table as finished bytes. The header must be written.
    pub fn write_rows(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let mut code = 0;
        // SAFETY: `bytes` is valid for `len` bytes. The parameter is `*mut` because C has no const there; cfitsio copies.
        unsafe { sys::ffptbb(self.file, 1, 1, bytes.len() as i64, bytes.as_ptr().cast_mut(), &mut code) };
        status(code)
    }

    /// Read the first bytes of a table's data unit as they are.
    pub fn read_rows(&mut self, bytes: &mut [u8]) -> Result<(), Status> {
        let mut code = 0;
        // SAFETY: `bytes` is valid for `len` bytes; cfitsio checks that the table holds that many.
        unsafe { sys::ffgtbb(self.file, 1, 1, bytes.len() as i64, bytes.as_mut_ptr(), &mut code) };
        status(code)
    }

    /// Verify DATASUM and CHECKSUM of this HDU: 1 right, 0 absent, -1 wrong.
    pub fn verify_checksum(&mut self) -> Result<(i32, i32), Status> {
        let (mut data, mut hdu, mut code) = (0, 0, 0);
        // SAFETY: the handle is open; the outputs are valid for writing.
        unsafe { sys::ffvcks(self.file, &mut data, &mut hdu, &mut code) };
        status(code)?;
        Ok((data, hdu))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut code = 0;
        // SAFETY: an open file that was not closed by `close`. Only error paths and readers come here.
        unsafe { sys::ffclos(self.file, &mut code) };
        if code != 0 {
            // SAFETY: empties cfitsio's own message stack.
            unsafe { sys::ffcmsg() };
        }
    }
}
