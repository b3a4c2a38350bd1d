//! The flags that exempt pods and images.

use clap::ArgAction;
use image_swap_core::workload::exempt::{ExemptImage, ExemptLabel, ExemptOwner, Exemptions};

const EXEMPTIONS: &str = "Exemptions";

/// Pods and images that stay unchanged although a rule matches.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExemptionArgs {
    /// Exempt pods with such an owner: KIND.GROUP, separated by commas.
    #[arg(long, value_name = "OWNERS", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_owners: Vec<ExemptOwner>,
    /// Exempt pods with such a label: KEY or KEY=VALUE, separated by commas.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_labels: Vec<ExemptLabel>,
    /// Exempt such images: IMAGE or CONTAINER=IMAGE, separated by commas.
    #[arg(long, value_name = "IMAGES", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_images: Vec<ExemptImage>,
    /// Exempt pods of well-known operators and placeholders of injectors.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set, help_heading = EXEMPTIONS)]
    default_exemptions: bool,
}

impl ExemptionArgs {
    /// Returns the list that the flags make.
    pub(crate) fn exemptions(self) -> Exemptions {
        let Self { exempt_owners, exempt_labels, exempt_images, default_exemptions } = self;
        let list = if default_exemptions { Exemptions::default() } else { Exemptions::none() };
        list.with(exempt_owners, exempt_labels, exempt_images)
    }
}
