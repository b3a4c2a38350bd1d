//! Patterns as Go's `filepath.Glob` reads them.

use crate::files::{HostEntry, HostFiles, HostPath};

/// Returns the files that match `pattern`, sorted. Adds to `unseen` the paths that have to be read
/// first.
pub(crate) fn expand(
    pattern: &str,
    files: &HostFiles,
    unseen: &mut Vec<HostPath>,
) -> Vec<HostPath> {
    let mut found = vec![HostPath::new("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for directory in found {
            if !part.contains(['*', '?', '[']) {
                next.push(directory.join(part));
            } else if files.get(&directory).is_none() {
                unseen.push(directory);
            } else {
                let names = files.names(&directory).iter().filter(|name| matches(part, name));
                next.extend(names.map(|name| directory.join(name)));
            }
        }
        found = next;
    }
    found.retain(|path| match files.get(path) {
        None => {
            unseen.push(path.clone());
            false
        }
        Some(entry) => matches!(entry, HostEntry::File(_) | HostEntry::Link(_, Some(_))),
    });
    found
}

/// Returns true if `pattern` (`*`, `?`, `[a-z]`, `[^a-z]`) matches the whole of `name`.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    rest(&pattern, &name)
}

fn rest(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        (['*', pattern @ ..], _) => (0..=name.len()).any(|skip| rest(pattern, &name[skip..])),
        (_, []) => false,
        (['?', pattern @ ..], [_, name @ ..]) => rest(pattern, name),
        (['[', class @ ..], [c, name @ ..]) => match class.iter().position(|&end| end == ']') {
            Some(end) => in_class(&class[..end], *c) && rest(&class[end + 1..], name),
            None => false,
        },
        (['\\', literal, pattern @ ..] | [literal, pattern @ ..], [c, name @ ..]) => {
            literal == c && rest(pattern, name)
        }
    }
}

fn in_class(class: &[char], c: char) -> bool {
    let (negated, mut class) = match class {
        ['^', class @ ..] => (true, class),
        _ => (false, class),
    };
    let mut found = false;
    while let [low, more @ ..] = class {
        let (high, more) = match more {
            ['-', high, more @ ..] => (high, more),
            _ => (low, more),
        };
        found |= (*low..=*high).contains(&c);
        class = more;
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::HostFile;

    #[test]
    fn patterns_are_those_of_go() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("?-*.[a-c]", "1-x.b", true),
            ("[^a]", "a", false),
            ("\\*", "*", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn directories_are_required_before_their_entries() {
        let mut files = HostFiles::default();
        let mut unseen = Vec::new();
        assert!(expand("/etc/*/x.toml", &files, &mut unseen).is_empty());
        assert_eq!(unseen, ["/etc".into()]);
        files.insert("/etc", HostEntry::Directory(vec!["a".to_owned(), "b".to_owned()]));
        files.insert("/etc/a/x.toml", HostEntry::File(HostFile::public("")));
        unseen.clear();
        assert_eq!(expand("/etc/*/x.toml", &files, &mut unseen), ["/etc/a/x.toml".into()]);
        assert_eq!(unseen, ["/etc/b/x.toml".into()]);
    }
}
