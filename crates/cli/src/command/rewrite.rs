//! `image-swap rewrite`: changes the images in manifests.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::Style;
use image_swap_core::{
    declaration::Declaration,
    labels,
    manifest::{Change, FieldSpec, Manifest, ManifestStream, Passed, Rewritten, Settings, Skipped},
    rule::RuleSet,
};
use image_swap_text::{position::Position, yaml::NodeId};

use crate::{
    declaration::{self, DeclarationArgs, DeclarationUse, Dialect, NO_DECLARATION, now},
    exemptions::ExemptionArgs,
    failure::Failure,
    output::{self, BAD, DIM, GOOD, JsonFields, ODD, Output, STRONG, styled},
    replace::replace,
    text::{self, STDIN, is_stdin},
};

/// The extensions of manifests in a directory.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

const EXAMPLES: &str = "\
Examples:
  image-swap rewrite -f examples/registry-secret.yaml examples/pods.yaml
  image-swap rewrite -f examples/values.yaml --check examples/pods.yaml
  image-swap rewrite -f examples/values.yaml --in-place manifests/
  helm template my-release my-chart | image-swap rewrite -f examples/values.yaml";

/// Arguments of `rewrite`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// Manifests (YAML or JSON) or directories with files *.yaml, *.yml and *.json; `-` or no
    /// FILE is standard input. Without a declaration each must be a `ResourceList` whose
    /// functionConfig contains one.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the files that change, and list the changes, instead of printing the manifests.
    #[arg(short, long, conflicts_with = "check")]
    in_place: bool,
    /// List the changes and write nothing. Exit with 1 if there is a change, or an image that
    /// cannot be rewritten.
    #[arg(long)]
    check: bool,
    /// The form of the list of --check or --in-place [default: text].
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    /// The label that exempts a pod if its value is `disabled`.
    #[arg(long, value_name = "LABEL", default_value = labels::OPT_OUT)]
    disable_label: String,
    #[command(flatten)]
    further: FurtherImages,
    #[command(flatten)]
    exemptions: ExemptionArgs,
}

/// Images in further fields.
#[derive(Debug, clap::Args)]
struct FurtherImages {
    /// A further field that contains an image, such as `example.org/MyKind:spec/image` or
    /// `kind=MyKind,path=spec/image`; may be repeated.
    #[arg(long = "image-field", value_name = "FIELD")]
    fields: Vec<FieldSpec>,
    /// Rewrite environment variables named `RELATED_IMAGE_…`, `IMAGE_…` or `…_IMAGE` too.
    #[arg(long = "image-env")]
    env: bool,
    /// Rewrite arguments named `--…image` too.
    #[arg(long = "image-args")]
    args: bool,
}

/// A manifest's name and its text.
type InputSource = (PathBuf, String);

/// A manifest with its file name and its rewritten form.
struct Work<'s> {
    path: &'s Path,
    manifest: Manifest<'s>,
    result: Rewritten<'s>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, files, in_place, check, output, .. } = self;
        if output.is_some() && !check && !in_place {
            return Err(Failure::Unusable("--output needs --check or --in-place".to_owned()));
        }
        let output = output.unwrap_or_default();
        let named = if files.is_empty() { vec![PathBuf::from(STDIN)] } else { files };
        refuse_misuse_of_stdin(&named, in_place, &declaration)?;
        let files = named.into_iter().map(in_directory).collect::<Result<Vec<_>, _>>()?.concat();
        let rules = if declaration.is_absent() {
            None
        } else {
            Some(declaration.load_for(Dialect::Canonical, DeclarationUse::Images)?.into_rules())
        };
        let settings = Settings {
            disable_label: self.disable_label,
            exemptions: self.exemptions.exemptions(),
            image_fields: self.further.fields,
            env: self.further.env,
            args: self.further.args,
        };

        // All inputs are read and rewritten before the first file is written.
        let sources: Vec<InputSource> = files
            .into_iter()
            .map(|path| Ok((path.clone(), read(&path)?)))
            .collect::<Result<_, Failure>>()?;
        let works: Vec<Work<'_>> = sources
            .iter()
            .map(|source| rewrite(source, rules.as_ref(), &settings))
            .collect::<Result<_, Failure>>()?;

        works.iter().for_each(warn);
        warn_of_all(&works);
        if check {
            let is_good = !works.iter().any(|work| work.changes() || work.leaves());
            return list_changes(&works, output, is_good);
        }
        if in_place {
            for Work { path, result, .. } in works.iter().filter(|work| work.changes()) {
                replace(path, result.text.as_bytes())
                    .map_err(|error| Failure::Broken(Failure::file("replace", path, &error)))?;
            }
            return list_changes(&works, output, true);
        }
        let mut joined = ManifestStream::default();
        for Work { manifest, result, .. } in &works {
            joined.push(manifest, &result.text);
        }
        // Unfiltered: a filter for colours could change bytes of manifests.
        let mut out = io::stdout().lock();
        out.write_all(joined.into_text().as_bytes())?;
        output::end(&mut out, true)
    }
}

