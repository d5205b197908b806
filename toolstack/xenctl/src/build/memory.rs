//! The new domain's pages, as the builder writes them: through a window that follows it.

use rexen_core::builder::BuildHost;
use rexen_core::units::{DomId, Mfn, PAGE_SIZE, Pfn};

use super::machine::{Machine, Window};
use crate::error::{Error, Result};

const PAGE: usize = PAGE_SIZE as usize;
/// Pages mapped at once. The builder goes through most of memory page by page.
const WINDOW_PAGES: usize = 512;

/// The builder cannot fail half-way: after the first error nothing is written any more, and [`finish`](Self::finish)
/// tells it.
pub struct GuestMemory<'a> {
    machine: &'a dyn Machine,
    domain: DomId,
    frames: &'a [Mfn],
    /// What is mapped, and from which page on.
    window: Option<(usize, Box<dyn Window>)>,
    error: Option<Error>,
}

impl<'a> GuestMemory<'a> {
    pub fn new(machine: &'a dyn Machine, domain: DomId, frames: &'a [Mfn]) -> Self {
        Self {
            machine,
            domain,
            frames,
            window: None,
            error: None,
        }
    }

    /// Unmaps everything: page tables cannot become such while somebody may write them.
    pub fn finish(self) -> Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    /// The window over a page, and where the page is in it; none after an error.
    fn window(&mut self, pfn: Pfn) -> Option<(&dyn Window, usize)> {
        if self.error.is_some() {
            return None;
        }
        let page = pfn.0 as usize;
        let first = page - page % WINDOW_PAGES;
        if self
            .window
            .as_ref()
            .is_none_or(|(start, _)| *start != first)
        {
            // Two windows at once are not needed.
            self.window = None;
            let end = self.frames.len().min(first + WINDOW_PAGES);
            let frames = self.frames.get(first..end).unwrap_or(&[]);
            match self.machine.map(self.domain, frames) {
                Ok(window) => self.window = Some((first, window)),
                Err(error) => {
                    self.error = Some(error);
                    return None;
                }
            }
        }
        let (_, window) = self.window.as_ref()?;
        Some((&**window, (page - first) * PAGE))
    }
}

impl BuildHost for GuestMemory<'_> {
    fn mfn_of(&self, pfn: Pfn) -> Mfn {
        // The plan is for as many pages as there are frames.
        self.frames.get(pfn.0 as usize).copied().unwrap_or_default()
    }

    fn write(&mut self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        if let Some((window, start)) = self.window(pfn) {
            window.write(start + offset, bytes);
        }
    }

    fn set_m2p(&mut self, _: Mfn, _: Pfn) {
        // The hypervisor did when it gave the memory.
    }

    fn zero(&mut self, pfn: Pfn) {
        if let Some((window, start)) = self.window(pfn) {
            window.clear(start, PAGE);
        }
    }
}
