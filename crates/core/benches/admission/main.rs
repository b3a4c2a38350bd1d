//! Measures the cost of one admission, as ratios to other work on the same bytes.
//!
//! `--once case…` runs each named case twice for each mention. The second run is within
//! `counted`, so that `cargo xtask bench` can count the instructions of a run with warm caches.
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]

mod baseline;
mod fixture;

use std::{cell::LazyCell, error::Error, hint::black_box, time::Instant};

use image_swap_core::{
    admission::{Settings, review},
    rule::RuleSet,
};

/// Number of rounds; odd, so that there is a median.
const ROUNDS: usize = 101;
/// Number of runs of a case in one round, which takes some milliseconds.
const RUNS: u32 = 500;

/// A measured case, which returns true if its result is correct.
struct Case<'a> {
    name: &'static str,
    run: Box<dyn Fn() -> bool + 'a>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, run: impl Fn() -> bool + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Returns the nanoseconds per run, over one round.
    fn time(&self) -> f64 {
        let start = Instant::now();
        for _ in 0..RUNS {
            black_box((self.run)());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let create = fixture::create_review()?;
    let update = fixture::update_review()?;
    let few = fixture::rules(7);
    let many = LazyCell::new(|| fixture::rules(100_000));
    let settings = Settings::default();
    let answer = |body: &[u8], rules: &RuleSet, changed: usize| {
        review(black_box(body), rules, &settings).is_ok_and(|reviewed| reviewed.changed == changed)
    };
    let cases = [
        Case::new("create", || answer(&create, &few, fixture::CONTAINERS)),
        Case::new("ignored-any", || baseline::ignored_any(black_box(&create))),
        Case::new("borrowed-struct", || baseline::borrowed_struct(black_box(&create))),
        Case::new("create-many-rules", || answer(&create, &many, fixture::CONTAINERS)),
        Case::new("update", || answer(&update, &few, 1)),
        Case::new("update-ignored-any", || baseline::ignored_any(black_box(&update))),
    ];
    let mut arguments = std::env::args();
    if arguments.any(|argument| argument == "--once") {
        return arguments.try_for_each(|name| once(&cases[position(&cases, &name)?]));
    }
    cases.iter().try_for_each(once)?;
    println!("# bytes: create {}, update {}; nanoseconds a run:", create.len(), update.len());
    report(&cases)
}

fn once(case: &Case<'_>) -> Result<(), Box<dyn Error>> {
    if (case.run)() && counted(case) {
        Ok(())
    } else {
        Err(format!("{} does not do what it should", case.name).into())
    }
}

/// Runs a case under a name that callgrind can find.
#[inline(never)]
fn counted(case: &Case<'_>) -> bool {
    black_box((case.run)())
}

fn position(cases: &[Case<'_>], name: &str) -> Result<usize, String> {
    cases.iter().position(|case| case.name == name).ok_or(format!("no case is called {name}"))
}

/// Measures all cases in turn, so that a slow machine affects all alike. Prints the cost of one
/// admission relative to the other cases.
fn report(cases: &[Case<'_>]) -> Result<(), Box<dyn Error>> {
    let rounds: Vec<Vec<f64>> =
        (0..ROUNDS).map(|_| cases.iter().map(Case::time).collect()).collect();
    for (index, case) in cases.iter().enumerate() {
        println!("# {} {:.0}", case.name, median(rounds.iter().map(|times| times[index])));
    }
    for (label, case, base) in [
        ("admission/ignored-any", "create", "ignored-any"),
        ("admission/borrowed-struct", "create", "borrowed-struct"),
        ("admission/update-ignored-any", "update", "update-ignored-any"),
        ("admission/rules-100000", "create-many-rules", "create"),
    ] {
        let (case, base) = (position(cases, case)?, position(cases, base)?);
        println!("{label} {:.2}", median(rounds.iter().map(|times| times[case] / times[base])));
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
