//! [`Pace`]: how fast retention removes files.

use std::time::Duration;

/// The pace of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// No uploads wait.
    Full,
    /// The removals take a sixteenth of the time, or more while they are slower than [`LEAST`](Self::LEAST).
    Yielding,
}

impl Pace {
    /// The rate, in files per second, below which there are no pauses: removals from an object store take long, but cost the uploads little.
    const LEAST: u32 = 200;

    /// The time between the beginnings of two batches, as a multiple of the time that the first of them takes.
    const SHARE: u32 = 16;

    /// Returns the maximum number of files in a batch, which is not interrupted when uploads begin.
    pub(super) fn batch(self) -> usize {
        match self {
            // Removed in smaller batches, several at once.
            Self::Full => 512,
            Self::Yielding => 64,
        }
    }

    /// Returns the pause after a batch of this number of files, whose removal took this time.
    pub(super) fn pause(self, files: usize, took: Duration) -> Duration {
        if self == Self::Full {
            return Duration::ZERO;
        }
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        let longest = Duration::from_secs(1) * files / Self::LEAST;
        longest.min(took.saturating_mul(Self::SHARE)).saturating_sub(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_to_uploads() {
        let millis = Duration::from_millis;
        for (pace, files, took, pause) in [
            (Pace::Full, 512, millis(100), Duration::ZERO),
            (Pace::Yielding, 64, millis(10), millis(150)),
            // 64 files in 320 ms.
            (Pace::Yielding, 64, millis(30), millis(290)),
            (Pace::Yielding, 64, millis(400), Duration::ZERO),
            (Pace::Yielding, 1, millis(2), millis(3)),
            (Pace::Yielding, 64, Duration::MAX, Duration::ZERO),
        ] {
            assert_eq!(pace.pause(files, took), pause, "{pace:?} {files} {took:?}");
        }
    }
}
