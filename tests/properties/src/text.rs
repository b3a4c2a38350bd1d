//! Generated texts of references, valid and nearly valid.

use crate::choices::Choices;

/// Domains. The first ones are valid.
const DOMAINS: [&str; 24] = [
    "docker.io",
    "index.docker.io",
    "quay.io",
    "localhost",
    "localhost:5000",
    "gcr.io:443",
    "Reg",
    "REG.example.com",
    "[::1]",
    "[::1]:5000",
    "[fe80::1]:80",
    "a_b.c",
    "a.b_c.d",
    "1.2.3.4:80",
    "registry",
    "xn--n3h.com",
    "a.b:",
    "a.b:x",
    "-x.y",
    "x..y",
    "foo.com.",
    "[]",
    "[::1",
    "ü.de",
];

/// Components of paths. The first ones are valid.
const COMPONENTS: [&str; 20] = [
    "nginx",
    "library",
    "a",
    "0",
    "a-b",
    "a--b",
    "a.b",
    "a_b",
    "a__b",
    "a_-b",
    "a___b",
    "a..b",
    "-a",
    "a-",
    "A",
    "",
    "é",
    "docker.io",
    "team",
    "app",
];

/// Tags. The first ones are valid.
const TAGS: [&str; 12] =
    ["latest", "1.25", "_x", "A.b-C", "5000", ".x", "-x", "", "a/b", "a@b", "a:b", "ü"];

/// Algorithms, with the number of hex digits of their digests.
const ALGORITHMS: [(&str, usize); 8] = [
    ("sha256", 64),
    ("sha384", 96),
    ("sha512", 128),
    ("SHA256", 64),
    ("md5", 32),
    ("sha256+b64", 64),
    ("blake3", 64),
    ("", 64),
];

/// Lengths at and around the limits of paths, tags and image IDs.
const LENGTHS: [usize; 8] = [1, 63, 64, 127, 128, 129, 255, 256];

/// Generates a text like a reference.
pub(crate) fn reference(c: &mut Choices<'_>) -> String {
    if c.one_in(8) {
        return c.rest();
    }
    let mut text = String::new();
    if c.one_in(2) {
        text.push_str(c.of(&DOMAINS));
        text.push('/');
    }
    for nth in 0..=c.below(3) {
        if nth > 0 {
            text.push('/');
        }
        if c.one_in(16) {
            text.push_str(&c.of(&["a", "0", "é"]).repeat(c.of(&LENGTHS)));
        } else {
            // Two choices prefer the first components, which are valid.
            let last = c.below(COMPONENTS.len());
            text.push_str(COMPONENTS[c.below(last + 1)]);
        }
    }
    if c.one_in(3) {
        text.push(':');
        if c.one_in(8) {
            text.push_str(&"t".repeat(c.of(&LENGTHS)));
        } else {
            text.push_str(c.of(&TAGS));
        }
    }
    if c.one_in(4) {
        text.push('@');
        text.push_str(&digest(c));
    }
    c.damage(&mut text, &[':', '/', '@', '.', '_', '-', 'A', '[', ']', '%', ' ', 'a', '0', 'é']);
    text
}

/// Generates a text like a digest.
pub(crate) fn digest(c: &mut Choices<'_>) -> String {
    let (algorithm, digits) = c.of(&ALGORITHMS);
    let digits = (digits + c.of(&[1, 1, 1, 1, 0, 2])) - 1;
    let digit = c.of(&["0", "a", "7", "f", "F", "g"]);
    [algorithm, ":", &digit.repeat(digits)].concat()
}
