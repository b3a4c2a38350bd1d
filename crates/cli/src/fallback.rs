//! `--fallback`, the same for every verb that speaks of nodes.

use clap::ValueEnum;
use image_swap_core::mirror::Fallback;

/// [`Fallback`] as the command line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FallbackArg {
    /// The public registry is asked after the mirrors.
    #[default]
    Upstream,
    /// What a rule covers is asked of mirrors alone.
    Never,
}

impl From<FallbackArg> for Fallback {
    fn from(fallback: FallbackArg) -> Self {
        match fallback {
            FallbackArg::Upstream => Self::Upstream,
            FallbackArg::Never => Self::Never,
        }
    }
}
