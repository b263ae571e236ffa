//! How fast something is next to a floor that is measured in the same run.

use std::{
    env,
    time::{Duration, Instant},
};

/// How long one side runs before the other takes its turn.
///
/// Long enough that it hardly matters that each turn begins with the processor's caches full of the other's data.
const TURN: Duration = Duration::from_millis(100);

/// How many turns each side has.
const ROUNDS: usize = 21;

/// Whether everything is only to run once, as a test: with `--test`, and wherever cargo does not say `--bench`.
pub(crate) fn once() -> bool {
    let mut bench = false;
    let mut test = false;
    for arg in env::args() {
        bench |= arg == "--bench";
        test |= arg == "--test";
    }
    test || !bench
}

/// `bytes`, or few enough to be quick when everything runs once.
#[allow(dead_code)] // Keys have the length they have.
pub(crate) fn size(bytes: usize) -> usize {
    if once() { bytes.min(256 << 10) } else { bytes }
}

/// Prints how much of the speed of `floor` is left to `ours`: the median of alternating turns.
///
/// Load on the machine comes and goes, and with it absolute figures; two neighbouring turns share it.
pub(crate) fn ratio(name: &str, floor_name: &str, goal: Option<f64>, mut ours: impl FnMut(), mut floor: impl FnMut()) {
    // A profile is of the bench alone.
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
        // Who goes first changes, so that neither gains by its place.
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
    let goal = goal.map_or_else(String::new, |goal| format!(" (goal {goal:.2})"));
    println!("ratio {name} vs {floor_name}: {:.2}{goal}", ratios[ROUNDS / 2]);
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

/// Seconds per run.
fn turn(side: &mut impl FnMut(), runs: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        side();
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
}
