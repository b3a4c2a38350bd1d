//! Quantiles, and confidence intervals by bootstrap.

/// Share of all resamples that an interval covers.
const COVERED: f64 = 0.95;
/// Number of resamples of a bootstrap.
const RESAMPLES: usize = 400;

/// Returns the quantile of `values` at `share`, between 0 and 1; NaN if there are no values.
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

/// Returns the median of `values`; NaN if there are none.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// Returns `value` of all rounds, and the lower and upper bound of its 95 % confidence interval.
///
/// The bootstrap draws whole rounds, because other work of the machine affects all requests of a
/// round alike.
pub fn interval<T>(rounds: &[T], value: impl Fn(&[&T]) -> f64) -> [f64; 3] {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut drawn = || (0..rounds.len()).filter_map(|_| random.of(rounds)).collect::<Vec<_>>();
    let values = (0..RESAMPLES).map(|_| value(&drawn())).collect::<Vec<_>>();
    let rest = (1.0 - COVERED) / 2.0;
    let all = rounds.iter().collect::<Vec<_>>();
    [value(&all), quantile(values.clone(), rest), quantile(values, 1.0 - rest)]
}

/// A random generator, xorshift64 by Marsaglia. Every run draws the same numbers.
struct Random(u64);

impl Random {
    /// Returns one of `values`; `None` if there are none.
    fn of<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let count = u64::try_from(values.len()).ok().filter(|count| *count > 0)?;
        // The upper bits are the better ones.
        values.get(usize::try_from((self.0 >> 16) % count).ok()?)
    }
}
