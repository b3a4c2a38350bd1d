//! What became of an image, and how often.

use crate::rule::Reason;

/// What became of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOutcome {
    /// The rules decided; [`Reason::Disabled`] also where pod or container are not
    /// to be touched.
    Decided(Reason),
    /// An update brought the recorded original of the image in place, which stays.
    Kept,
    /// The pod or the image is on the list of exemptions.
    Exempt,
    /// No image reference: it stays as it is.
    InvalidImage,
}

impl ImageOutcome {
    /// How many outcomes there are.
    pub const COUNT: usize = Reason::ALL.len() + 3;

    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.into_iter().map(Self::Decided).chain([
            Self::Kept,
            Self::Exempt,
            Self::InvalidImage,
        ])
    }

    /// The outcome's name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided(reason) => reason.as_str(),
            Self::Kept => "kept",
            Self::Exempt => "exempt",
            Self::InvalidImage => "invalid-image",
        }
    }

    /// Its place in [`Self::all`].
    const fn index(self) -> usize {
        match self {
            Self::Decided(reason) => reason as usize,
            Self::Kept => Reason::ALL.len(),
            Self::Exempt => Reason::ALL.len() + 1,
            Self::InvalidImage => Reason::ALL.len() + 2,
        }
    }
}

/// How often each outcome was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionCounts([u64; ImageOutcome::COUNT]);

impl DecisionCounts {
    /// Counts one more of `outcome`.
    pub fn count(&mut self, outcome: ImageOutcome) {
        self.0[outcome.index()] += 1;
    }

    /// How often `outcome` was reached.
    pub const fn of(&self, outcome: ImageOutcome) -> u64 {
        self.0[outcome.index()]
    }

    /// The outcomes that were reached, each with how often.
    pub fn iter(&self) -> impl Iterator<Item = (ImageOutcome, u64)> {
        ImageOutcome::all().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{DecisionCounts, ImageOutcome};

    #[test]
    fn each_outcome_is_counted_under_its_own_name() {
        for outcome in ImageOutcome::all() {
            let mut tally = DecisionCounts::default();
            tally.count(outcome);
            assert_eq!(tally.iter().collect::<Vec<_>>(), [(outcome, 1)]);
        }
        let names: std::collections::BTreeSet<_> =
            ImageOutcome::all().map(ImageOutcome::as_str).collect();
        assert_eq!(names.len(), ImageOutcome::COUNT);
    }
}
