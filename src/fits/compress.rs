//! Compressed streams: gzip (`.gz`) and Unix compress (`.Z`), recognised by their first bytes and decoded in bounded memory.
//!
//! What never lives here: FITS. A decoder yields bytes; `scan` judges them.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// How the bytes of a file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Plain FITS.
    None,
    /// gzip, one or several members.
    Gzip,
    /// Unix compress: LZW with codes of 9 to 16 bits.
    Lzw,
}

impl Compression {
    /// Recognise the form by the first two bytes.
    pub fn of_magic(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x1f, 0x9d, ..] => Compression::Lzw,
            _ => Compression::None,
        }
    }

    /// Wrap a raw stream so that it yields the unpacked bytes. A stream that ends too early gives `UnexpectedEof`, a
    /// corrupt one `InvalidData` or `InvalidInput`.
    pub fn decode<'a>(self, raw: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Compression::None => Box::new(raw),
            Compression::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Compression::Lzw => Box::new(LzwDecoder::new(raw)),
        }
    }
}

const CLEAR: usize = 256;
const MIN_BITS: u32 = 9;
const MAX_BITS: u32 = 16;

/// Streaming decoder of Unix compress. Memory: 256 KiB of tables, whatever the input says.
pub struct LzwDecoder<R> {
    input: R,
    /// `None` until the three header bytes are read.
    form: Option<Form>,
    /// Bits of a code now.
    bits: u32,
    /// First code without an entry.
    free: usize,
    prefix: Vec<u16>,
    suffix: Vec<u8>,
    /// The code before and the first byte of its string; `None` at the start and after CLEAR.
    previous: Option<(usize, u8)>,
    /// Codes come in groups of eight, `bits` bytes long; a change of width skips the rest of the group.
    group: [u8; MAX_BITS as usize],
    group_bits: usize,
    position: usize,
    /// Decoded bytes not yet handed out, last byte first.
    pending: Vec<u8>,
    ended: bool,
    /// Why decoding stopped for good, when the stream is corrupt.
    fault: Option<(io::ErrorKind, String)>,
}

#[derive(Clone, Copy)]
struct Form {
    max_bits: u32,
    block_mode: bool,
}

impl<R: Read> LzwDecoder<R> {
    /// A decoder that will read the header (1F 9D flags) from the stream first.
    pub fn new(input: R) -> Self {
        LzwDecoder {
            input,
            form: None,
            bits: MIN_BITS,
            free: CLEAR,
            prefix: vec![0; 1 << MAX_BITS],
            suffix: vec![0; 1 << MAX_BITS],
            previous: None,
            group: [0; MAX_BITS as usize],
            group_bits: 0,
            position: 0,
            pending: Vec::with_capacity(1 << MAX_BITS),
            ended: false,
            fault: None,
        }
    }

    fn read_form(&mut self) -> io::Result<Form> {
        let mut start = [0u8; 3];
        self.input.read_exact(&mut start)?;
        let [first, second, flags] = start;
        if [first, second] != [0x1f, 0x9d] {
            return Err(corrupt(format!("starts with {first:02x} {second:02x} instead of 1f 9d")));
        }
        let max_bits = u32::from(flags & 0x1f);
        if !(MIN_BITS..=MAX_BITS).contains(&max_bits) {
            return Err(corrupt(format!("codes of {max_bits} bits; 9 to 16 are possible")));
        }
        let form = Form { max_bits, block_mode: flags & 0x80 != 0 };
        self.free = first_free(form);
        self.form = Some(form);
        Ok(form)
    }

