//! Words of prose, and the lists of words that the check knows.

use super::verbs::is_verb;

/// Words that begin a riddle instead of naming the thing.
const QUESTION: [&str; 9] =
    ["how", "what", "when", "where", "whether", "who", "whoever", "whom", "why"];

/// Words in the place of a named actor.
const BANNED: [&str; 9] =
    ["anybody", "everybody", "nobody", "ours", "somebody", "theirs", "us", "we", "whoever"];

/// Words of speech, in the place of what programs do.
const SPEECH: [&str; 9] = ["ask", "asked", "asks", "said", "say", "says", "tell", "tells", "told"];

/// Returns the words of `prose`, each with the index of its line. Numbers, host names,
/// addresses and paths of code are no words.
pub(super) fn words(prose: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    for (line, text) in prose.lines().enumerate() {
        let mut behind_number = false;
        for chunk in text.split_whitespace() {
            if !is_literal(chunk) {
                let parts = chunk.split(|c: char| !(c.is_alphanumeric() || is_joint(c)));
                let found = parts.filter_map(word).filter(|word| !(behind_number && *word == "us"));
                words.extend(found.map(|word| (line, word)));
            }
            // "15 us" are microseconds.
            behind_number = chunk.ends_with(|c: char| c.is_ascii_digit());
        }
    }
    words
}

pub(super) fn is_banned(word: &str) -> bool {
    word != "US" && is_one_of(&BANNED, word)
}

pub(super) fn is_speech(word: &str) -> bool {
    is_one_of(&SPEECH, word)
}

pub(super) fn begins_with_question(prose: &str) -> bool {
    is_one_of(&QUESTION, first_word(prose).0)
}

/// Returns true if `prose` begins with a verb in the third person. "Names of" and the like
/// begin with a noun.
pub(super) fn begins_with_verb(prose: &str) -> bool {
    let (word, rest) = first_word(prose);
    is_verb(&word.to_lowercase()) && rest.split_whitespace().next() != Some("of")
}

/// Returns the first word, which is empty if `prose` begins with anything else, and the
/// rest.
fn first_word(prose: &str) -> (&str, &str) {
    let text = prose.trim_start_matches(|c: char| c.is_whitespace() || "*_#>-([~".contains(c));
    let end = text.find(|c: char| !(c.is_alphabetic() || c == '-')).unwrap_or(text.len());
    text.split_at(end)
}

fn is_one_of(list: &[&str], word: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Returns true for a host name, an address or a path of code.
fn is_literal(chunk: &str) -> bool {
    let inner = chunk.trim_matches(|c: char| !c.is_alphanumeric());
    inner.contains(['.', '@', '=', '_']) || inner.contains("::") || inner.contains("://")
}

/// Returns true for characters within a word.
fn is_joint(c: char) -> bool {
    ['-', '\'', '\u{2019}'].contains(&c)
}

/// Returns the word in `part`, without a genitive or a contracted verb.
fn word(part: &str) -> Option<&str> {
    let word = part.trim_matches(is_joint).split(['\'', '\u{2019}']).next()?;
    word.contains(char::is_alphabetic).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::{begins_with_question, begins_with_verb, is_banned, is_speech, words};

    fn banned(text: &str) -> Vec<&str> {
        let words = words(text).into_iter().map(|(_, word)| word);
        words.filter(|word| is_banned(word)).collect()
    }

    #[test]
    fn whole_words_are_banned_in_any_case() {
        assert_eq!(banned("We use Nobody's; weather, nobodys"), ["We", "Nobody"]);
        assert_eq!(banned("(us), theirs/ours: we're"), ["us", "theirs", "ours", "we"]);
    }

    #[test]
    fn us_in_a_name_is_not_banned() {
        let text = "US, us.gcr.io, us-docker.pkg.dev:443/we, us-east-1, 15 us, a::us, https://us/";
        assert_eq!(banned(text), [""; 0]);
    }

    #[test]
    fn words_carry_the_index_of_their_line() {
        let expected = [(0, "e"), (0, "mail"), (2, "two-part"), (2, "words")];
        assert_eq!(words("e/mail 12 v1.2\n\n- two-part words"), expected);
    }

    #[test]
    fn speech_is_counted_in_any_form() {
        for word in ["Told", "says", "asked"] {
            assert!(is_speech(word), "{word}");
        }
        assert!(!is_speech("asking") && !is_speech("saying"));
    }

    #[test]
    fn question_is_recognised_behind_marks() {
        for text in ["What it is.", "*Why*.", "\n# How", "[Where](a) it is.", "whoever, then"] {
            assert!(begins_with_question(text), "{text}");
        }
        for text in ["Whatever.", "The what.", "Whose.", "\u{fffc} what", ""] {
            assert!(!begins_with_question(text), "{text}");
        }
    }

    #[test]
    fn verb_is_recognised_in_the_third_person() {
        for text in ["Returns it.", "parses, then prints", "Names the pod.", "Percent-encodes."] {
            assert!(begins_with_verb(text), "{text}");
        }
        for text in ["Return it.", "The parser.", "Names of pods.", "True if", "\u{fffc} returns"] {
            assert!(!begins_with_verb(text), "{text}");
        }
    }
}
