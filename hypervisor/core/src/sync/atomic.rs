//! Atomic words whose races are tested. In tests each access is a point where another thread may go on
//! (`testkit/schedules.rs`); otherwise they are core's own.

#[cfg(not(test))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(test)]
pub use watched::{AtomicBool, AtomicU32, AtomicU64};

/// In tests: another thread may go on here.
#[inline(always)]
pub fn point() {
    #[cfg(test)]
    crate::testkit::schedules::point();
}

#[cfg(test)]
#[allow(missing_docs, reason = "core's have them")]
mod watched {
    use core::sync::atomic::{self, Ordering};

    use crate::testkit::schedules::point;

    macro_rules! watched {
        ($($name:ident($word:ty) { $($method:ident),* })*) => {$(
            // As core's, with a scheduling point before each access.
            #[derive(Debug)]
            pub struct $name(atomic::$name);

            impl $name {
                pub const fn new(value: $word) -> Self {
                    Self(atomic::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $word {
                    point();
                    self.0.load(order)
                }
                pub fn store(&self, value: $word, order: Ordering) {
                    point();
                    self.0.store(value, order);
                }
                pub fn compare_exchange(
                    &self,
                    old: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    point();
                    self.0.compare_exchange(old, new, success, failure)
                }
                pub fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    mut f: impl FnMut($word) -> Option<$word>,
                ) -> Result<$word, $word> {
                    let mut old = self.load(fetch);
                    loop {
                        let new = f(old).ok_or(old)?;
                        match self.compare_exchange(old, new, set, fetch) {
                            Ok(old) => return Ok(old),
                            Err(seen) => old = seen,
                        }
                    }
                }
                pub fn into_inner(self) -> $word {
                    self.0.into_inner()
                }
                $(
                    pub fn $method(&self, value: $word, order: Ordering) -> $word {
                        point();
                        self.0.$method(value, order)
                    }
                )*
            }
        )*};
    }

    watched! {
        AtomicBool(bool) { swap }
        AtomicU32(u32) { swap, fetch_or, fetch_and, fetch_add, fetch_sub }
        AtomicU64(u64) { swap }
    }
}
