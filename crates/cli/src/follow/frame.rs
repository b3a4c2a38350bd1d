//! The next status on a terminal or in a pipe.

use super::watched::WatchedStatus;
use crate::{
    failure::Failure,
    output::{self, Output},
};

/// Moves the cursor to the first line of a terminal.
const HOME: &str = "\u{1b}[H";
/// Clears a terminal from the cursor to the end of the line.
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears a terminal from the cursor on.
const CLEAR_BELOW: &str = "\u{1b}[J";
/// Clears a terminal.
const CLEAR: &str = "\u{1b}[2J";

/// The output of one status after another.
#[derive(Debug)]
pub(super) struct FrameWriter<T> {
    output: Output,
    /// True if each status replaces the one before: text on a terminal.
    redraws: bool,
    /// True if standard output shows colours.
    colours: bool,
    last: Option<T>,
}

impl<T: WatchedStatus> FrameWriter<T> {
    /// Returns a writer of `output`; `is_terminal` is true if a terminal shows it.
    pub(super) fn new(output: Output, is_terminal: bool, colours: bool) -> Self {
        Self { output, redraws: is_terminal && output == Output::Text, colours, last: None }
    }

    /// Returns the bytes that show `status`; `None` if they are shown already. A terminal shows
    /// the present age of each time, too.
    pub(super) fn next(&mut self, status: &T) -> Result<Option<Vec<u8>>, Failure> {
        let is_first = self.last.is_none();
        let is_shown = self.last.as_ref().is_some_and(|last| {
            if self.redraws { last.text() == status.text() } else { last.is_like(status) }
        });
        if is_shown {
            return Ok(None);
        }
        let mut frame = Vec::new();
        match self.output {
            Output::Json => output::json_line(&mut frame, status)?,
            Output::Text => {
                let shown = status.text();
                let shown = if self.colours {
                    shown
                } else {
                    anstream::adapter::strip_str(&shown).to_string()
                };
                if self.redraws {
                    let before = if is_first { [CLEAR, HOME].concat() } else { HOME.to_owned() };
                    let end = [CLEAR_LINE, "\n"].concat();
                    frame.extend(
                        [&*before, &shown.replace('\n', &end), CLEAR_BELOW].concat().bytes(),
                    );
                } else {
                    let before = if is_first { "" } else { "\n" };
                    frame.extend([before, &shown].concat().bytes());
                }
            }
        }
        self.last = Some(status.clone());
        Ok(Some(frame))
    }

    /// Shows the next status from an empty terminal on: other output was between.
    pub(super) fn interrupt(&mut self) {
        if self.redraws {
            self.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Named {
        name: String,
        read: u64,
    }

    impl WatchedStatus for Named {
        fn text(&self) -> String {
            format!("name  {}\nhealthy\n", self.name)
        }

        fn is_like(&self, other: &Self) -> bool {
            self.name == other.name
        }

        fn is_healthy(&self) -> bool {
            true
        }
    }

    fn status(name: &str, read: u64) -> Named {
        Named { name: name.to_owned(), read }
    }

    fn next(frames: &mut FrameWriter<Named>, name: &str, read: u64) -> Option<String> {
        let bytes = frames.next(&status(name, read)).unwrap();
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn changes_are_appended_in_a_pipe() {
        let mut frames = FrameWriter::new(Output::Text, false, false);
        let first = next(&mut frames, "one", 1).unwrap();
        assert!(first.starts_with("name  one\n"), "{first}");
        assert_eq!(next(&mut frames, "one", 2), None);
        let second = next(&mut frames, "two", 3).unwrap();
        assert_eq!(second, ["\n", &first.replace("one", "two")].concat());
    }

    #[test]
    fn changes_are_lines_of_json() {
        let mut frames = FrameWriter::new(Output::Json, true, true);
        for (name, read) in [("one", 1), ("two", 2)] {
            let line = next(&mut frames, name, read).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let parsed: Named = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed, status(name, read));
            assert_eq!(next(&mut frames, name, 9), None);
        }
    }

    #[test]
    fn terminal_shows_one_status_in_place_of_another() {
        let mut frames = FrameWriter::new(Output::Text, true, false);
        let first = next(&mut frames, "one", 1).unwrap();
        assert!(first.starts_with("\u{1b}[2J\u{1b}[Hname  one\u{1b}[K\n"), "{first}");
        assert_eq!(next(&mut frames, "one", 1), None);
        let second = next(&mut frames, "two", 1).unwrap();
        assert!(second.starts_with("\u{1b}[Hname  two"), "{second}");
        assert!(second.ends_with("\n\u{1b}[J"), "{second}");
        frames.interrupt();
        assert!(next(&mut frames, "two", 1).unwrap().starts_with("\u{1b}[2J"));
    }
}
