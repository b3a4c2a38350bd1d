//! Commands in Markdown, and the output that documents show for them.
//!
//! A fenced block ```` ```console NAME ```` belongs to the check `NAME`, which runs it. A line
//! `$ COMMAND` is a command, and continues after a backslash at its end. The lines below it are
//! its output. In a block without such a line every line is a command without shown output. In
//! output, `…` matches any text within a line, or any number of lines.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A command, and its output in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleCommand {
    /// Line of the command in the document, counted from 1.
    pub line: usize,
    /// Command for a shell.
    pub text: String,
    /// Lines of output below the command; `None` in a block without output.
    pub output: Option<Vec<String>>,
}

/// Returns the user documentation of the checkout `root`: paths and texts, in order.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn documents(root: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for folder in ["docs", "docs/guides"] {
        for entry in fs::read_dir(root.join(folder))? {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|it| it == "md"));
    files.sort();
    files.insert(0, root.join("charts/image-swap/README.md"));
    files.insert(0, root.join("README.md"));
    files.into_iter().map(|file| fs::read_to_string(&file).map(|text| (file, text))).collect()
}

/// Returns the commands in blocks of `markdown` that belong to the check `mark`, in order.
pub fn commands(markdown: &str, mark: &str) -> Vec<ConsoleCommand> {
    let opening = format!("```console {mark}");
    let mut found = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == opening {
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|it| it.trim() != "```").collect();
            found.extend(of_block(&block, number + 2));
        }
    }
    found
}

/// Returns the commands of a block, whose first line is line `first` of the document.
fn of_block(block: &[&str], first: usize) -> Vec<ConsoleCommand> {
    let shows_output = block.iter().any(|line| line.starts_with("$ "));
    let mut found: Vec<ConsoleCommand> = Vec::new();
    let mut continues = false;
    for (number, line) in block.iter().enumerate() {
        let begins = !continues && (!shows_output || line.starts_with("$ "));
        if begins {
            let text = line.strip_prefix("$ ").unwrap_or(line).to_owned();
            let output = shows_output.then(Vec::new);
            found.push(ConsoleCommand { line: first + number, text, output });
        } else if let Some(last) = found.last_mut() {
            match &mut last.output {
                Some(output) if !continues => output.push((*line).to_owned()),
                _ => last.text = format!("{}\n{line}", last.text),
            }
        }
        continues = (begins || continues) && line.ends_with('\\');
    }
    found
}

impl ConsoleCommand {
    /// Returns the first line of the document's output that `actual` does not match; `None` if
    /// all lines match.
    pub fn difference(&self, actual: &str) -> Option<String> {
        let shown = self.output.as_ref()?;
        let mut rest: Vec<&str> = actual.lines().collect();
        let mut gap = false;
        for line in shown {
            if line.trim() == "…" {
                gap = true;
                continue;
            }
            let at = rest.iter().position(|it| is_like(line, it));
            match at.filter(|at| gap || *at == 0) {
                Some(at) => drop(rest.drain(..=at)),
                None => return Some(line.clone()),
            }
            gap = false;
        }
        let left = rest.iter().find(|line| !line.trim().is_empty());
        left.filter(|_| !gap).map(|line| format!("nothing more, found {line:?}"))
    }
}

/// Returns true if `actual` matches `shown`, in which `…` matches any text.
fn is_like(shown: &str, actual: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Title

```console run
$ one \\
    --flag
out
…
end …s
$ two
```

```console
not marked
```

```console run
three
four
```
";

    #[test]
    fn marked_blocks_are_found_in_order() {
        let found = commands(TEXT, "run");
        let texts: Vec<&str> = found.iter().map(|it| &*it.text).collect();
        assert_eq!(texts, ["one \\\n    --flag", "two", "three", "four"]);
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [4, 9, 17, 18]);
        assert_eq!(found[1].output, Some(Vec::new()));
        assert_eq!(found[2].output, None);
        assert!(commands(TEXT, "other").is_empty());
    }

    #[test]
    fn marked_parts_of_an_output_may_differ() {
        let one = &commands(TEXT, "run")[0];
        assert_eq!(one.difference("out\na\nb\nend in 2 s\n"), None);
        assert_eq!(one.difference("out\nend in 2 s\n"), None);
        assert_eq!(one.difference("a\nout\nend in 2 s\n"), Some("out".to_owned()));
        assert_eq!(one.difference("out\nend in 2 m\n"), Some("end …s".to_owned()));
        let more = one.difference("out\nend in 2 s\nmore\n").unwrap();
        assert_eq!(more, "nothing more, found \"more\"");
    }
}
