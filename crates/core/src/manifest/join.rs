//! Joins several manifests to one stream.

use super::Manifest;

/// A stream of manifests, each in documents of its own.
#[derive(Debug, Default)]
pub struct ManifestStream {
    text: String,
    /// True if all texts so far are JSON; `None` before the first document.
    is_json: Option<bool>,
}

impl ManifestStream {
    /// Adds `text`, the rewritten `manifest`. Between two documents only a necessary separator
    /// is added: a line break, `---`, or nothing.
    pub fn push(&mut self, manifest: &Manifest<'_>, text: &str) {
        let mut text = text;
        if !self.text.is_empty() {
            // A byte order mark is only valid at the beginning of a stream.
            text = text.trim_start_matches('\u{feff}');
            if !text.is_empty() && !self.text.ends_with('\n') {
                self.text.push('\n');
            }
        }
        if !manifest.tree().documents.is_empty() {
            let both_json = self.is_json.map(|is_json| is_json && manifest.is_json());
            if both_json == Some(false) {
                self.text.push_str(separator(text));
            }
            self.is_json = Some(both_json.unwrap_or(manifest.is_json()));
        }
        self.text.push_str(text);
    }

    /// Returns the stream.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Returns the separator before `text` in a stream with documents.
fn separator(text: &str) -> &'static str {
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    match text.lines().find(is_content) {
        Some(line) if line == "---" || line.starts_with("--- ") || line.starts_with("---\t") => "",
        // A directive is only valid at the beginning of a stream, or after `...`.
        Some(line) if line.starts_with('%') => "...\n",
        _ => "---\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(texts: &[&str]) -> String {
        let mut joined = ManifestStream::default();
        for text in texts {
            joined.push(&Manifest::parse(text).unwrap(), text);
        }
        joined.into_text()
    }

    #[test]
    fn documents_remain_separate() {
        for (texts, expected) in [
            (vec!["a: b"], "a: b"),
            (vec!["a: b", "c: d\n"], "a: b\n---\nc: d\n"),
            (vec!["a: b\n", "# c\n\n---\nc: d\n"], "a: b\n# c\n\n---\nc: d\n"),
            (vec!["a: b\n", "--- c\n"], "a: b\n--- c\n"),
            (vec!["a: b\n", "---c\n"], "a: b\n---\n---c\n"),
            (vec!["a: b\n", "%YAML 1.2\n---\nc"], "a: b\n...\n%YAML 1.2\n---\nc"),
            (vec!["\u{feff}a: b\n", "\u{feff}c: d\n"], "\u{feff}a: b\n---\nc: d\n"),
            (vec!["# only", "a: b\n", "", "# only", "c: d"], "# only\na: b\n# only\n---\nc: d"),
            (vec!["{\"a\":1}", "{\"b\":2}", "c: d"], "{\"a\":1}\n{\"b\":2}\n---\nc: d"),
            (vec!["a: b", "{\"b\":2}", "{\"c\":3}"], "a: b\n---\n{\"b\":2}\n---\n{\"c\":3}"),
        ] {
            let stream = joined(&texts);
            assert_eq!(stream, expected);
            let count = |text: &str| Manifest::parse(text).unwrap().tree().documents.len();
            let single: usize = texts.iter().map(|text| count(text)).sum();
            // Only readers of both formats can read a stream with JSON and YAML.
            if !stream.contains("1}\n{") {
                assert_eq!(count(&stream), single, "{stream}");
            }
        }
    }
}
