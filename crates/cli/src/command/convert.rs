//! `image-swap convert`: prints an imageswap map as a canonical map.

use std::process::ExitCode;

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    diagnostic::Diagnostic,
};

use crate::{
    declaration::{DeclarationArgs, DeclarationUse, Dialect, now},
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  image-swap convert --map examples/imageswap-map.conf > canonical.conf";

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration } = self;
        let converted = declaration.load_for(Dialect::Imageswap, DeclarationUse::Images)?;
        let converted = converted.imageswap().to_canonical();
        output::print(converted.text.as_bytes())?;
        for difference in &converted.differences {
            output::note(&format!("{}: {difference}", output::styled(output::ODD, "warning")));
        }
        let map = Declaration::read(DeclarationSource::Map, &converted.text, now())
            .map_err(|_| Failure::Broken("cannot parse the converted map".to_owned()))?;
        if !map.findings().iter().any(Diagnostic::is_error) {
            return Ok(ExitCode::SUCCESS);
        }
        let errors = map.findings().iter().filter(|finding| finding.is_error());
        output::line("the converted map is invalid:");
        output::line(&output::findings(errors, Some(&map)));
        Ok(ExitCode::FAILURE)
    }
}
