//! Selection of test combinations in which every pair of values occurs at least once.
//!
//! Most faults need only two values together. All pairs take a few dozen rows, and all
//! combinations take thousands.

use std::collections::BTreeSet;

/// A combination: the index of a value for each dimension.
pub type Row = Vec<usize>;

/// Two dimensions with a value each. The lower dimension is first.
type Pair = ((usize, usize), (usize, usize));

/// Returns rows that contain every pair of values of two dimensions that any valid row contains.
///
/// `sizes` contains the number of values of each dimension, and `valid` accepts or rejects whole
/// rows. The selection is greedy and deterministic: each step takes the first valid row with the
/// most missing pairs.
pub fn all_pairs(sizes: &[usize], valid: impl Fn(&[usize]) -> bool) -> Vec<Row> {
    let rows: Vec<Row> = product(sizes).into_iter().filter(|row| valid(row)).collect();
    let mut missing: BTreeSet<Pair> = rows.iter().flat_map(|row| pairs(row)).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let gain = |row: &&Row| pairs(row).filter(|pair| missing.contains(pair)).count();
        // Reversed, because `max_by_key` returns the last of several maxima.
        let Some(best) = rows.iter().rev().max_by_key(gain) else { break };
        for pair in pairs(best) {
            missing.remove(&pair);
        }
        chosen.push(best.clone());
    }
    chosen
}

/// Returns all combinations.
fn product(sizes: &[usize]) -> Vec<Row> {
    sizes.iter().fold(vec![Row::new()], |rows, size| {
        let longer = |row: &Row| {
            let row = row.clone();
            (0..*size).map(move |value| [&row[..], &[value]].concat())
        };
        rows.iter().flat_map(longer).collect()
    })
}

/// Returns the pairs in one row.
fn pairs(row: &[usize]) -> impl Iterator<Item = Pair> {
    let values = row.iter().copied().enumerate();
    values.clone().flat_map(move |one| {
        values.clone().filter(move |two| one.0 < two.0).map(move |two| (one, two))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{all_pairs, pairs, product};

    fn covered(rows: &[Vec<usize>]) -> BTreeSet<super::Pair> {
        rows.iter().flat_map(|row| pairs(row)).collect()
    }

    #[test]
    fn every_pair_of_values_occurs() {
        for sizes in [&[2, 2][..], &[8, 3, 6, 2, 3, 4, 2], &[1, 5, 1], &[4], &[]] {
            let rows = all_pairs(sizes, |_| true);
            assert_eq!(covered(&rows), covered(&product(sizes)), "{sizes:?}");
        }
    }

    #[test]
    fn rows_are_few() {
        // The two largest dimensions have 24 pairs, a lower bound.
        let rows = all_pairs(&[6, 4, 3, 3, 2, 2], |_| true).len();
        assert!((24..=30).contains(&rows), "{rows}");
    }

    #[test]
    fn valid_rows_cover_every_possible_pair() {
        let sizes = [4, 3, 3, 2];
        let valid = |row: &[usize]| !(row[0] == 0 && row[1] == 1) && (row[2] != 2 || row[3] == 0);
        let rows = all_pairs(&sizes, valid);
        assert!(rows.iter().all(|row| valid(row)));
        let possible: Vec<_> = product(&sizes).into_iter().filter(|row| valid(row)).collect();
        assert_eq!(covered(&rows), covered(&possible));
    }

    #[test]
    fn equal_input_returns_equal_rows() {
        let rows = || all_pairs(&[3, 3, 3], |row| row[0] != row[1]);
        assert_eq!(rows(), rows());
    }
}
