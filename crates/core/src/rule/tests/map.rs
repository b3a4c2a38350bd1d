//! Parsing of the text of a map.

use image_swap_text::position::Position;

use crate::rule::{
    MapForm, RuleKind,
    parse::{Rule, rules},
};

fn read(text: &str, form: MapForm) -> (Vec<Rule>, Vec<(usize, usize)>) {
    let (rules, findings) = rules(text, form);
    (rules, findings.iter().map(|f| (f.place.line, f.place.column)).collect())
}

fn pairs(rules: &[Rule]) -> Vec<(RuleKind, &str, &str)> {
    rules.iter().map(|rule| (rule.kind, rule.key(), rule.target.as_str())).collect()
}

#[test]
fn all_kinds_of_lines_are_parsed() {
    let text = "# comment\n\ndocker.io::h.io/d  # one # two\r\n gcr.io :: h.io / g\n\tquay.io::h.io/q\n\
                k8s.gcr.io:h.io/k\nlocalhost:5000::h.io:5000/l\ndefault::\nold:\n\
                [EXACT] nginx:1 :: h.io/e:1\n[REPLACE]*/a[bc]:*::h.io/r\n[::1]:5000::h.io/six\n\
                noswap_wildcards::a, b,,c\n";
    let (rules, unreadable) = read(text, MapForm::Lines);
    assert_eq!(
        pairs(&rules),
        [
            (RuleKind::Prefix, "docker.io", "h.io/d"),
            (RuleKind::Prefix, "gcr.io", "h.io/g"),
            (RuleKind::Prefix, "quay.io", "h.io/q"),
            (RuleKind::Prefix, "k8s.gcr.io", "h.io/k"),
            (RuleKind::Prefix, "localhost:5000", "h.io:5000/l"),
            (RuleKind::Default, "default", ""),
            (RuleKind::Prefix, "old", ""),
            (RuleKind::Exact, "nginx:1", "h.io/e:1"),
            (RuleKind::Replace, "*/a[bc]:*", "h.io/r"),
            (RuleKind::Prefix, "[::1]:5000", "h.io/six"),
            (RuleKind::Noswap, "noswap_wildcards", "a"),
            (RuleKind::Noswap, "noswap_wildcards", "b"),
            (RuleKind::Noswap, "noswap_wildcards", "c"),
        ]
    );
    assert_eq!(unreadable, []);
    assert_eq!(rules[7].source, "[EXACT]nginx:1");
}

#[test]
fn unclosed_bracket_is_literal() {
    let (rules, unreadable) = read("[REPLACE]a[*::h.io/r\n[x::h.io/x", MapForm::Lines);
    assert_eq!(
        pairs(&rules),
        [(RuleKind::Replace, "a[*", "h.io/r"), (RuleKind::Prefix, "[x", "h.io/x")]
    );
    assert_eq!(unreadable, []);
}

#[test]
fn invalid_item_is_skipped_with_a_warning() {
    let text = "x;y\na::b::c\n a.io:5000:h.io\n::h.io\n:h.io\ngcr.io::h.io\n[EXACT]\n";
    let (rules, unreadable) = read(text, MapForm::Lines);
    assert_eq!(pairs(&rules), [(RuleKind::Prefix, "gcr.io", "h.io")]);
    assert_eq!(unreadable, [(1, 1), (2, 1), (3, 2), (4, 1), (5, 1), (7, 1)]);
}

#[test]
fn list_is_split_at_commas_and_newlines() {
    let (rules, unreadable) =
        read("docker.io::h.io/d, gcr.io::h.io/g\nquay.io::h.io/q,,\n", MapForm::List);
    assert_eq!(rules.len(), 3);
    assert_eq!(unreadable, []);
    let places: Vec<_> = rules.iter().map(|r| (r.place, r.target_place.column)).collect();
    let place = |line, column| Position { line, column };
    assert_eq!(places, [(place(1, 1), 12), (place(1, 20), 28), (place(2, 1), 10)]);
}

#[test]
fn byte_order_marks_are_white_space() {
    let (found, skipped) =
        read("\u{feff}docker.io::h.io/d\n\u{feff}quay.io::h.io/q\n", MapForm::Lines);
    assert_eq!(
        pairs(&found),
        [(RuleKind::Prefix, "docker.io", "h.io/d"), (RuleKind::Prefix, "quay.io", "h.io/q")]
    );
    assert_eq!((found[0].place.column, skipped), (2, vec![]));
}

#[test]
fn columns_count_characters_and_skip_white_space() {
    let (rules, _) = read("é::ü/ß,  docker.io :: h.io", MapForm::List);
    assert_eq!((rules[1].place.column, rules[1].target_place.column), (10, 23));
    let (rules, _) = read("noswap_wildcards::a,bcd,e", MapForm::Lines);
    assert_eq!(rules.iter().map(|rule| rule.place.column).collect::<Vec<_>>(), [19, 21, 25]);
}

#[test]
fn first_two_colons_are_the_separator() {
    let (rules, unreadable) = read("a.io:::5000", MapForm::Lines);
    assert_eq!(pairs(&rules), [(RuleKind::Prefix, "a.io", ":5000")]);
    assert_eq!(unreadable, []);
}

#[test]
fn list_item_without_double_colon_continues_noswap() {
    let text = "noswap_wildcards::a,b,c:5000/d,gcr.io::h.io/g,x,docker.io::h.io/d";
    let (rules, unreadable) = read(text, MapForm::List);
    assert_eq!(
        pairs(&rules),
        [
            (RuleKind::Noswap, "noswap_wildcards", "a"),
            (RuleKind::Noswap, "noswap_wildcards", "b"),
            (RuleKind::Noswap, "noswap_wildcards", "c:5000/d"),
            (RuleKind::Prefix, "gcr.io", "h.io/g"),
            (RuleKind::Prefix, "docker.io", "h.io/d"),
        ]
    );
    assert_eq!(unreadable, [(1, 47)]);
    assert_eq!(rules[1].place.column, 21);
    // On the next line it is an item of its own.
    assert_eq!(read("noswap_wildcards::a\nb\n", MapForm::List).1, [(2, 1)]);
}

#[test]
fn list_accepts_the_old_single_colon() {
    let (rules, _) = read("docker.io:h.io/d,gcr.io:h.io/g,[::1]:h.io/six", MapForm::List);
    assert_eq!(
        pairs(&rules),
        [
            (RuleKind::Prefix, "docker.io", "h.io/d"),
            (RuleKind::Prefix, "gcr.io", "h.io/g"),
            (RuleKind::Prefix, "[::1]", "h.io/six"),
        ]
    );
}
