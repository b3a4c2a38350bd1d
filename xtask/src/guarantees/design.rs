//! The guarantees, as DESIGN.md lists them.

use anyhow::{Result, bail, ensure};

/// The heading of the list of guarantees.
const HEADING: &str = "## Guarantees";

/// A guarantee, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Guarantee {
    /// The number, with a letter behind it for a part: `3`, `4a`.
    pub(super) id: String,
    pub(super) title: String,
    /// True if the guarantee has parts. Tags then name the parts, and never the guarantee.
    pub(super) has_parts: bool,
}

/// Parses the lines `1. **Title.**` and `- 4a. **Title.**` below the heading of guarantees.
///
/// # Errors
/// There is no such line, a title does not end on its line, or a number is out of order.
pub(super) fn guarantees(text: &str) -> Result<Vec<Guarantee>> {
    let lines = text.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    let mut found: Vec<Guarantee> = Vec::new();
    for (index, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
        let Some((id, rest)) = numbered(line) else { continue };
        let number = index + 1;
        let Some((title, _)) = rest.split_once("**") else {
            bail!("line {number}: expected the title of guarantee {id} to end on its line");
        };
        let previous = found.last_mut();
        ensure!(
            follows(previous.as_deref(), id),
            "line {number}: expected guarantees in their order, found {id}"
        );
        if let Some(whole) = previous.filter(|whole| id.starts_with(&whole.id)) {
            whole.has_parts = true;
        }
        let (id, title) = (id.to_owned(), title.trim_end_matches('.').to_owned());
        found.push(Guarantee { id, title, has_parts: false });
    }
    ensure!(!found.is_empty(), "expected lines such as `1. **Title.**` below `{HEADING}`");
    Ok(found)
}

/// Splits `1. **Title` or `- 4a. **Title` into number and title.
fn numbered(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (id, title) = line.strip_prefix("- ").unwrap_or(line).split_once(". **")?;
    is_id(id).then_some((id, title))
}

/// Returns true for digits with at most one letter behind them.
pub(super) fn is_id(text: &str) -> bool {
    let number = text.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(text);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true if `id` is the next guarantee after `previous`, or its next part.
fn follows(previous: Option<&Guarantee>, id: &str) -> bool {
    let (number, letter) = split(id);
    match (previous.map(|previous| split(&previous.id)), letter) {
        (None, None) => number == 1,
        (None, Some(_)) => false,
        (Some((before, _)), None) => number == before + 1,
        (Some((before, last)), Some(letter)) => {
            number == before
                && u32::from(letter) == last.map_or(u32::from('a'), |last| u32::from(last) + 1)
        }
    }
}

/// Splits a number into digits and letter.
fn split(id: &str) -> (u32, Option<char>) {
    let letter = id.chars().last().filter(char::is_ascii_lowercase);
    (id.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().unwrap_or_default(), letter)
}

#[cfg(test)]
mod tests {
    use super::{Guarantee, guarantees, is_id};

    fn error(lines: &[&str]) -> String {
        guarantees(&["## Guarantees", &lines.join("\n")].join("\n")).unwrap_err().to_string()
    }

    #[test]
    fn guarantees_are_read_with_their_parts() {
        let text = "# Design\n1. **Not this.**\n## Guarantees\n\n1. **One.** Text with\n   \
                    **bold** words.\n2. **Two.**\n   - 2a. **First.** Text.\n   - 2b. **Second**\n\
                    ## Crates\n3. **Nor this.**";
        let guarantee = |id: &str, title: &str, has_parts| Guarantee {
            id: id.to_owned(),
            title: title.to_owned(),
            has_parts,
        };
        let expected = [
            guarantee("1", "One", false),
            guarantee("2", "Two", true),
            guarantee("2a", "First", false),
            guarantee("2b", "Second", false),
        ];
        assert_eq!(guarantees(text).unwrap(), expected);
    }

    #[test]
    fn number_out_of_order_is_refused() {
        for lines in [
            &["2. **A.**"][..],
            &["1a. **A.**"],
            &["1. **A.**", "1. **B.**"],
            &["1. **A.**", "3. **B.**"],
            &["1. **A.**", "- 1b. **B.**"],
            &["1. **A.**", "- 1a. **B.**", "- 1a. **C.**"],
            &["1. **A.**", "- 2a. **B.**"],
        ] {
            let error = error(lines);
            assert!(error.starts_with(&format!("line {}: ", lines.len() + 1)), "{error}");
            assert!(error.contains("order"), "{error}");
        }
    }

    #[test]
    fn title_of_two_lines_is_refused() {
        assert!(error(&["1. **A title of", "two lines.**"]).contains("line 2: "));
    }

    #[test]
    fn document_without_guarantees_is_refused() {
        assert!(guarantees("# Design\n").is_err());
        assert!(error(&["Text."]).contains("expected lines"));
    }

    #[test]
    fn number_has_one_letter_at_most() {
        assert!(["1", "12", "4a"].into_iter().all(is_id));
        assert!(!["", "a", "4ab", "4A", "4 a", "x4"].into_iter().any(is_id));
    }
}
