//! The flags that say which pods and images are exempt.

use clap::ArgAction;
use image_swap_core::workload::exempt::{ExemptImage, ExemptLabel, ExemptOwner, Exemptions};

const EXEMPTIONS: &str = "Exemptions";

/// Pods and images that keep their names although a rule covers them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExemptionArgs {
    /// Pods with such an owner keep their images: KIND.GROUP, separated by commas.
    #[arg(long, value_name = "OWNERS", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_owners: Vec<ExemptOwner>,
    /// Pods with such a label keep their images: KEY or KEY=VALUE, separated by commas.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_labels: Vec<ExemptLabel>,
    /// Images that stay as they are: IMAGE or CONTAINER=IMAGE, separated by commas.
    #[arg(long, value_name = "IMAGES", value_delimiter = ',', help_heading = EXEMPTIONS)]
    exempt_images: Vec<ExemptImage>,
    /// Exempt the pods of well-known operators and the placeholders of injectors.
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
