//! An encoder for the format of Unix `compress`, for tests of what reads it.

use std::collections::HashMap;

const CLEAR: usize = 256;
const MIN_BITS: u32 = 9;

/// Packs groups of eight codes the way compress does.
struct Packer {
    out: Vec<u8>,
    bits: u32,
    group: Vec<bool>,
}

impl Packer {
    fn push(&mut self, code: usize) {
        self.group.extend((0..self.bits).map(|bit| code >> bit & 1 == 1));
        if self.group.len() == self.bits as usize * 8 {
            self.flush(false);
        }
    }

    fn flush(&mut self, whole_group: bool) {
        if whole_group && !self.group.is_empty() {
            self.group.resize(self.bits as usize * 8, false);
        }
        for byte in self.group.chunks(8) {
            self.out.push(byte.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at).sum());
        }
        self.group.clear();
    }
}

/// A plain LZW encoder in the format of Unix compress; `clear_after` entries of a full table it starts anew.
pub fn compress(data: &[u8], max_bits: u32, block_mode: bool, clear_after: usize) -> Vec<u8> {
    let first = if block_mode { CLEAR + 1 } else { CLEAR };
    let flags = max_bits as u8 | if block_mode { 0x80 } else { 0 };
    let mut packer = Packer { out: vec![0x1f, 0x9d, flags], bits: MIN_BITS, group: Vec::new() };
    let mut table: HashMap<(usize, u8), usize> = HashMap::new();
    let (mut free, mut emitted) = (first, 0);
    let mut bytes = data.iter().copied();
    let Some(start) = bytes.next() else { return packer.out };
    let mut current = usize::from(start);
    let emit = |packer: &mut Packer, code: usize, free: usize| {
        packer.push(code);
        if free >= 1 << packer.bits && packer.bits < max_bits {
            packer.flush(true);
            packer.bits += 1;
        }
    };
    for byte in bytes {
        if let Some(code) = table.get(&(current, byte)) {
            current = *code;
            continue;
        }
        emit(&mut packer, current, free);
        emitted += 1;
        if free < 1 << max_bits {
            table.insert((current, byte), free);
            free += 1;
        }
        if block_mode && emitted == clear_after {
            packer.push(CLEAR);
            packer.flush(true);
            packer.bits = MIN_BITS;
            table.clear();
            free = first;
            emitted = 0;
        }
        current = usize::from(byte);
    }
    emit(&mut packer, current, free);
    packer.flush(false);
    packer.out
}
