//! How late this machine is: what it adds to every time that is measured on it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is measured.
const EVERY: Duration = Duration::from_millis(10);

/// How many threads have to get a core one after the other until what is measured has happened: a client, a gateway with its
/// partitions, a store, and all of them once more on the way back.
const TURNS: u32 = 8;

/// A thread that wants a core every 10 ms, and notes how long it had to wait for one.
///
/// A test that bounds a time starts one first, and adds [`Pulse::slack`] to the bound. So the bound stays tight on a machine
/// that has nothing else to do, and holds on one that is busy. Dropping it ends the thread.
#[derive(Debug)]
pub struct Pulse {
    begun: Instant,
    noted: Arc<Noted>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Noted {
    is_over: AtomicBool,
    /// The longest delay so far, in microseconds.
    late_us: AtomicU64,
    /// When the next beat is due, in microseconds since the begin.
    due_us: AtomicU64,
}

impl Pulse {
    /// Starts to measure, on a thread of its own.
    pub fn start() -> Pulse {
        Pulse::beating(work)
    }

    fn beating(mut work: impl FnMut() + Send + 'static) -> Pulse {
        let begun = Instant::now();
        let noted = Arc::new(Noted::default());
        let beat = noted.clone();
        let thread = thread::spawn(move || {
            let mut due = begun + EVERY;
            while !beat.is_over.load(Relaxed) {
                beat.due_us.store(micros(due - begun), Relaxed);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                work();
                let late = due.elapsed();
                beat.late_us.fetch_max(micros(late), Relaxed);
                due = Instant::now() + EVERY;
            }
        });
        Pulse {
            begun,
            noted,
            thread: Some(thread),
        }
    }

    /// The longest time that a thread had to wait for a core since this was started.
    pub fn late(&self) -> Duration {
        let due = Duration::from_micros(self.noted.due_us.load(Relaxed));
        // A beat that is late right now has not been noted yet.
        let overdue = self.begun.elapsed().saturating_sub(due);
        overdue.max(Duration::from_micros(self.noted.late_us.load(Relaxed)))
    }

    /// What the machine may have added to a time that was measured meanwhile: that wait, for each of the threads that work
    /// one after the other.
    pub fn slack(&self) -> Duration {
        self.late() * TURNS
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.noted.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it had there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}

/// A moment of work, as all other threads have some to do: the scheduler lets a thread that only sleeps through first.
fn work() {
    let mut number = black_box(1_u64);
    for step in 0..20_000 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(step);
    }
    black_box(number);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_delay_counts_for_every_turn() {
        let mut beats = 0;
        let pulse = Pulse::beating(move || {
            beats += 1;
            if beats == 3 {
                thread::sleep(Duration::from_millis(200));
            }
        });
        while pulse.late() < Duration::from_millis(200) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(pulse.slack() >= Duration::from_millis(1600));
    }

    #[test]
    fn a_beat_that_does_not_come_counts_before_it_has_come() {
        let (begin, begun) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let pulse = Pulse::beating(move || {
            let _ = begin.send(());
            let _ = ended.recv();
        });
        begun.recv().unwrap();
        let start = Instant::now();
        while pulse.late() < Duration::from_millis(100) {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        drop(end);
    }
}
