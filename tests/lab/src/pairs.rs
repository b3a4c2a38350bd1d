//! Which combinations to try: every pair of values at least once.
//!
//! Most faults need no more than two values to come together; all pairs take a
//! few dozen rows where all combinations take thousands.

use std::collections::BTreeSet;

/// A row: for each dimension the value's number.
pub type Row = Vec<usize>;

/// Two dimensions with a value each, the lesser dimension first.
type Pair = ((usize, usize), (usize, usize));

/// Rows in which every pair of values of two dimensions occurs that can occur
/// in a valid row at all. `sizes` is how many values each dimension has; `valid`
/// is asked of whole rows. The same input gives the same rows.
///
/// Greedy: each row begins with a pair that is still missing, and takes of all
/// valid ways to go on the one that has most missing pairs in it.
pub fn all_pairs(sizes: &[usize], valid: impl Fn(&[usize]) -> bool) -> Vec<Row> {
    let rows: Vec<Row> = product(sizes).into_iter().filter(|row| valid(row)).collect();
    let mut missing: BTreeSet<Pair> = rows.iter().flat_map(|row| pairs(row)).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let gain = |row: &&Row| pairs(row).filter(|pair| missing.contains(pair)).count();
        // The first of the best: `max_by_key` would give the last.
        let Some(best) = rows.iter().rev().max_by_key(gain) else { break };
        for pair in pairs(best) {
            missing.remove(&pair);
        }
        chosen.push(best.clone());
    }
    chosen
}

fn product(sizes: &[usize]) -> Vec<Row> {
    sizes.iter().fold(vec![Row::new()], |rows, size| {
        let longer = |row: &Row| {
            let row = row.clone();
            (0..*size).map(move |value| [&row[..], &[value]].concat())
        };
        rows.iter().flat_map(longer).collect()
    })
}

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
        // Not less than the two largest dimensions have pairs, and not much more.
        let rows = all_pairs(&[6, 4, 3, 3, 2, 2], |_| true).len();
        assert!((24..=30).contains(&rows), "{rows}");
    }

    #[test]
    fn no_row_is_invalid_and_every_pair_that_can_be_valid_occurs() {
        let sizes = [4, 3, 3, 2];
        let valid = |row: &[usize]| !(row[0] == 0 && row[1] == 1) && (row[2] != 2 || row[3] == 0);
        let rows = all_pairs(&sizes, valid);
        assert!(rows.iter().all(|row| valid(row)));
        let possible: Vec<_> = product(&sizes).into_iter().filter(|row| valid(row)).collect();
        assert_eq!(covered(&rows), covered(&possible));
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        let ask = || all_pairs(&[3, 3, 3], |row| row[0] != row[1]);
        assert_eq!(ask(), ask());
    }
}
