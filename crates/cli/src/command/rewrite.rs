//! `image-swap rewrite`

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
    declaration::{self, DeclarationArgs, Dialect, NO_DECLARATION, now},
    exemptions::ExemptionArgs,
    failure::Failure,
    output::{self, BAD, DIM, GOOD, JsonFields, ODD, Output, STRONG, styled},
    replace::replace,
    text::{self, STDIN, is_stdin},
};

/// The endings of manifests in a directory.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

/// Arguments of `rewrite`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// Manifests, YAML or JSON, and directories with files *.yaml, *.yml and *.json; `-` or
    /// none: standard input. Without a declaration each has to be a `ResourceList` whose
    /// functionConfig declares.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the files that change instead of printing all of them, and list the changes.
    #[arg(short, long, conflicts_with = "check")]
    in_place: bool,
    /// Write nothing, list what would change, and exit with 1 if anything would, or if an
    /// image was left as it is.
    #[arg(long)]
    check: bool,
    /// The reader of the list of --check or --in-place: people (the default) or programs.
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    /// The label with which a pod opts out, if its value is `disabled`.
    #[arg(long, value_name = "LABEL", default_value = labels::OPT_OUT)]
    disable_label: String,
    #[command(flatten)]
    further: FurtherImages,
    #[command(flatten)]
    exemptions: ExemptionArgs,
}

/// Images beside those in fields that are known.
#[derive(Debug, clap::Args)]
struct FurtherImages {
    /// A field that holds an image, beside those that are known, such as
    /// `example.org/MyKind:spec/image` or `kind=MyKind,path=spec/image`; may be repeated.
    #[arg(long = "image-field", value_name = "FIELD")]
    fields: Vec<FieldSpec>,
    /// Rewrite environment variables called `RELATED_IMAGE_…`, `IMAGE_…` or `…_IMAGE`, too.
    #[arg(long = "image-env")]
    env: bool,
    /// Rewrite arguments called `--…image`, too.
    #[arg(long = "image-args")]
    args: bool,
}

/// A manifest's name and its text.
type InputSource = (PathBuf, String);

/// A manifest's name, and what is said and made of it.
struct Work<'s> {
    path: &'s Path,
    manifest: Manifest<'s>,
    result: Rewritten<'s>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, files, in_place, check, output, .. } = self;
        if output.is_some() && !check && !in_place {
            return Err(Failure::Unusable(
                "--output: expected --check or --in-place beside it, found neither".to_owned(),
            ));
        }
        let output = output.unwrap_or_default();
        let named = if files.is_empty() { vec![PathBuf::from(STDIN)] } else { files };
        refuse_misuse_of_stdin(&named, in_place, &declaration)?;
        let files = named.into_iter().map(in_directory).collect::<Result<Vec<_>, _>>()?.concat();
        let rules = if declaration.is_absent() {
            None
        } else {
            Some(declaration.load_for(Dialect::Canonical)?.into_rules())
        };
        let settings = Settings {
            disable_label: self.disable_label,
            exemptions: self.exemptions.exemptions(),
            image_fields: self.further.fields,
            env: self.further.env,
            args: self.further.args,
        };

        // Everything is read and judged before anything is written.
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
        // Byte for byte: a filter for colours might find some in manifests.
        let mut out = io::stdout().lock();
        out.write_all(joined.into_text().as_bytes())?;
        output::end(&mut out, true)
    }
}

impl Work<'_> {
    fn changes(&self) -> bool {
        !self.result.changes.is_empty()
    }

    /// True if an image stays as it is although the rules have an answer for it, or might.
    fn leaves(&self) -> bool {
        !self.result.left.is_empty() || !self.result.passed.is_empty()
    }
}

