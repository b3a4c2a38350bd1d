//! `image-swap explain`: prints the new name of each image, and the deciding rule.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use image_swap_core::{
    declaration::Declaration,
    mirror::{Fallback, short_name_alias},
    reference::{Reference, ReferenceError, names_registry},
    rule::{
        Decision, ImageSwap, Reason, Rule, RuleId, RuleKind, StageResult, TraceStage, TraceStep,
        redact::rule_text,
    },
};

use crate::{
    choice::{FALLBACKS, one_of},
    declaration::{DeclarationArgs, DeclarationUse, Dialect},
    failure::{Failure, reason},
    output::{self, BAD, DIM, GOOD, JsonFields, ODD, Output, STRONG, styled},
    text,
};

const EXAMPLES: &str = "\
Examples:
  image-swap explain -f examples/registry-secret.yaml nginx:1.25 quay.io/prometheus/busybox
  image-swap explain -f examples/imageswap-map.conf --dialect imageswap nginx
  echo nginx:1.25 | image-swap explain -f examples/values.yaml -o json --images-from -";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// The images to explain.
    #[arg(value_name = "IMAGE", required_unless_present = "images_from")]
    images: Vec<String>,
    /// Read images from a file, one per line; `-` is standard input. White space, empty lines
    /// and comments after `#` are ignored.
    #[arg(long, value_name = "FILE")]
    images_from: Option<PathBuf>,
    /// The dialect of the rules.
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// The registries that nodes try after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream")]
    fallback: Fallback,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, images, images_from, dialect, fallback, output } = self;
        let declaration = declaration.load_for(dialect, DeclarationUse::Images)?;
        let imageswap = (dialect == Dialect::Imageswap).then(|| declaration.imageswap());
        let explainer = Explainer { declaration, imageswap, fallback };
        let lines = images_from.as_deref().map(open).transpose()?;
        let mut out = output::stdout();
        let mut all_good = true;
        for image in &images {
            all_good &= explainer.write(&mut out, output, image)?;
        }
        if let Some(mut lines) = lines {
            let mut line = Vec::new();
            let mut is_first = true;
            while next_line(&mut *lines, &mut line)? {
                if is_first && text::is_utf16(&line) {
                    return Err(Failure::Unusable(format!("--images-from: {}", text::UTF_16)));
                }
                is_first = false;
                let line = String::from_utf8_lossy(&line);
                if let Some(image) = image_in(&line) {
                    all_good &= explainer.write(&mut out, output, image)?;
                }
            }
        }
        output::end(&mut out, all_good)
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if text::is_stdin(path) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path);
    let file = file.map_err(|error| Failure::Unusable(Failure::file("read", path, &error)))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Returns the image in a line of a file; `None` if there is none.
fn image_in(line: &str) -> Option<&str> {
    let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    // No character of a reference is a `#`.
    let image = line.split_once('#').map_or(line, |(image, _)| image.trim_end());
    (!image.is_empty()).then_some(image)
}