    /// The next code, or `None` at the end of the stream. Bits too few for a code are padding.
    fn next_code(&mut self, form: Form) -> io::Result<Option<usize>> {
        if self.free >= 1 << self.bits && self.bits < form.max_bits {
            self.bits += 1;
            self.group_bits = 0;
            self.position = 0;
        }
        let width = self.bits as usize;
        if self.position + width > self.group_bits {
            let mut filled = 0;
            while filled < width {
                // `bits` never exceeds MAX_BITS, the length of the group.
                match self.input.read(&mut self.group[filled..width]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.group_bits = filled * 8;
            self.position = 0;
            if width > self.group_bits {
                return Ok(None);
            }
        }
        let (byte, shift) = (self.position / 8, self.position % 8);
        self.position += width;
        // A code touches at most three bytes; those beyond the group are beyond the code as well.
        let window = (0..3).fold(0usize, |window, at| {
            window | (usize::from(self.group.get(byte + at).copied().unwrap_or(0)) << (8 * at))
        });
        Ok(Some((window >> shift) & ((1 << width) - 1)))
    }

    /// Decode codes until some bytes are pending or the stream has ended.
    fn advance(&mut self) -> io::Result<()> {
        let form = match self.form {
            Some(form) => form,
            None => self.read_form()?,
        };
        while self.pending.is_empty() {
            let Some(code) = self.next_code(form)? else {
                self.ended = true;
                return Ok(());
            };
            if form.block_mode && code == CLEAR {
                self.bits = MIN_BITS;
                self.free = first_free(form);
                self.previous = None;
                self.group_bits = 0;
                self.position = 0;
                continue;
            }
            let Some((previous, first)) = self.previous else {
                let Ok(byte) = u8::try_from(code) else {
                    return Err(corrupt(format!("code {code} where a plain byte must stand")));
                };
                self.pending.push(byte);
                self.previous = Some((code, byte));
                continue;
            };
            let mut cursor = code;
            if code >= self.free {
                // The one code that may be used before it is defined: previous string + its own first byte.
                if code > self.free {
                    return Err(corrupt(format!("code {code} was never defined (next is {})", self.free)));
                }
                self.pending.push(first);
                cursor = previous;
            }
            // Entries point to smaller codes only, so the walk ends; a code has at most MAX_BITS bits, so it's in range.
            while cursor > 255 {
                self.pending.push(self.suffix[cursor]);
                cursor = usize::from(self.prefix[cursor]);
            }
            let start = cursor as u8;
            self.pending.push(start);
            if self.free < 1 << form.max_bits {
                self.prefix[self.free] = previous as u16;
                self.suffix[self.free] = start;
                self.free += 1;
            }
            self.previous = Some((code, start));
        }
        Ok(())
    }
}

impl<R: Read> Read for LzwDecoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < out.len() && !self.ended {
            if self.pending.is_empty() {
                // Bytes that were decoded before a fault are handed out first.
                if let Some((kind, reason)) = &self.fault {
                    return if written > 0 { Ok(written) } else { Err(io::Error::new(*kind, reason.clone())) };
                }
                if let Err(error) = self.advance() {
                    self.fault = Some((error.kind(), error.to_string()));
                }
                continue;
            }
            let count = self.pending.len().min(out.len() - written);
            let tail = self.pending.len() - count;
            for (to, from) in out[written..].iter_mut().zip(self.pending.drain(tail..).rev()) {
                *to = from;
            }
            written += count;
        }
        Ok(written)
    }
}

fn first_free(form: Form) -> usize {
    if form.block_mode { CLEAR + 1 } else { CLEAR }
}

fn corrupt(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("corrupt .Z stream: {reason}"))
}

#[cfg(test)]
#[path = "../../tests/support/lzw.rs"]
pub(super) mod encoder;

#[cfg(test)]
mod tests {
    use super::encoder::compress;
    use super::*;
    use proptest::prelude::*;

    fn decode(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Compression::of_magic(packed).decode(packed).read_to_end(&mut out)?;
        Ok(out)
    }

    /// Bytes that repeat enough to fill the table and vary enough to need every width.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 12345u32;
        (0..length)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at % 7 < 3 { 0 } else { (state >> 27) as u8 }
            })
            .collect()
    }

    #[test]
    fn every_width_and_mode_comes_back() {
        let data = noise(300_000);
        for max_bits in 9..=16 {
            for (block_mode, clear_after) in [(true, 5000), (true, usize::MAX), (false, 0)] {
                let packed = compress(&data, max_bits, block_mode, clear_after);
                assert!(decode(&packed).unwrap() == data, "{max_bits} bits, block mode {block_mode}");
            }
        }
    }

    #[test]
    fn runs_use_codes_before_they_are_defined() {
        let data = vec![b'a'; 10_000];
        assert_eq!(decode(&compress(&data, 16, true, usize::MAX)).unwrap(), data);
    }

    #[test]
    fn impossible_streams_are_named() {
        let undefined = decode(&[0x1f, 0x9d, 0x90, 0x41, 0xfe, 0xff]).unwrap_err();
        assert_eq!(undefined.kind(), io::ErrorKind::InvalidData);
        assert!(undefined.to_string().contains("never defined"), "{undefined}");
        assert!(decode(&[0x1f, 0x9d, 0x9f, 0]).unwrap_err().to_string().contains("31 bits"));
        assert_eq!(decode(&[0x1f, 0x9d]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_fault_is_reported_again_and_again() {
        let mut decoder = LzwDecoder::new(&[0x1f, 0x9d, 0x90, 0x41, 0xfe, 0xff, 0xff, 0xff][..]);
        let mut out = [0u8; 100];
        assert_eq!(decoder.read(&mut out).unwrap(), 1);
        assert!(decoder.read(&mut out).is_err());
        assert!(decoder.read(&mut out).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(data in proptest::collection::vec(0u8..6, 0..4000), bits in 9u32..=16, block in any::<bool>(), clear in 1usize..600) {
            prop_assert_eq!(decode(&compress(&data, bits, block, clear)).unwrap(), data);
        }

        #[test]
        fn garbage_never_panics_and_expands_within_reason(body in proptest::collection::vec(any::<u8>(), 0..3000), flags in any::<u8>()) {
            let packed = [&[0x1f, 0x9d, flags][..], &body].concat();
            let mut out = Vec::new();
            let _ = LzwDecoder::new(&packed[..]).read_to_end(&mut out);
            // A code of nine bits or more yields at most 64 KiB.
            prop_assert!(out.len() <= body.len() * 65_536);
        }

        #[test]
        fn a_cut_stream_yields_a_prefix(data in proptest::collection::vec(0u8..6, 1..2000), cut in 0.0..1.0f64) {
            let packed = compress(&data, 16, true, 700);
            let kept = 3 + ((packed.len() - 3) as f64 * cut) as usize;
            let out = decode(&packed[..kept]).unwrap();
            prop_assert!(data.starts_with(&out));
        }
    }
}
