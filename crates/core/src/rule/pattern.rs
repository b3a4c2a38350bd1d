//! Shell patterns of `[REPLACE]` rules, like Python's `fnmatch.fnmatchcase`.
//!
//! `*` matches any text, `/` included; `?` one character; `[seq]` and `[!seq]` one of a set,
//! with ranges. An unclosed `[` is a literal character.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    tokens: Vec<PatternToken>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternToken {
    Literal(char),
    Any,
    Many,
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let mut tokens = Vec::with_capacity(characters.len());
        let mut at = 0;
        while let Some(&character) = characters.get(at) {
            at += 1;
            tokens.push(match character {
                // Several stars in a row are equal to one.
                '*' if tokens.last() == Some(&PatternToken::Many) => continue,
                '*' => PatternToken::Many,
                '?' => PatternToken::Any,
                '[' => match set(&characters[at..]) {
                    Some((token, length)) => {
                        at += length;
                        token
                    }
                    None => PatternToken::Literal('['),
                },
                other => PatternToken::Literal(other),
            });
        }
        Self { tokens }
    }

    /// Returns the literal prefix of every matching text.
    pub(crate) fn literal_prefix(&self) -> String {
        let literals = self.tokens.iter().map_while(|token| match token {
            PatternToken::Literal(character) => Some(*character),
            _ => None,
        });
        literals.collect()
    }

    /// Returns true for a literal text followed by `*`, which matches every text with that
    /// prefix.
    pub(crate) fn is_open_prefix(&self) -> bool {
        let many = self.tokens.iter().position(|token| !matches!(token, PatternToken::Literal(_)));
        many.is_some_and(|at| at + 1 == self.tokens.len() && self.tokens[at] == PatternToken::Many)
    }

    /// Returns true if `text` matches. Takes linear time in practice: after a mismatch only the
    /// last star is extended.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut token, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if self.tokens.get(token) == Some(&PatternToken::Many) {
                token += 1;
                retry = Some((token, rest.clone()));
                continue;
            }
            let mut after = rest.clone();
            let matched = match (self.tokens.get(token), after.next()) {
                (None, None) => return true,
                (Some(PatternToken::Literal(expected)), Some(found)) => *expected == found,
                (Some(PatternToken::Any), Some(_)) => true,
                (Some(PatternToken::Set { negated, ranges }), Some(found)) => {
                    ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
                }
                _ => false,
            };
            if matched {
                (token, rest) = (token + 1, after);
                continue;
            }
            let Some((star, mut from)) = retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (token, rest) = (star, from.clone());
            retry = Some((star, from));
        }
    }
}

/// Parses the set after a `[`. Returns it with its number of characters, `]` included; `None`
/// if it is unclosed.
fn set(characters: &[char]) -> Option<(PatternToken, usize)> {
    let negated = characters.first() == Some(&'!');
    let start = usize::from(negated);
    // A `]` in the first place is a member of the set.
    let end = start + 1 + characters.get(start + 1..)?.iter().position(|&c| c == ']')?;
    let members = &characters[start..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        if let (Some('-'), Some(&high)) = (members.get(at + 1), members.get(at + 2)) {
            ranges.push((members[at], high));
            at += 3;
        } else {
            ranges.push((members[at], members[at]));
            at += 1;
        }
    }
    Some((PatternToken::Set { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_fnmatch() {
        for (pattern, text, expected) in [
            ("quay.io/*", "quay.io/a/b:1", true),
            ("*/nginx:*", "docker.io/library/nginx:1.25", true),
            ("*/nginx:*", "docker.io/library/nginx", false),
            ("nginx", "nginx", true),
            ("nginx", "nginx:1", false),
            ("ngin?", "nginx", true),
            ("ngin?", "ngin", false),
            ("a[bc]d", "abd", true),
            ("a[!bc]d", "abd", false),
            ("a[!bc]d", "axd", true),
            ("a[0-9]", "a7", true),
            ("a[0-9]", "ab", false),
            ("a[]]", "a]", true),
            ("a[", "a[", true),
            ("a[!]", "a[!]", true),
            ("a[-x]", "a-", true),
            ("", "", true),
            ("*", "", true),
            ("**", "abc", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("*aab", "aaaab", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn literal_prefix_ends_at_first_wildcard() {
        assert_eq!(Pattern::new("quay.io/*").literal_prefix(), "quay.io/");
        assert!(Pattern::new("quay.io/*").is_open_prefix() && Pattern::new("*").is_open_prefix());
        assert!(!Pattern::new("quay.io/*:1").is_open_prefix());
        assert!(!Pattern::new("quay.io").is_open_prefix());
    }
}