/// Reads a line without its end. Returns false at the end of the file.
fn next_line(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, Failure> {
    line.clear();
    let read = lines.read_until(b'\n', line);
    let read = read.map_err(|error| {
        Failure::Broken(format!("cannot read the list of images: {}", reason(&error)))
    })?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

/// A declaration that explains images.
struct Explainer {
    declaration: Declaration,
    /// The rules in the dialect of imageswap-webhook; `None` for the canonical dialect.
    imageswap: Option<ImageSwap>,
    fallback: Fallback,
}

impl Explainer {
    fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        match &self.imageswap {
            None => self.declaration.rules().swap(image),
            Some(rules) => rules.swap(image),
        }
    }

    fn rule(&self, id: RuleId) -> &Rule {
        let imageswap = self.imageswap.as_ref().map(ImageSwap::rules);
        &imageswap.unwrap_or_else(|| self.declaration.rules().rules())[id]
    }

    /// Writes the explanation of `image`. Returns false if it is not a valid reference.
    fn write(&self, out: &mut impl Write, output: Output, image: &str) -> Result<bool, Failure> {
        let (reference, decision) = match (Reference::parse(image), self.swap(image)) {
            (Ok(reference), Ok(decision)) => (reference, decision),
            (Err(error), _) | (_, Err(error)) => {
                match output {
                    Output::Json => {
                        let row = JsonFields::default().with("input", image);
                        row.with("error", error.to_string()).print(out)?;
                    }
                    Output::Text => {
                        let name = if image.trim().is_empty() { "\"\"" } else { image };
                        let (name, label) = (styled(STRONG, name), styled(BAD, "error:"));
                        writeln!(out, "{name}\n  {label} {error}")?;
                        if let Some((scheme, _)) = image.split_once("://") {
                            writeln!(out, "  hint: remove {scheme}://: images have no scheme")?;
                        }
                    }
                }
                return Ok(false);
            }
        };
        // The kubelet looks up an image ID on its node only.
        let is_id = decision.reason == Reason::ImageId;
        let mirrors = self.declaration.mirrors();
        let pulls = if is_id { Vec::new() } else { mirrors.pulls(&reference, self.fallback) };
        // CRI-O and podman pull some short names from other registries.
        let short_name = !is_id && !names_registry(image);
        let alias = short_name_alias(reference.path_parts().1).filter(|_| short_name);
        // The guarantee: a node requests first the image that the pod has.
        let agrees = |swapped: Reference<'_>| {
            pulls.first() == Some(&mirrors.own_url(&swapped))
                && (alias.is_none() || !decision.changed())
        };
        let nodes_agree = is_id || Reference::parse(&decision.image).is_ok_and(agrees);
        match output {
            Output::Json => {
                let rule = decision.rule.map(|id| self.rule(id)).map(|rule| {
                    JsonFields::default()
                        .with("source", rule_text(&rule.source))
                        .with("target", rule_text(&rule.target))
                        .with("line", rule.place.line)
                        .with("column", rule.place.column)
                        .with("key", self.declaration.key())
                });
                JsonFields::default()
                    .with("input", image)
                    .with("domain", reference.domain())
                    .with("path", reference.path())
                    .with("tag", reference.tag())
                    .with("digest", reference.digest())
                    .with("normalized", reference.to_string())
                    .with("swapped", &decision.image)
                    .with("changed", decision.changed())
                    .with("reason", decision.reason.as_str())
                    .with("rule", rule)
                    .with("pulls", pulls)
                    .with("short_name", short_name)
                    .with("nodes_agree", nodes_agree)
                    .print(out)?;
            }
            Output::Text => {
                self.write_text(out, image, &reference, &decision, &pulls)?;
                if let Some(alias) = alias {
                    let note = format!("CRI-O and podman resolve this short name to {alias}");
                    writeln!(out, "  {}", styled(ODD, &note))?;
                } else if short_name && decision.changed() {
                    let note = "CRI-O and podman look up this short name in registries.conf";
                    writeln!(out, "  {}", styled(DIM, note))?;
                }
                if !nodes_agree {
                    let warning =
                        "a node that pulls this image itself uses another name than the pod";
                    writeln!(out, "  {}", styled(ODD, warning))?;
                }
            }
        }
        Ok(true)
    }

    fn write_text(
        &self,
        out: &mut impl Write,
        image: &str,
        reference: &Reference<'_>,
        decision: &Decision<'_>,
        pulls: &[String],
    ) -> Result<(), Failure> {
        writeln!(out, "{}", styled(STRONG, image))?;
        if decision.changed() {
            writeln!(out, "  becomes     {}", styled(GOOD, &decision.image))?;
        } else {
            writeln!(out, "  stays       {image}")?;
        }
        writeln!(out, "  normalized  {reference}")?;
        let because = decision.rule.map_or_else(String::new, |id| format!(": {}", self.shown(id)));
        writeln!(out, "  reason      {}{because}", decision.reason.as_str())?;
        if self.imageswap.is_none() {
            for step in self.declaration.rules().trace(image, reference) {
                writeln!(out, "    {}", self.shown_step(&step))?;
            }
        }
        for (number, url) in pulls.iter().enumerate() {
            let label = if number == 0 { "nodes pull" } else { "then" };
            writeln!(out, "  {label:<11} {url}")?;
        }
        Ok(())
    }

    fn shown(&self, id: RuleId) -> String {
        let rule = self.rule(id);
        let within = self.declaration.key().map_or_else(String::new, |key| format!(" of {key}"));
        format!(
            "{}::{} (line {}, column {}{within})",
            rule_text(&rule.source),
            rule_text(&rule.target),
            rule.place.line,
            rule.place.column
        )
    }

    fn shown_step(&self, step: &TraceStep) -> String {
        let (stage, rules) = match step.stage {
            TraceStage::AlreadyMirrored => ("already mirrored?", "targets"),
            TraceStage::Exact => ("[EXACT]?", "references"),
            TraceStage::Replace => ("[REPLACE]?", "patterns"),
            TraceStage::Prefix => ("longest key?", "keys"),
            TraceStage::Noswap => ("noswap_wildcards?", "substrings"),
            TraceStage::Default => ("default?", "defaults"),
        };
        let others = step.matched.iter().skip(1).map(|id| self.rule(*id));
        let others = others.filter(|rule| rule.kind == RuleKind::Prefix);
        let others: Vec<&str> = others.map(|rule| rule.source.as_str()).collect();
        let answer = match step.outcome {
            StageResult::Decided => {
                let rule = step.matched.first().map_or_else(String::new, |id| self.shown(*id));
                let over = if others.is_empty() { "" } else { ", longer than " };
                let (yes, others) = (styled(GOOD, "yes:"), others.join(", "));
                return format!("{stage:<18} {yes} {rule}{over}{others}");
            }
            StageResult::No(0) => format!("no: there are no {rules}"),
            StageResult::No(count) => format!("no: none of {count} {rules}"),
            StageResult::Skipped => "not checked".to_owned(),
        };
        styled(DIM, &format!("{stage:<18} {answer}"))
    }
}
