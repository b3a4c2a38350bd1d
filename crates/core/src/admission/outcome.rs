//! Outcomes of images, and their counts.

use crate::rule::Reason;

/// The outcome of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOutcome {
    /// The rules decided; [`Reason::Disabled`] also if the pod or the container opts out.
    Decided(Reason),
    /// An update contained the recorded original of the stored image, which is kept.
    Kept,
    /// The pod or the image is on the list of exemptions.
    Exempt,
    /// The image is an invalid reference and stays unchanged.
    InvalidImage,
}

impl ImageOutcome {
    /// Number of outcomes.
    pub const COUNT: usize = Reason::ALL.len() + 3;

    /// Returns every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.into_iter().map(Self::Decided).chain([
            Self::Kept,
            Self::Exempt,
            Self::InvalidImage,
        ])
    }

    /// Returns the outcome's name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided(reason) => reason.as_str(),
            Self::Kept => "kept",
            Self::Exempt => "exempt",
            Self::InvalidImage => "invalid-image",
        }
    }

    /// Returns the index in [`Self::all`].
    const fn index(self) -> usize {
        match self {
            Self::Decided(reason) => reason as usize,
            Self::Kept => Reason::ALL.len(),
            Self::Exempt => Reason::ALL.len() + 1,
            Self::InvalidImage => Reason::ALL.len() + 2,
        }
    }
}

/// Number of images by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionCounts([u64; ImageOutcome::COUNT]);

impl DecisionCounts {
    /// Adds one image with `outcome`.
    pub fn count(&mut self, outcome: ImageOutcome) {
        self.0[outcome.index()] += 1;
    }

    /// Returns the number of images with `outcome`.
    pub const fn of(&self, outcome: ImageOutcome) -> u64 {
        self.0[outcome.index()]
    }

    /// Returns the outcomes with at least one image, each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (ImageOutcome, u64)> {
        ImageOutcome::all().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{DecisionCounts, ImageOutcome};

    #[test]
    fn each_outcome_is_counted_by_name() {
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
