//! Names of environment variables and arguments whose values are images.

/// Returns true for names of environment variables by which operators receive images.
pub(super) fn is_name_of_image(name: &str) -> bool {
    name.starts_with("RELATED_IMAGE_")
        || name.starts_with("IMAGE_")
        || name.ends_with("_IMAGE")
        || name == "IMAGE"
}

/// Returns true for `--image` and the like, with one dash or two.
pub(super) fn is_name_of_argument(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() >= 5
        && name.bytes().all(is_name)
        && name[name.len() - 5..].eq_ignore_ascii_case("image")
}

/// Returns the byte at which the image in the argument `--…image=IMAGE` begins.
pub(in crate::manifest) fn image_in_argument(text: &str) -> Option<usize> {
    let (name, image) = text.split_once('=').filter(|_| text.starts_with('-'))?;
    (is_name_of_argument(name) && !image.is_empty()).then_some(name.len() + 1)
}
