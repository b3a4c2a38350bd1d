//! Quantiles, and how far they can be trusted.

/// Share of all resamples that an interval covers.
const COVERED: f64 = 0.95;
const RESAMPLES: usize = 400;

/// Returns the value below which `share` of all values are, and NaN if there is none.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a list that was filled one by one"
    )]
    let index = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    if values.is_empty() {
        return f64::NAN;
    }
    *values.select_nth_unstable_by(index, f64::total_cmp).1
}

/// Returns the value in the middle.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns a value of all rounds, and the interval that holds it in 95 of 100 runs.
///
/// The interval is that of a bootstrap over whole rounds, since requests of one round meet
/// the same disturbance of the machine.
pub fn interval<T>(rounds: &[T], value: impl Fn(&[&T]) -> f64) -> [f64; 3] {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut drawn = || (0..rounds.len()).filter_map(|_| random.of(rounds)).collect::<Vec<_>>();
    let values = (0..RESAMPLES).map(|_| value(&drawn())).collect::<Vec<_>>();
    let rest = (1.0 - COVERED) / 2.0;
    let all = rounds.iter().collect::<Vec<_>>();
    [value(&all), quantile(values.clone(), rest), quantile(values, 1.0 - rest)]
}

/// The generator xorshift64 by Marsaglia. Every run draws the same numbers.
struct Random(u64);

impl Random {
    /// Returns one of `values`.
    fn of<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let count = u64::try_from(values.len()).ok().filter(|count| *count > 0)?;
        // The upper bits are the better ones.
        values.get(usize::try_from((self.0 >> 16) % count).ok()?)
    }
}
