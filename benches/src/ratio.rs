//! Ratio of a speed to a floor that is measured in the same run.

use std::{
    env,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Duration of one turn, after which the other side runs.
///
/// At the start of a turn, the processor's caches contain the other side's data. The turn is long enough to make this
/// negligible.
const TURN: Duration = Duration::from_millis(100);

/// Number of turns of each side.
const ROUNDS: usize = 21;

/// The ratios below their goals.
static MISSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Returns `true` if everything runs only once, as a test: with `--test`, or without `--bench` from cargo.
#[must_use]
pub fn once() -> bool {
    let mut bench = false;
    let mut test = false;
    for arg in env::args() {
        bench |= arg == "--bench";
        test |= arg == "--test";
    }
    test || !bench
}

/// Returns `bytes`, or less if everything runs only once.
#[must_use]
pub fn size(bytes: usize) -> usize {
    if once() { bytes.min(256 << 10) } else { bytes }
}

/// Prints the speed of `ours` as a ratio to that of `floor`: the median over alternating turns. More is better; `goal` is
/// the least that is acceptable.
///
/// The load on the machine varies, and affects absolute figures. Two adjacent turns have nearly the same load.
pub fn ratio(name: &str, floor_name: &str, goal: Option<f64>, mut ours: impl FnMut(), mut floor: impl FnMut()) {
    // A profile contains only the bench.
    if env::args().any(|arg| arg == "--list" || arg == "--profile-time") {
        return;
    }
    ours();
    floor();
    if once() {
        return;
    }
    let runs = (runs_per_turn(&mut ours), runs_per_turn(&mut floor));
    let mut ratios = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // Alternates which side runs first, so that the order favors neither.
        let (ours, floor) = if round % 2 == 0 {
            let ours = turn(&mut ours, runs.0);
            (ours, turn(&mut floor, runs.1))
        } else {
            let floor = turn(&mut floor, runs.1);
            (turn(&mut ours, runs.0), floor)
        };
        ratios.push(floor / ours);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    let mut line = format!("ratio {name} vs {floor_name}: {median:.2} ({least:.2} to {most:.2})");
    if let Some(goal) = goal {
        line = format!("{line} (goal: at least {goal:.2})");
        if median < goal {
            MISSED.lock().unwrap().push(line.clone());
        }
    }
    println!("{line}");
}

/// Fails if a ratio was below its goal.
pub fn assert_goals() {
    let missed = MISSED.lock().unwrap();
    assert!(missed.is_empty(), "below the goal:\n{}", missed.join("\n"));
}

fn runs_per_turn(side: &mut impl FnMut()) -> u32 {
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < TURN {
        side();
        runs += 1;
    }
    runs
}

/// Returns the seconds per run.
fn turn(side: &mut impl FnMut(), runs: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        side();
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
}
