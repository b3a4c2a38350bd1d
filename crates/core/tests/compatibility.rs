//! Tests every row of `docs/imageswap-compatibility.md`.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use image_swap_core::declaration::{Declaration, DeclarationSource};

const DOCUMENT: &str = include_str!("../../../docs/imageswap-compatibility.md");

#[test]
fn rows_of_the_document_are_true() {
    let mut rows = 0;
    for line in DOCUMENT.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [map, image, imageswap, canonical, _why] = cells[..] else {
            panic!("expected five cells, found {}: {line}", cells.len());
        };
        let text = |cell: &str| cell.replace('`', "").replace('␉', "\t");
        let map = text(map).replace("<br>", "\n");
        let declaration = Declaration::read(DeclarationSource::Map, &map, 0).unwrap();
        let image = text(image);
        let answer = declaration.imageswap().swap(&image).unwrap().image.into_owned();
        assert_eq!(answer, text(imageswap), "imageswap: {line}");
        let answer = match declaration.serving() {
            Ok(declaration) => declaration.rules().swap(&image).unwrap().image.into_owned(),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(answer, text(canonical), "canonical: {line}");
        rows += 1;
    }
    assert!(rows > 25, "{rows}");
}
