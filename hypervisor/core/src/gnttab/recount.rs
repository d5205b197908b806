//! Counts the pins of a table again, from the handles of all who map it: for tests.

use std::vec::Vec;

use super::GrantTable;
use super::entry::{Access, Entry};
use super::maptrack::{DEVICE, HOST, WRITABLE};
use super::table::{Active, Use};
use crate::evtchn::SharedFrames;
use crate::units::{DomId, GrantRef, Mfn};

impl GrantTable {
    /// Panics unless this table's pins are those of the `mappers`' handles, and its entries' marks those of the pins.
    #[track_caller]
    pub(crate) fn recount<'a, F: SharedFrames>(
        &self,
        frames: &F,
        mappers: impl IntoIterator<Item = &'a GrantTable>,
    ) {
        let mut expected: Vec<(GrantRef, DomId, Mfn, Use)> = Vec::new();
        for mapper in mappers {
            for track in mapper.maptrack.lock().used() {
                let access = if track.state & WRITABLE != 0 {
                    Access::Write
                } else {
                    Access::Read
                };
                for kind in [HOST, DEVICE] {
                    if track.granter == self.dom() && track.state & kind != 0 {
                        let what = Use::new(access, kind == DEVICE, true);
                        expected.push((track.gref, mapper.dom(), track.mfn(), what));
                    }
                }
            }
        }
        let granted = &mut *self.granted.lock();
        let mut nr_used = 0;
        for gref in (0..512).map(GrantRef) {
            let mut pins = Active::default();
            for (_, grantee, mfn, what) in expected.iter().filter(|e| e.0 == gref) {
                pins.count(*grantee, *mfn, *what);
            }
            let switching = granted.switch.is_some();
            let Some((entry, active)) = granted.entry(frames, gref) else {
                assert!(!pins.is_used(), "{gref:?} is mapped");
                continue;
            };
            nr_used += u64::from(pins.is_used());
            assert!(active.agrees(&pins), "{gref:?}: {active:?}, not {pins:?}");
            if !switching && (active.is_used() || matches!(entry, Entry::V2(_))) {
                assert_eq!(entry.marks(), pins.marks(), "{gref:?}");
            }
        }
        assert_eq!(granted.nr_used, nr_used);
    }

    /// All that decides what this table does next, with `label` in place of frame numbers.
    pub(crate) fn fingerprint(&self, label: impl Fn(Mfn) -> u64) -> Vec<u64> {
        let mut all = Vec::new();
        let granted = self.granted.lock();
        all.extend([
            u64::from(granted.is_v2),
            granted.frames.len() as u64,
            granted.status.len() as u64,
            granted.switch.as_ref().map_or(u64::MAX, |s| s.progress()),
        ]);
        for active in granted
            .frames
            .iter()
            .flat_map(|frame| frame.active.iter().take(32))
        {
            active.fingerprint(&label, &mut all);
        }
        for track in self.maptrack.lock().used() {
            let who = u64::from(track.granter.0) << 32 | u64::from(track.gref.0);
            all.extend([who, u64::from(track.state), label(track.mfn())]);
        }
        all
    }
}
