//! Runs threads of a test under many schedules, one at a time: shuttle chooses who goes on at each access to a word of
//! `sync/atomic.rs`, to RAM of `evtchn/ram.rs`, and at each turn of a lock's loop. A failure prints its schedule.

use std::cell::Cell;
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

thread_local! {
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Another thread may go on here, if schedules are being explored.
pub fn point() {
    if EXPLORING.get() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// This thread waits for others.
fn relax() {
    if EXPLORING.get() {
        shuttle::hint::spin_loop();
    }
}

/// Runs `test` under at most `all` schedules in depth-first order, and as many chosen at random in two ways.
pub fn explore(all: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    crate::sync::set_relax_hook(relax);
    run(DfsScheduler::new(Some(all), false), test.clone());
    run(RandomScheduler::new_from_seed(0x5eed, all), test.clone());
    run(PctScheduler::new_from_seed(0x5eed, 3, all), test);
}

fn run(scheduler: impl Scheduler + 'static, test: impl Fn() + Send + Sync + 'static) {
    /// Also when the test panics.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            EXPLORING.set(false);
        }
    }
    let _done = Done;
    let mut config = Config::new();
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        EXPLORING.set(true);
        test();
    });
}