/// Returns the manifests below `path`, if it is a directory, and otherwise itself.
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
            "{}: expected files *.yaml, *.yml or *.json in it, found none",
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
    let refuse = |why: &str| Err(Failure::Unusable(why.to_owned()));
    if in_place && uses > 0 {
        return refuse("--in-place: expected files, found standard input, which has no place");
    }
    if uses + usize::from(declaration.path().is_some_and(is_stdin)) > 1 {
        return refuse("expected standard input to be read once, found it named more often");
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
        broken(path, Position { line, column }, "expected UTF-8, found a byte that is not")
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
        let hint = "; is it a Helm template? render it first, as with `helm template`";
        let hint = if text.contains("{{") { hint } else { "" };
        broken(path, error.place, &format!("no manifest: {}{hint}", error.message))
    })?;
    let result = match (rules, manifest.function_config()) {
        (Some(rules), _) => manifest.rewrite(rules, settings),
        (None, Some(config)) => {
            manifest.rewrite(&of_function_config(path, &manifest, config)?, settings)
        }
        (None, None) => {
            return Err(Failure::Unusable(format!(
                "{NO_DECLARATION} ({} is no ResourceList with a functionConfig)",
                path.display()
            )));
        }
    };
    Ok(Work { path, manifest, result })
}

/// The rules that the `functionConfig` of a KRM function's input declares.
fn of_function_config(
    path: &Path,
    manifest: &Manifest<'_>,
    config: NodeId,
) -> Result<RuleSet, Failure> {
    let name = format!("the functionConfig of {}", path.display());
    let declaration = Declaration::from_node(manifest.tree(), config, now())
        .map_err(|error| declaration::refused(&name, &error, None))?;
    Ok(declaration::serving(&name, declaration)?.into_rules())
}

/// Names the images that stay although no rule and no label exempts them.
fn warn(work: &Work<'_>) {
    let Rewritten { exempt, left, passed, is_manifest, .. } = &work.result;
    let path = work.path.display();
    let tree = work.manifest.tree();
    if !is_manifest && !tree.documents.iter().all(|document| tree.is_null(*document)) {
        output::note(&format!(
            "{}: {path}: no manifest in it: no document has the apiVersion and kind of an object \
             in a cluster",
            styled(ODD, "warning"),
        ));
    }
    let note = |style: Style, label, Position { line, column }, text: &str| {
        output::note(&format!("{}: {path}:{line}:{column}: {text}", styled(style, label)));
    };
    for part in exempt {
        note(DIM, "note", part.place, &format!("images stay as they are: {}", part.reason));
    }
    for Skipped { place, what, image, why } in left {
        note(ODD, "warning", *place, &format!("{what}: {image:?} stays as it is: {why}"));
    }
    for Passed { place, image, holder, .. } in passed {
        note(ODD, "warning", *place, &format!("{image:?} stays as it is: {holder}"));
    }
}

/// Counts the images of declared registries that stay in all files.
fn warn_of_all(works: &[Work<'_>]) {
    let passed: usize = works.iter().map(|work| work.result.passed.len()).sum();
    if passed > 0 {
        output::note(&format!(
            "{}: {} of declared registries outside of known image fields",
            styled(ODD, "warning"),
            output::counted(passed, "image"),
        ));
    }
}

/// Prints the changes. Returns the exit code of a list that is good news or bad.
fn list_changes(works: &[Work<'_>], output: Output, is_good: bool) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    let changes = works
        .iter()
        .flat_map(|work| work.result.changes.iter().map(move |change| (work.path, change)));
    for (path, change) in changes {
        let Change { place: Position { line, column }, what, from, to, reason } = change;
        if output == Output::Text {
            let at = styled(STRONG, &format!("{}:{line}:{column}:", path.display()));
            writeln!(out, "{at} {what}: {} -> {}", styled(BAD, from), styled(GOOD, to))?;
            continue;
        }
        let mut row = JsonFields::default()
            .with("file", path.to_string_lossy())
            .with("line", line)
            .with("column", column)
            .with("kind", &what.kind)
            .with("namespace", &what.namespace)
            .with("name", &what.name)
            .with("container", &what.container);
        if let Some(field) = &what.field {
            row = row.with("field", field);
        }
        row.with("from", from).with("to", to).with("reason", reason.as_str()).print(&mut out)?;
    }
    output::end(&mut out, is_good)
}
