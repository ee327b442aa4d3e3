//! The FITS checksum: a 32-bit ones'-complement sum over big-endian words, and its sixteen-character form.
//!
//! cfitsio's own routine stamps the time of day into the cards' comments, so equal products would differ in their bytes.

use super::card::{BLOCK, CARD};

/// What stands in the CHECKSUM card while the sum over its HDU is taken.
pub(super) const PLACEHOLDER: &str = "0000000000000000";

/// Column (0-based) where a string value of a fixed-format card begins, after its quote.
const VALUE_START: usize = 11;

/// Sum of any number of big-endian words, carries folded back in.
fn fold(mut sum: u64) -> u32 {
    while sum >> 32 != 0 {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
    }
    sum as u32
}

/// Sum of 32-bit words as they will stand in the file. A `u64` holds the carries of four thousand million words.
pub(super) fn of_words(words: impl Iterator<Item = u32>) -> u32 {
    fold(words.map(u64::from).sum())
}

/// Sum of bytes; a last word that is not full is padded with zeros, like the data unit itself.
pub(super) fn of_bytes(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0u8; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    of_words(words.iter().chain(std::iter::once(&last)).map(|word| u32::from_be_bytes(*word)))
}

/// Sum of 16-bit values as they will stand in the file.
pub(super) fn of_halves(halves: impl Iterator<Item = u16>) -> u32 {
    let (mut high, mut low, mut first) = (0u64, 0u64, true);
    for half in halves {
        let side = if first { &mut high } else { &mut low };
        *side += u64::from(half);
        first = !first;
    }
    // Each side holds fewer than 2^32 halves of 16 bits, so the shifted sum of sides can be folded in two steps.
    add(fold(u64::from(fold(high)) << 16), fold(low))
}

/// Ones'-complement addition.
pub(super) fn add(left: u32, right: u32) -> u32 {
    fold(u64::from(left) + u64::from(right))
}

/// Sum of a header as it will stand in the file: the records, END, and blanks to the end of the block.
pub(super) fn of_header(records: &[[u8; CARD]]) -> u32 {
    let mut bytes = records.concat();
    bytes.extend_from_slice(b"END");
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    of_bytes(&bytes)
}

/// The complement of a sum as sixteen letters and digits which, standing in the card, bring the sum of the HDU to -0.
pub(super) fn encode(sum: u32) -> [u8; 16] {
    let is_punctuation = |byte: u8| matches!(byte, 0x3a..=0x40 | 0x5b..=0x60);
    let mut text = [0u8; 16];
    for (column, byte) in (!sum).to_be_bytes().into_iter().enumerate() {
        let mut four = [byte / 4 + b'0'; 4];
        four[0] += byte % 4;
        // Two of the four are moved apart, which keeps their sum, until all are letters or digits.
        while four.iter().any(|byte| is_punctuation(*byte)) {
            for pair in four.chunks_exact_mut(2) {
                if pair.iter().any(|byte| is_punctuation(*byte)) {
                    pair[0] += 1;
                    pair[1] -= 1;
                }
            }
        }
        for (row, byte) in four.into_iter().enumerate() {
            // One place to the right: the value begins in the last byte of a word.
            text[(4 * row + column + 1) % 16] = byte;
        }
    }
    text
}

/// Put the encoded sum over the placeholder of a CHECKSUM card.
pub(super) fn stamp(record: &mut [u8; CARD], encoded: &[u8; 16]) {
    record[VALUE_START..VALUE_START + 16].copy_from_slice(encoded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_standard() {
        // FITS standard 4.0, appendix J: the complement of 868229149 encodes to these letters.
        assert_eq!(&encode(868_229_149), b"hcHjjc9ghcEghc9g");
    }

    #[test]
    fn carries_come_round() {
        assert_eq!(of_words([0xffff_ffff, 1].into_iter()), 1);
        assert_eq!(of_bytes(&[0, 0, 0, 1, 0x80]), 0x8000_0001);
    }

    proptest! {
        #[test]
        fn halves_and_words_agree(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = &bytes[..bytes.len() / 2 * 2];
            let halves = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            // 0 and -0 are the same in ones' complement.
            prop_assert_eq!(of_halves(halves) % u32::MAX, of_bytes(bytes) % u32::MAX);
        }

        #[test]
        fn encoded_sums_cancel(sum in any::<u32>()) {
            let text = encode(sum);
            prop_assert!(text.iter().all(u8::is_ascii_alphanumeric));
            let mut card = [b'0'; 16];
            card.copy_from_slice(&text);
            // Rotated back by one place the letters sum to the complement plus the sixteen '0' of the placeholder.
            card.rotate_left(1);
            let total = of_bytes(&card);
            prop_assert_eq!(add(total, sum) % u32::MAX, of_bytes(&[b'0'; 16]) % u32::MAX);
        }
    }
}
