//! Faults of the bytes: files cut short, empty or without a header, and cards that FITS forbids.

use super::Fault;

const CARD: usize = 80;
const BLOCK: usize = 2880;

/// Change the bytes of a finished file as the fault says. Faults of another level change nothing here.
pub(in crate::simulator) fn apply(fault: &Fault, bytes: &mut Vec<u8>) {
    match fault {
        // `as` truncates and saturates; the fraction is below 1.
        Fault::CutShort { fraction } => bytes.truncate((bytes.len() as f64 * fraction) as usize),
        Fault::Empty => bytes.clear(),
        Fault::Garbage => {
            for (place, byte) in bytes.iter_mut().take(BLOCK).enumerate() {
                // Any pattern that is no card; the low bits of a multiplicative sequence.
                *byte = (place as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0];
            }
        }
        Fault::HeaderMissing => {
            let header = header_length(bytes);
            bytes.drain(..header);
        }
        Fault::NanValue { keyword } => put_value(bytes, keyword, b"NaN"),
        Fault::NonAscii { keyword } => put_value(bytes, keyword, b"'Ca\xc3\xb1\xf3n \xb5 Arae'"),
        _ => {}
    }
}

/// Bytes of the first header with its padding; all bytes when there is no END.
fn header_length(bytes: &[u8]) -> usize {
    let cards = bytes.chunks(CARD).position(|card| card.starts_with(b"END ")).map(|end| end + 1);
    cards.map_or(bytes.len(), |cards| (cards * CARD).next_multiple_of(BLOCK).min(bytes.len()))
}

/// Replace the value of a card of the first header. The checksum of the header is blanked: the fault shall be found for
/// what it is.
fn put_value(bytes: &mut [u8], keyword: &str, value: &[u8]) {
    let name = if keyword.len() <= 8 { format!("{keyword:<8}= ") } else { format!("HIERARCH {keyword} = ") };
    let header = header_length(bytes);
    for card in bytes.get_mut(..header).unwrap_or_default().chunks_mut(CARD) {
        if card.starts_with(name.as_bytes()) {
            let room = card.get_mut(name.len()..).unwrap_or_default();
            room.fill(b' ');
            for (place, byte) in room.iter_mut().zip(value) {
                *place = *byte;
            }
        } else if card.starts_with(b"CHECKSUM=") {
            card.fill(b' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        for card in ["SIMPLE  =                    T", "CHECKSUM= 'abc'", "EXPTIME =                 30.0 / s"] {
            bytes.extend(format!("{card:<80}").into_bytes());
        }
        bytes.extend(format!("{:<80}", "HIERARCH ESO DPR TYPE = 'BIAS'").into_bytes());
        bytes.extend(format!("{:<80}", "END").into_bytes());
        bytes.resize(BLOCK, b' ');
        bytes.resize(2 * BLOCK, 7);
        bytes
    }

    fn after(fault: Fault) -> Vec<u8> {
        let mut bytes = file();
        apply(&fault, &mut bytes);
        bytes
    }

    #[test]
    fn cards_get_what_fits_forbids_and_keep_their_length() {
        let bytes = after(Fault::NanValue { keyword: "EXPTIME".to_string() });
        assert_eq!(bytes.len(), 2 * BLOCK);
        assert_eq!(&bytes[160..174], b"EXPTIME = NaN ");
        assert!(bytes[80..160].iter().all(|byte| *byte == b' '), "a wrong checksum would hide the fault");
        let bytes = after(Fault::NonAscii { keyword: "ESO DPR TYPE".to_string() });
        assert!(bytes[240..320].starts_with(b"HIERARCH ESO DPR TYPE = 'Ca\xc3\xb1"));
        assert_eq!(&bytes[320..324], b"END ");
    }

    #[test]
    fn files_lose_what_the_fault_takes() {
        assert_eq!(after(Fault::CutShort { fraction: 0.6 }).len(), 3456);
        assert!(after(Fault::Empty).is_empty());
        assert_eq!(after(Fault::HeaderMissing), vec![7; BLOCK]);
        let garbage = after(Fault::Garbage);
        assert!(!garbage.starts_with(b"SIMPLE") && garbage[BLOCK..] == file()[BLOCK..]);
        assert_eq!(after(Fault::LampOff), file());
    }
}
