//! Messages in the status of a workload cluster, of bounded size.

/// Maximum size of a message, in bytes.
pub(super) const MESSAGE: usize = 500;
/// Maximum size of one of several entries in a message, in bytes.
const ENTRY: usize = 120;
/// Maximum number of entries in a message.
const ENTRIES: usize = 3;

/// Returns the first entries, and the number of the others.
pub(super) fn listed(entries: &[String]) -> String {
    let first: Vec<String> = entries.iter().take(ENTRIES).map(|it| bounded(it, ENTRY)).collect();
    let first = first.join(", ");
    match entries.len().saturating_sub(ENTRIES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Returns `text` without control characters, cut to `size` bytes.
pub(super) fn bounded(text: &str, size: usize) -> String {
    const MARK: &str = "…";
    let plain = |it: char| if it.is_control() { ' ' } else { it };
    let text: String = text.chars().take(size + 1).map(plain).collect();
    if text.len() <= size {
        return text;
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(size - MARK.len())])
}
