//! Places for clients: so many in all, and so many for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts who is there. Clones count together.
#[derive(Clone)]
pub(super) struct Places(Arc<Inner>);

struct Inner {
    taken: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
    most_each: usize,
}

/// A place that is given back when dropped.
pub(super) struct Place {
    places: Places,
    of: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// As many clients are there as may be.
    All,
    /// This address has as many as it may have.
    Yours,
}

impl Places {
    pub(super) fn new(most: usize, most_each: usize) -> Places {
        Places(Arc::new(Inner { taken: Mutex::default(), most, most_each }))
    }

    pub(super) fn take(&self, of: IpAddr) -> Result<Place, Full> {
        let of = of.to_canonical();
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.0.most {
            return Err(Full::All);
        }
        if taken.get(&of).is_some_and(|count| *count >= self.0.most_each) {
            return Err(Full::Yours);
        }
        *taken.entry(of).or_default() += 1;
        Ok(Place { places: self.clone(), of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let places = Places::new(3, 2);
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let taken = [places.take(one), places.take(one)];
        assert!(taken.iter().all(Result::is_ok));
        // The same address as IPv6 shows it is no other.
        assert_eq!(places.take("::ffff:192.0.2.1".parse().unwrap()).err(), Some(Full::Yours));
        let last = places.take(other);
        assert!(last.is_ok());
        assert_eq!(places.take(other).err(), Some(Full::All));
        drop(taken);
        assert!(places.take(one).is_ok());
    }
}
