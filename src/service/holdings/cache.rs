//! Images and spectra that were looked at last, up to a number of bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array2;

use crate::products::preview::Spectrum;

/// Most bytes that are kept.
const MOST_BYTES: usize = 192 << 20;

/// Which part of which content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Tells contents apart.
    pub version: String,
    /// HDU, from 0.
    pub hdu: usize,
}

/// What is kept of it.
#[derive(Clone)]
pub enum Held {
    /// Pixels.
    Image(Arc<Array2<f32>>),
    /// A spectrum.
    Spectrum(Arc<Spectrum>),
}

impl Held {
    fn bytes(&self) -> usize {
        match self {
            Held::Image(image) => image.len() * size_of::<f32>(),
            Held::Spectrum(spectrum) => spectrum.bytes(),
        }
    }
}

/// The cache; the one used last is at the front.
#[derive(Default)]
pub struct Cache(Mutex<VecDeque<(Key, Held)>>);

impl Cache {
    /// What is kept of a part, if anything is.
    pub fn get(&self, key: &Key) -> Option<Held> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == key)?;
        let found = kept.remove(place)?;
        let held = found.1.clone();
        kept.push_front(found);
        Some(held)
    }

    /// Keep a part, and forget those that were not used for longest.
    pub fn put(&self, key: Key, held: Held) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_front((key, held));
        let mut bytes = 0;
        kept.retain(|(_, held)| {
            bytes += held.bytes();
            bytes <= MOST_BYTES
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hdu: usize) -> Key {
        Key { version: "v".to_string(), hdu }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = Cache::default();
        // A third of the room each, and a little.
        let image = || Held::Image(Arc::new(Array2::zeros((1 << 10, ((MOST_BYTES / 3) >> 12) + 1))));
        cache.put(key(0), image());
        cache.put(key(1), image());
        assert!(cache.get(&key(0)).is_some(), "used again");
        cache.put(key(2), image());
        assert!(cache.get(&key(1)).is_none() && cache.get(&key(0)).is_some() && cache.get(&key(2)).is_some());
        let other = Key { version: "w".to_string(), hdu: 0 };
        assert!(cache.get(&other).is_none());
    }
}
