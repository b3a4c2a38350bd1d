//! `image-swap explain`

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use image_swap_core::{
    declaration::Declaration,
    mirror::{Fallback, MirrorTable, short_name_alias},
    reference::{Reference, ReferenceError, names_registry},
    rule::{
        Decision, ImageSwap, Reason, Rule, RuleId, RuleKind, RuleSet, Stage, StageResult,
        TraceStep, redact::rule_text,
    },
};
use serde::Serialize;

use crate::{
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
    fallback::FallbackArg,
    output::{self, BAD, DIM, GOOD, ODD, Output, STRONG, styled},
    text,
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// What to explain.
    #[arg(value_name = "IMAGE", required_unless_present = "images_from")]
    images: Vec<String>,
    /// A file with an image on each line; `-` is standard input. White space around an image,
    /// empty lines, and comments behind `#` are ignored.
    #[arg(long, value_name = "FILE")]
    images_from: Option<PathBuf>,
    /// How the rules are read.
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// Whether nodes may ask the public registry after the mirrors.
    #[arg(long, value_enum, default_value_t)]
    fallback: FallbackArg,
    /// For people or for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, images, images_from, dialect, fallback, output } = self;
        let declaration = declaration.load_for(dialect)?;
        let explainer = Explainer::new(&declaration, dialect, fallback);
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
        out.flush()?;
        Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
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

/// Reads a line, less its end; `false`: there is none.
fn next_line(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, Failure> {
    line.clear();
    let read = lines.read_until(b'\n', line);
    let read =
        read.map_err(|error| Failure::Broken(format!("expected another image, found: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

/// The rules that answer.
enum Answering<'a> {
    Canonical(&'a RuleSet),
    Imageswap(Box<ImageSwap>),
}

struct Explainer<'a> {
    answering: Answering<'a>,
    mirrors: &'a MirrorTable,
    fallback: Fallback,
    key: Option<&'static str>,
}

/// One answer as programs read it.
#[derive(Serialize)]
struct ExplainedRow<'a> {
    input: &'a str,
    domain: &'a str,
    path: Cow<'a, str>,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
    normalized: String,
    swapped: &'a str,
    changed: bool,
    reason: &'static str,
    rule: Option<ExplainedRule<'a>>,
    pulls: Vec<String>,
    short_name: bool,
    nodes_agree: bool,
}

#[derive(Serialize)]
struct ExplainedRule<'a> {
    source: Cow<'a, str>,
    target: Cow<'a, str>,
    line: usize,
    column: usize,
    key: Option<&'static str>,
}

#[derive(Serialize)]
struct FailedRow<'a> {
    input: &'a str,
    error: String,
}

impl<'a> Explainer<'a> {
    fn new(declaration: &'a Declaration, dialect: Dialect, fallback: FallbackArg) -> Self {
        Self {
            answering: match dialect {
                Dialect::Canonical => Answering::Canonical(declaration.rules()),
                Dialect::Imageswap => Answering::Imageswap(Box::new(declaration.imageswap())),
            },
            mirrors: declaration.mirrors(),
            fallback: fallback.into(),
            key: declaration.key(),
        }
    }

    fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        match &self.answering {
            Answering::Canonical(rules) => rules.swap(image),
            Answering::Imageswap(rules) => rules.swap(image),
        }
    }

    fn rule(&self, id: RuleId) -> &Rule {
        match &self.answering {
            Answering::Canonical(rules) => &rules.rules()[id],
            Answering::Imageswap(rules) => &rules.rules()[id],
        }
    }

    /// Writes what becomes of `image`; `false`: it is no reference.
    fn write(&self, out: &mut impl Write, output: Output, image: &str) -> Result<bool, Failure> {
        let (reference, decision) = match (Reference::parse(image), self.swap(image)) {
            (Ok(reference), Ok(decision)) => (reference, decision),
            (Err(error), _) | (_, Err(error)) => {
                match output {
                    Output::Json => {
                        let row = FailedRow { input: image, error: error.to_string() };
                        output::json_line(out, &row)?;
                    }
                    Output::Text => {
                        let name = if image.trim().is_empty() { "\"\"" } else { image };
                        writeln!(
                            out,
                            "{}\n  {} {error}",
                            styled(STRONG, name),
                            styled(BAD, "error:")
                        )?;
                        if let Some((scheme, _)) = image.split_once("://") {
                            writeln!(out, "  hint: leave out {scheme}://: images have no scheme")?;
                        }
                    }
                }
                return Ok(false);
            }
        };
        // An image ID is looked for on the node, and nowhere else.
        let is_id = decision.reason == Reason::ImageId;
        let pulls = if is_id { Vec::new() } else { self.mirrors.pulls(&reference, self.fallback) };
        // CRI-O and podman take some short names from elsewhere.
        let short_name = !is_id && !names_registry(image);
        let alias = short_name_alias(reference.path_parts().1).filter(|_| short_name);
        // The law: what a node asks for first is what the pod was given.
        let agrees = |swapped: Reference<'_>| {
            pulls.first() == Some(&self.mirrors.own_url(&swapped))
                && (alias.is_none() || !decision.changed())
        };
        let nodes_agree = is_id || Reference::parse(&decision.image).is_ok_and(agrees);
        match output {
            Output::Json => {
                let rule = decision.rule.map(|id| self.rule(id));
                let rule = rule.map(|rule| ExplainedRule {
                    source: rule_text(&rule.source),
                    target: rule_text(&rule.target),
                    line: rule.place.line,
                    column: rule.place.column,
                    key: self.key,
                });
                let row = ExplainedRow {
                    input: image,
                    domain: reference.domain(),
                    path: reference.path(),
                    tag: reference.tag(),
                    digest: reference.digest(),
                    normalized: reference.to_string(),
                    swapped: &decision.image,
                    changed: decision.changed(),
                    reason: decision.reason.as_str(),
                    rule,
                    pulls,
                    short_name,
                    nodes_agree,
                };
                output::json_line(out, &row)?;
            }
            Output::Text => {
                self.write_text(out, image, &reference, &decision, &pulls)?;
                if let Some(alias) = alias {
                    let note = format!("CRI-O and podman take this short name for {alias}");
                    writeln!(out, "  {}", styled(ODD, &note))?;
                } else if short_name && decision.changed() {
                    let note = "CRI-O and podman look this short name up in registries.conf";
                    writeln!(out, "  {}", styled(DIM, note))?;
                }
                if !nodes_agree {
                    let warning = "a node that pulls this by itself asks elsewhere than the pod";
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
        if let Answering::Canonical(rules) = &self.answering {
            for step in rules.trace(image, reference) {
                writeln!(out, "    {}", self.shown_step(&step))?;
            }
        }
        for (number, url) in pulls.iter().enumerate() {
            let label = if number == 0 { "nodes ask" } else { "then" };
            writeln!(out, "  {label:<11} {url}")?;
        }
        Ok(())
    }

    fn shown(&self, id: RuleId) -> String {
        let rule = self.rule(id);
        let within = self.key.map_or_else(String::new, |key| format!(" of {key}"));
        format!(
            "{}::{} (line {}, column {}{within})",
            rule_text(&rule.source),
            rule_text(&rule.target),
            rule.place.line,
            rule.place.column
        )
    }

    fn shown_step(&self, step: &TraceStep) -> String {
        let (question, what) = match step.question {
            Stage::AlreadyMirrored => ("already mirrored?", "targets"),
            Stage::Exact => ("[EXACT]?", "references"),
            Stage::Replace => ("[REPLACE]?", "patterns"),
            Stage::Prefix => ("longest key?", "keys"),
            Stage::Noswap => ("noswap_wildcards?", "substrings"),
            Stage::Default => ("default?", "defaults"),
        };
        let others = step.matched.iter().skip(1).map(|id| self.rule(*id));
        let others: Vec<&str> = others
            .filter(|rule| rule.kind == RuleKind::Prefix)
            .map(|rule| rule.source.as_str())
            .collect();
        let answer = match step.outcome {
            StageResult::Decided => {
                let rule = step.matched.first().map_or_else(String::new, |id| self.shown(*id));
                let over = if others.is_empty() {
                    String::new()
                } else {
                    format!(", longer than {}", others.join(", "))
                };
                return format!("{question:<18} {} {rule}{over}", styled(GOOD, "yes:"));
            }
            StageResult::No(0) => format!("no: there are no {what}"),
            StageResult::No(count) => format!("no: none of {count} {what}"),
            StageResult::NotAsked => "not asked".to_owned(),
        };
        styled(DIM, &format!("{question:<18} {answer}"))
    }
}