impl Work<'_> {
    fn changes(&self) -> bool {
        !self.result.changes.is_empty()
    }

    /// Returns true if an image stays unchanged although a rule matches it, or might.
    fn leaves(&self) -> bool {
        !self.result.left.is_empty() || !self.result.passed.is_empty()
    }
}

/// Returns the manifests below the directory `path`, or `path` itself if it is a file.
fn in_directory(path: PathBuf) -> Result<Vec<PathBuf>, Failure> {
    if is_stdin(&path) || !path.is_dir() {
        return Ok(vec![path]);
    }
    let mut files = Vec::new();
    let mut directories = vec![path.clone()];
    while let Some(directory) = directories.pop() {
        let broken = |error| Failure::Broken(Failure::file("read", &directory, &error));
        for entry in fs::read_dir(&directory).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // Links to directories may lead in a circle.
            let is_directory = entry.file_type().map_err(broken)?.is_dir();
            let file = entry.path();
            let is_manifest = file.extension().is_some_and(|extension| {
                MANIFESTS.iter().any(|known| extension.eq_ignore_ascii_case(known))
            });
            if is_directory && !is_hidden {
                directories.push(file);
            } else if !is_directory && !is_hidden && is_manifest {
                files.push(file);
            }
        }
    }
    if files.is_empty() {
        return Err(Failure::Broken(format!(
            "{}: the directory contains no file *.yaml, *.yml or *.json",
            path.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn refuse_misuse_of_stdin(
    files: &[PathBuf],
    in_place: bool,
    declaration: &DeclarationArgs,
) -> Result<(), Failure> {
    let uses = files.iter().filter(|path| is_stdin(path)).count();
    let refuse = |reason: &str| Err(Failure::Unusable(reason.to_owned()));
    if in_place && uses > 0 {
        return refuse("--in-place needs files: standard input cannot be replaced");
    }
    if uses + usize::from(declaration.path().is_some_and(is_stdin)) > 1 {
        return refuse("standard input (`-`) can be read only once");
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes =
        text::read(path).map_err(|error| Failure::Broken(Failure::file("read", path, &error)))?;
    if text::is_utf16(&bytes) {
        return Err(Failure::Broken(format!("{}: {}", path.display(), text::UTF_16)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let line = good.matches('\n').count() + 1;
        broken(
            path,
            Position { line, column },
            "the byte is not valid UTF-8; save the file as UTF-8",
        )
    })
}

fn broken(path: &Path, place: Position, message: &str) -> Failure {
    let Position { line, column } = place;
    Failure::Broken(format!("{}:{line}:{column}: {message}", path.display()))
}

fn rewrite<'s>(
    (path, text): &'s InputSource,
    rules: Option<&RuleSet>,
    settings: &Settings,
) -> Result<Work<'s>, Failure> {
    let manifest = Manifest::parse(text).map_err(|error| {
        let hint = "; if this is a Helm template, render it first with `helm template`";
        let hint = if text.contains("{{") { hint } else { "" };
        broken(path, error.place, &format!("not valid YAML or JSON: {}{hint}", error.message))
    })?;
    let result = match (rules, manifest.function_config()) {
        (Some(rules), _) => manifest.rewrite(rules, settings),
        (None, Some(config)) => {
            manifest.rewrite(&of_function_config(path, &manifest, config)?, settings)
        }
        (None, None) => {
            return Err(Failure::Unusable(format!(
                "{NO_DECLARATION} ({} is not a ResourceList with a functionConfig)",
                path.display()
            )));
        }
    };
    Ok(Work { path, manifest, result })
}

/// Returns the rules in the `functionConfig` of a KRM function's input.
fn of_function_config(
    path: &Path,
    manifest: &Manifest<'_>,
    config: NodeId,
) -> Result<RuleSet, Failure> {
    let name = format!("the functionConfig of {}", path.display());
    let declaration = Declaration::from_node(manifest.tree(), config, now())
        .map_err(|error| declaration::refused(&name, &error, None))?;
    Ok(declaration::serving(&name, declaration, DeclarationUse::Images)?.into_rules())
}

/// Prints the images that stay unchanged, with the reason.
fn warn(work: &Work<'_>) {
    let Rewritten { exempt, left, passed, is_manifest, .. } = &work.result;
    let path = work.path.display();
    let tree = work.manifest.tree();
    if !is_manifest && !tree.documents.iter().all(|document| tree.is_null(*document)) {
        output::note(&format!(
            "{}: {path}: no manifest found: no document has apiVersion and kind",
            styled(ODD, "warning"),
        ));
    }
    let note = |style: Style, label, Position { line, column }, text: &str| {
        output::note(&format!("{}: {path}:{line}:{column}: {text}", styled(style, label)));
    };
    for part in exempt {
        note(DIM, "note", part.place, &format!("images stay unchanged: {}", part.reason));
    }
    for Skipped { place, owner, image, reason } in left {
        note(ODD, "warning", *place, &format!("{owner}: {image:?} stays unchanged: {reason}"));
    }
    for Passed { place, image, holder, .. } in passed {
        note(ODD, "warning", *place, &format!("{image:?} stays unchanged: {holder}"));
    }
}

/// Prints the number of unchanged images of declared registries in all files.
fn warn_of_all(works: &[Work<'_>]) {
    let passed: usize = works.iter().map(|work| work.result.passed.len()).sum();
    if passed > 0 {
        output::note(&format!(
            "{}: {} of declared registries in unknown fields",
            styled(ODD, "warning"),
            output::counted(passed, "image"),
        ));
    }
}

/// Prints the changes. Returns the exit code: success if `is_good`.
fn list_changes(works: &[Work<'_>], output: Output, is_good: bool) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    let changes = works
        .iter()
        .flat_map(|work| work.result.changes.iter().map(move |change| (work.path, change)));
    for (path, change) in changes {
        let Change { place: Position { line, column }, owner, from, to, reason } = change;
        if output == Output::Text {
            let at = styled(STRONG, &format!("{}:{line}:{column}:", path.display()));
            writeln!(out, "{at} {owner}: {} -> {}", styled(BAD, from), styled(GOOD, to))?;
            continue;
        }
        let mut row = JsonFields::default()
            .with("file", path.to_string_lossy())
            .with("line", line)
            .with("column", column)
            .with("kind", &owner.kind)
            .with("namespace", &owner.namespace)
            .with("name", &owner.name)
            .with("container", &owner.container);
        if let Some(field) = &owner.field {
            row = row.with("field", field);
        }
        row.with("from", from).with("to", to).with("reason", reason.as_str()).print(&mut out)?;
    }
    output::end(&mut out, is_good)
}
